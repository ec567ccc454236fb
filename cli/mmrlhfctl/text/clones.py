"""A job anew from one that there is: what the user wrote, without what a cluster added; pure."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any, Final

from mmrlhf_api.overrides import Override, apply_override

__all__ = ["clone"]

_OURS: Final = "mmrlhf.io/"
_KUBECTL: Final = "kubectl.kubernetes.io/"
_STATES: Final = ("suspend", "cancel", "retry")
"""Fields that say what is to become of one job, and nothing of the next."""


def clone(
    body: Mapping[str, Any], *, name: str | None, assignments: Sequence[str]
) -> dict[str, Any]:
    """Return a new object of the same spec.

    Args:
        body: The object, or the job of a record.
        name: Its name; without one it begins with that of the first, and the rest is drawn when it
            is submitted.
        assignments: Changes, such as ``spec.training.epochs=2``.

    Raises:
        ValueError: An assignment is none, or does not fit.
    """
    old = body["metadata"]
    metadata: dict[str, Any] = (
        {"generateName": f"{old['name']}-"} if name is None else {"name": name}
    )
    if "namespace" in old:
        metadata["namespace"] = old["namespace"]
    for part in ("labels", "annotations"):
        kept = {
            key: value
            for key, value in (old.get(part) or {}).items()
            if not key.startswith((_OURS, _KUBECTL))
        }
        if kept:
            metadata[part] = kept
    spec = copy.deepcopy(dict(body["spec"]))
    for holder in (spec, spec.get("runPolicy")):
        if isinstance(holder, dict):
            for field in _STATES:
                holder.pop(field, None)
    if spec.get("runPolicy") == {}:
        del spec["runPolicy"]
    made = {
        "apiVersion": body["apiVersion"],
        "kind": body["kind"],
        "metadata": metadata,
        "spec": spec,
    }
    for text in assignments:
        try:
            apply_override(made, Override.parse(text))
        except ValueError as error:
            raise ValueError(f"{text}: {error}") from error
    return made
