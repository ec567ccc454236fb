"""What became of the objects of a job that were to be created, and when to try again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from mmrlhf_operator.kube.api import Manifest
from mmrlhf_operator.planning.reasons import OperatorReason
from mmrlhf_operator.planning.refusals import patience
from mmrlhf_operator.state.views import Finding

__all__ = ["Creations"]


@dataclass
class Creations:
    """What is remembered of a job's creations; all of it can be found out again.

    Attributes:
        conflicts: What is in the way by name or by refusal.
        wanted: Objects of the latest try, while something is in the way.
        refusals: How often the API server refused, in a row.
        made: How often each pod of the attempt was made.
        retry_at: When to try again; None when at once.
        uids: Identities of the pods of the attempt that were made, by name.
        unsure: Names of pods that may have been made: nobody was told.
    """

    conflicts: tuple[Finding, ...] = ()
    wanted: tuple[Manifest, ...] = ()
    refusals: int = 0
    made: dict[str, int] = field(default_factory=dict)
    retry_at: datetime | None = None
    uids: dict[str, str] = field(default_factory=dict)
    unsure: set[str] = field(default_factory=set)

    def told(self, name: str, uid: str | None) -> None:
        """Note what became of the creation of a pod.

        Args:
            name: Of the pod.
            uid: Its identity; None when nobody knows whether it was made.
        """
        if uid is None:
            self.unsure.add(name)
        else:
            self.uids[name] = uid
            self.unsure.discard(name)

    def note(
        self, uid: str, wanted: Sequence[Manifest], found: tuple[Finding, ...], *, now: datetime
    ) -> None:
        """Note a try, and put off the next one when this one was refused.

        Nor are pods made again without a pause that someone takes away before they have nodes,
        where no attempt has failed yet.

        Args:
            uid: Of the job.
            wanted: What was to be created.
            found: What was in the way.
            now: Time of the try.
        """
        # Manifests are tens of kilobytes a job: those that were made are not kept.
        self.conflicts, self.wanted = found, tuple(wanted) if found else ()
        refused = any(finding.reason == OperatorReason.CREATION_REFUSED for finding in found)
        self.refusals = self.refusals + 1 if refused else 0
        tries = self.refusals or self._again(wanted)
        self.retry_at = now + timedelta(seconds=patience(uid, tries)) if tries else None

    def _again(self, wanted: Sequence[Manifest]) -> int:
        """How often the pod that was made most often was made before."""
        names = [body["metadata"]["name"] for body in wanted if body["kind"] == "Pod"]
        if names and not self.made.keys() & set(names):
            self.made.clear()  # another attempt
            self.uids = {name: self.uids[name] for name in names if name in self.uids}
            self.unsure &= set(names)
        for name in names:
            self.made[name] = self.made.get(name, 0) + 1
        return max(self.made.values(), default=1) - 1
