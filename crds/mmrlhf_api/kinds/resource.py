"""What an API server is told of a resource, whatever runs it."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from mmrlhf_api.lazy import load

if TYPE_CHECKING:
    from mmrlhf_api.base import ApiModel

__all__ = ["PrinterColumn", "Resource", "ResourceNames"]


class ResourceNames(Hashable, Protocol):
    """Names of a resource, as kinds of jobs and other resources have them."""

    @property
    def name(self) -> str:
        """``kind`` of its objects."""

    @property
    def plural(self) -> str:
        """Name in URLs and for kubectl."""

    @property
    def singular(self) -> str:
        """Singular for kubectl."""

    @property
    def short_name(self) -> str:
        """Short name for kubectl."""

    @property
    def aliases(self) -> tuple[str, ...]:
        """All names that a user may give, in lower case."""

    @property
    def model(self) -> type[ApiModel]:
        """Its type."""


@dataclass(frozen=True, kw_only=True)
class PrinterColumn:
    """A column of ``kubectl get``.

    Attributes:
        title: Its title.
        path: JSON path in the object.
        about: What it shows.
        type: Type of the value, as the API server knows them.
        wide: Whether only wide lists have it.
    """

    title: str
    path: str
    about: str
    type: str = "string"
    wide: bool = False


@dataclass(frozen=True, kw_only=True)
class Resource:
    """A resource that is no kind of job: it has no pods of its own.

    Attributes:
        name: ``kind`` of its objects.
        plural: Name in URLs and for kubectl.
        singular: Singular for kubectl.
        short_name: Short name for kubectl.
        home: Where its type is, as ``module:name``: who reads tables alone must not pay for
            building types.
        columns: What lists show.
        mutable: Fields of the spec that may change after it was created; None for all of them.
        word: What one is called in sentences.
    """

    name: str
    plural: str
    singular: str
    short_name: str
    home: str
    columns: tuple[PrinterColumn, ...]
    mutable: frozenset[str] | None
    word: str

    @property
    def model(self) -> type[ApiModel]:
        """Its type, loaded when it is first asked for."""
        model: type[ApiModel] = load(self.home)
        return model

    @property
    def aliases(self) -> tuple[str, ...]:
        """All names that a user may give, in lower case."""
        return (self.singular, self.plural, self.short_name)
