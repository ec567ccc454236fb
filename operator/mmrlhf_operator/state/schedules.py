"""What the schedule of a pipeline knows of its runs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from mmrlhf_api.constants import Phase
from mmrlhf_operator.kube.timestamps import parse_time

__all__ = [
    "ANNOTATION_CAUSE",
    "ANNOTATION_DIGEST",
    "ANNOTATION_TIME",
    "SeenRun",
]

ANNOTATION_TIME: Final = "mmrlhf.io/scheduled-for"
"""Time that a run was started for."""
ANNOTATION_CAUSE: Final = "mmrlhf.io/started-by"
"""What started it: Cron, NewData or NewRankings."""
ANNOTATION_DIGEST: Final = "mmrlhf.io/data-digest"
"""Digest of its data and steps when it was started."""


@dataclass(frozen=True, kw_only=True)
class SeenRun:
    """A run, as its pipeline sees it.

    Attributes:
        name: Its name.
        uid: Its identity.
        created: When it was made.
        ended: When it succeeded or failed; None while it goes on.
        succeeded: Whether it did.
        cancelled: Whether it was told to stop for good.
        deleting: Whether it is on its way out.
        digest: Digest of its data and steps; None when that was not looked at.
        takes: Names of the runs of which it took results.
    """

    name: str
    uid: str
    created: datetime
    ended: datetime | None = None
    succeeded: bool = False
    cancelled: bool = False
    deleting: bool = False
    digest: str | None = None
    takes: frozenset[str] = frozenset()

    @classmethod
    def read(cls, body: Mapping[str, Any]) -> SeenRun:
        """Read an object of the API server, of which only the operator writes the status."""
        metadata, status = body["metadata"], body.get("status") or {}
        created = parse_time(metadata["creationTimestamp"])
        assert created is not None
        phase = status.get("phase")
        over = phase in {Phase.SUCCEEDED, Phase.FAILED}
        return cls(
            name=metadata["name"],
            uid=metadata["uid"],
            created=created,
            ended=(parse_time(status.get("completionTime")) or created) if over else None,
            succeeded=phase == Phase.SUCCEEDED,
            cancelled=(body.get("spec") or {}).get("cancel") is True,
            deleting="deletionTimestamp" in metadata,
            digest=(metadata.get("annotations") or {}).get(ANNOTATION_DIGEST),
            takes=frozenset(_origins(status.get("steps") or ())),
        )


def _origins(steps: Iterable[Mapping[str, Any]]) -> Iterable[str]:
    return (one["cachedFrom"]["run"] for one in steps if one.get("cachedFrom"))
