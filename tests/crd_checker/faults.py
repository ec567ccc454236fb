"""What is wrong with a CustomResourceDefinition, and who would say so."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

__all__ = ["Fault", "Sort"]


class Sort(StrEnum):
    """What a fault is about; the last three an API server accepts, and users suffer from later."""

    RESOURCE = "resource"
    """Names, scope, versions, conversion, columns: all but the schema."""
    STRUCTURE = "structure"
    """The schema is not structural, or has what a CustomResourceDefinition may not have."""
    LIST = "list"
    """List and map types, and the keys of a list that is a map."""
    DEFAULT = "default"
    """A default that is not allowed there, or is not a valid, pruned value as written."""
    RULE = "rule"
    """A rule that does not compile against the schema; its message, reason or path is wrong."""
    TRANSITION = "transition"
    """``oldSelf`` where the server cannot tell which old value belongs to a new one."""
    COST = "cost"
    """A rule, or all together, may cost more than the server grants."""
    NEWER = "newer"
    """Ours: servers that are supported do not know this yet."""
    UNGUARDED = "unguarded"
    """Ours: a field that may be absent is read without ``has()``; the rule fails in use."""
    COLUMN = "column"
    """Ours: a column that shows nothing, since the schema has no such field of that type."""

    @property
    def ours(self) -> bool:
        """Whether an API server of 1.36 would accept it."""
        return self in {Sort.NEWER, Sort.UNGUARDED, Sort.COLUMN}


@dataclass(frozen=True, order=True)
class Fault:
    """One thing that is wrong.

    Attributes:
        field: Path in the CustomResourceDefinition, written as the API server writes it, such as
            ``spec.versions[0].schema.openAPIV3Schema.properties[spec].default``.
        message: What is wrong with it.
        sort: What it is about.
    """

    field: str
    message: str
    sort: Sort

    def __str__(self) -> str:
        return f"{self.field}: {self.message} ({self.sort})"
