"""Object metadata as the API server writes it."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field, Strict

from mmrlhf_api.base import ServerModel
from mmrlhf_api.scalars import DnsLabel, JobName, LabelMap, StringMap, Timestamp

__all__ = ["ObjectMeta", "OwnerReference", "name_of_prefix"]


class OwnerReference(ServerModel):
    """Object that owns this one."""

    api_version: str
    """API version of the owner."""
    kind: str
    """Kind of the owner."""
    name: str
    """Name of the owner."""
    uid: str
    """UID of the owner."""
    controller: bool | None = None
    """Whether the owner is the managing controller."""
    block_owner_deletion: bool | None = None
    """Whether the owner stays until this object is gone."""


class ObjectMeta(ServerModel):
    """Metadata of a job; a user writes the name, and perhaps namespace, labels and annotations."""

    name: JobName
    """Name of the job, unique among its kind in the namespace."""
    namespace: DnsLabel = "default"
    """Namespace of the job."""
    labels: LabelMap = Field(default_factory=dict)
    """Labels to select by."""
    annotations: StringMap = Field(default_factory=dict)
    """Notes for people and tools."""
    generate_name: str | None = None
    """Prefix of the name; what submits the job fills in the rest."""
    uid: str | None = None
    """Identity of the object, set by the server."""
    generation: int | None = None
    """Number of the spec's version, set by the server."""
    resource_version: str | None = None
    """Version of the object, set by the server."""
    self_link: str | None = None
    """URL of the object; older servers set it."""
    creation_timestamp: Timestamp | None = None
    """When the object was created, set by the server."""
    deletion_timestamp: Timestamp | None = None
    """When the object is to be deleted, set by the server."""
    deletion_grace_period_seconds: int | None = None
    """Seconds granted for deletion, set by the server."""
    finalizers: Annotated[tuple[str, ...], Strict(strict=False)] = ()
    """What must finish before the object may go."""
    owner_references: Annotated[tuple[OwnerReference, ...], Strict(strict=False)] = ()
    """Objects that own this one."""
    managed_fields: Annotated[tuple[dict[str, Any], ...], Strict(strict=False)] = ()
    """Who set which field, kept by the server."""

    @property
    def is_unnamed(self) -> bool:
        """Whether the name is a prefix alone, as the file gave no more."""
        return self.generate_name is not None and self.name == name_of_prefix(self.generate_name)


def name_of_prefix(prefix: str) -> str:
    """Return the name that stands for a ``generateName`` until the rest of it is known."""
    return prefix.rstrip("-.")
