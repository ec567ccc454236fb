"""Who may write a run: a small object in the store that names the attempt that holds it.

An attempt takes the claim when it starts; the last one to start holds the run. Before each write
and removal a writer looks whether the claim is still its own, so a process that was cut off and
comes back stops instead of working against its successor. A writer can be cut off between the look
and the write, too. So nothing that it may do then can harm: see `mmrlhf_jobs.storage.results`.

To run anew is said in the claim as well, by one write: what earlier attempts have left does not
count from then on. Nothing is taken away for that which a successor might make again.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Any
from uuid import uuid4

from mmrlhf_jobs.errors import StorageError, SupersededError
from mmrlhf_jobs.storage.artifacts import ArtifactStore

__all__ = ["Claim", "Holder"]


@dataclass(frozen=True)
class Holder:
    """The attempt that holds a run.

    Attributes:
        number: How often the run has been claimed, from 1.
        attempt: Number that the operator gave to the attempt, from 0; always 0 on a laptop.
        token: Tells it from all others.
        since: Number of the claim that began the run anew: what earlier ones left does not count.
    """

    number: int
    attempt: int
    token: str
    since: int = 1

    @property
    def name(self) -> str:
        """Name for what is this attempt's own; later attempts sort behind earlier ones."""
        return f"{self.number:06d}-{self.token}"

    @staticmethod
    def number_in(name: str) -> int:
        """Number of the claim in a `name`; 0 in what older versions have named."""
        digits = name.partition("-")[0]
        return int(digits) if digits.isdecimal() else 0

    def counts(self, number: int) -> bool:
        """Whether what the attempt with a claim of that number has left counts."""
        return self.since == 1 or number >= self.since


class Claim:
    """The claim on one run, as one process sees it.

    Args:
        store: Artifacts, without a guard.
        key: Key of the claim.
        attempt: Number that the operator gave to this attempt.
    """

    def __init__(self, store: ArtifactStore, key: str, *, attempt: int = 0) -> None:
        self._store = store
        self._key = key
        self._attempt = attempt
        self._holder: Holder | None = None

    @property
    def holder(self) -> Holder:
        """This attempt, once the run is claimed."""
        if self._holder is None:
            raise ValueError("the run is not claimed yet")
        return self._holder

    def known(self) -> Holder | None:
        """Who holds the run: this attempt, once it has claimed it, or else whoever does."""
        return self._holder or self._read()

    def take(self, token: str | None = None, *, fresh: bool = False) -> Holder:
        """Claim the run for this attempt; for its other processes `join` does the rest.

        Args:
            token: Of this attempt alone; a random one by default.
            fresh: Whether it begins the run anew.

        Raises:
            SupersededError: An attempt that the operator started later holds the run.
            StorageError: The claim cannot be read or written.
        """
        found = self._read()
        if found is not None and found.attempt > self._attempt:
            raise SupersededError(
                f"{self._uri}: attempt {found.attempt} of this run has started, this is attempt"
                f" {self._attempt}; it stops without a change"
            )
        number = 1 if found is None else found.number + 1
        since = number if fresh else 1 if found is None else found.since
        holder = Holder(number, self._attempt, token or uuid4().hex[:16], since)
        content = {
            key: value for key, value in asdict(holder).items() if key != "since" or since > 1
        }
        self._store.write_text(self._key, json.dumps(content) + "\n")
        self.join(holder)
        return holder

    def join(self, holder: Holder) -> None:
        """Act for an attempt that another process of it has claimed the run for."""
        self._holder = holder

    def check(self) -> None:
        """Look whether this attempt holds the run.

        Raises:
            SupersededError: It does not.
            StorageError: The claim cannot be read.
        """
        found = self._read()
        if found != self.holder:
            who = "the claim is gone" if found is None else f"it is claim number {found.number}"
            raise SupersededError(
                f"{self._uri}: another attempt has taken this run over ({who}, this one had number"
                f" {self.holder.number}); this one stops and leaves everything as it is. The run"
                " goes on there; run the job again only if it does not"
            )

    def _read(self) -> Holder | None:
        text = self._store.read_text(self._key)
        if text is None:
            return None
        try:
            content: dict[str, Any] = json.loads(text)
            return Holder(
                int(content["number"]),
                int(content["attempt"]),
                str(content["token"]),
                int(content.get("since", 1)),
            )
        except (KeyError, TypeError, ValueError, RecursionError) as error:
            raise StorageError(
                f"{self._uri} is damaged ({error}); if no other attempt of this run works, remove"
                " it and run the job again"
            ) from error

    @property
    def _uri(self) -> str:
        return f"{self._store.uri.rstrip('/')}/{self._key}"
