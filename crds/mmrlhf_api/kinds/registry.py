"""Registry of kinds: what the operator, the CLI and the components need to know about each."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, TypeVar

from mmrlhf_api.constants import GROUP, VERSION
from mmrlhf_api.errors import UnknownKindError
from mmrlhf_api.kinds.kind import Kind
from mmrlhf_api.kinds.resource import ResourceNames

if TYPE_CHECKING:
    from mmrlhf_api.job import Job

__all__ = ["KINDS", "find_among", "find_kind", "kind_of", "register"]

Names = TypeVar("Names", bound=ResourceNames)

_registered: dict[str, Kind] = {}

KINDS: Mapping[str, Kind] = MappingProxyType(_registered)
"""All kinds by their name, in the order in which they were registered."""


def register(kind: Kind) -> Kind:
    """Make a kind known, and return it.

    Raises:
        ValueError: A name of it is taken.
    """
    for other in KINDS.values():
        taken = {kind.name, *kind.aliases} & {other.name, *other.aliases}
        if taken:
            raise ValueError(f"{kind.name}: {other.name} has {', '.join(sorted(taken))} as a name")
    _registered[kind.name] = kind
    return kind


def kind_of(job: Job) -> Kind:
    """Return the registry's entry of a job."""
    return KINDS[job.kind]


def find_kind(name: str) -> Kind:
    """Return the kind of jobs that a user means; see `find_among`.

    Raises:
        UnknownKindError: There is none; the message lists what there is.
    """
    return find_among(name, list(KINDS.values()))


def find_among(name: str, resources: Sequence[Names]) -> Names:
    """Return the resource that a user means: its name, plural, singular or short name, in any case.

    The group may follow, with its version or without, as kubectl takes it:
    ``mmdpojobs.mmrlhf.io``, ``mmdpojobs.v1alpha1.mmrlhf.io``.

    Raises:
        UnknownKindError: There is none; the message lists what there is.
    """
    wanted = name.lower().removesuffix(f".{GROUP}").removesuffix(f".{VERSION}")
    for one in resources:
        if wanted in one.aliases:
            return one
    names = [alias for one in resources for alias in (one.name, *one.aliases)]
    by_lower = {alias.lower(): alias for alias in reversed(names)}
    close = difflib.get_close_matches(wanted, list(by_lower), n=1)
    raise UnknownKindError(
        name,
        suggestion=by_lower[close[0]] if close else None,
        known=[one.name for one in resources],
    )
