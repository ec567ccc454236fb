"""The Secrets that a job names: its pods get them, look-ups read them, policies allow them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from mmrlhf_api import Job
from mmrlhf_operator.rendering.containers import AWS_KEYS
from mmrlhf_operator.rendering.volumes import CA_KEY

__all__ = ["NamedSecret", "named_secrets"]


@dataclass(frozen=True)
class NamedSecret:
    """A Secret, as one field of a spec names it.

    Attributes:
        field: The field.
        name: The Secret.
        keys: What it must hold.
    """

    field: str
    name: str
    keys: tuple[str, ...] = ()


def named_secrets(job: Job) -> Iterator[NamedSecret]:
    """All Secrets that a job names, field by field."""
    store, template = job.spec.artifacts, job.spec.pod_template
    if store.credentials_secret is not None:
        required = tuple(key for key, needed in AWS_KEYS.items() if needed)
        yield NamedSecret("spec.artifacts.credentialsSecret", store.credentials_secret, required)
    if store.ca_secret is not None:
        yield NamedSecret("spec.artifacts.caSecret", store.ca_secret, (CA_KEY,))
    for index, name in enumerate(template.image_pull_secrets):
        yield NamedSecret(f"spec.podTemplate.imagePullSecrets[{index}]", name)
    for index, variable in enumerate(template.env):
        if (reference := variable.secret_key_ref) is not None:
            field = f"spec.podTemplate.env[{index}].secretKeyRef"
            yield NamedSecret(field, reference.name, (reference.key,))
