"""Registry of kinds: what the operator, the CLI and the components need to know about each."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING

from mmrlhf_api.constants import GROUP, VERSION
from mmrlhf_api.errors import UnknownKindError
from mmrlhf_api.kinds.kind import Kind

if TYPE_CHECKING:
    from mmrlhf_api.job import Job

__all__ = ["KINDS", "find_kind", "kind_of", "register"]

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
    """Return the kind that a user means: its name, plural, singular or short name, in any case.

    The group may follow, with its version or without, as kubectl takes it:
    ``mmdpojobs.mmrlhf.io``, ``mmdpojobs.v1alpha1.mmrlhf.io``.

    Raises:
        UnknownKindError: There is none; the message lists what there is.
    """
    wanted = name.lower().removesuffix(f".{GROUP}").removesuffix(f".{VERSION}")
    for kind in KINDS.values():
        if wanted in kind.aliases:
            return kind
    names = [alias for kind in KINDS.values() for alias in (kind.name, *kind.aliases)]
    by_lower = {alias.lower(): alias for alias in reversed(names)}
    close = difflib.get_close_matches(wanted, list(by_lower), n=1)
    raise UnknownKindError(name, suggestion=by_lower[close[0]] if close else None, known=KINDS)
