"""Jobs that were read lately, so that one version of a job is read once.

A job is looked at for each thing that happens to what it owns, by far more often than it changes,
and most changes are of its status alone; to check its spec is most of what reading it costs.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from mmrlhf_api import KINDS
from mmrlhf_operator.state.store import Key
from mmrlhf_operator.state.views import JobView

__all__ = ["JobViews"]

_MOST: Final = 64
"""Four times the workers, as what happens to a job comes close together: most take some 20 kB, and
one of the largest spec that is accepted a megabyte."""


class _Known(NamedTuple):
    view: JobView
    rest: Mapping[str, Any]


class JobViews:
    """The latest version of each of some jobs.

    Args:
        most: How many are kept; the one that was asked for longest ago goes first.
    """

    def __init__(self, *, most: int = _MOST) -> None:
        self._most: Final = most
        self._known: OrderedDict[Key, _Known] = OrderedDict()

    def read(self, key: Key, body: Mapping[str, Any]) -> JobView:
        """Return the view of an object of the API server, which has one content a version.

        Raises:
            StatusUnreadableError: The status has fields of wrong types.
        """
        version, found = body["metadata"]["resourceVersion"], self._known.get(key)
        if found is None or found.view.resource_version != version or found.view.uid != _uid(body):
            rest = _without_status(body)
            same = found is not None and found.rest == rest
            view = JobView.read(
                KINDS[key.kind], body, before=found.view if found and same else None
            )
            found = self._known[key] = _Known(view, rest)
        self._known.move_to_end(key)
        if len(self._known) > self._most:
            self._known.popitem(last=False)
        return found.view


def _uid(body: Mapping[str, Any]) -> str:
    uid: str = body["metadata"]["uid"]
    return uid


def _without_status(body: Mapping[str, Any]) -> dict[str, Any]:
    """All of an object but its status and what moves with each write."""
    rest = {key: value for key, value in body.items() if key != "status"}
    metadata = {key: value for key, value in body["metadata"].items() if key != "resourceVersion"}
    return {**rest, "metadata": metadata}
