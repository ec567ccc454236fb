"""What is said of a job: causes with their evidence, the most certain first."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from enum import IntEnum, StrEnum
from typing import Any, Final

from mmrlhf.client.times import parse_time

__all__ = ["Answer", "Cause", "Certainty", "Evidence", "Topic", "Unread", "last_seen", "rank"]

_PAGE: Final = "docs/troubleshooting.md"
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


class Certainty(IntEnum):
    """How sure it is that a cause keeps the job from going on."""

    CERTAIN = 0
    """An object says so now, or nothing else is possible."""
    LIKELY = 1
    """What is known fits it, and something that could tell otherwise was not seen."""
    POSSIBLE = 2
    """It fits, and so do other things."""


class Topic(StrEnum):
    """What a cause is about, in the order in which a job meets them.

    Earlier ones come first, as what they hold up cannot be met before.
    """

    DELETED = "Deleted"
    CANCELLED = "Cancelled"
    SUSPENDED = "Suspended"
    FAILED = "Failed"
    OPERATOR = "Operator"
    NOT_ACCEPTED = "NotAccepted"
    WAITS_FOR_JOB = "WaitsForJob"
    BACK_OFF = "BackOff"
    PODS_REMAIN = "PodsRemain"
    SERVICE_ACCOUNT = "ServiceAccount"
    QUOTA = "Quota"
    LIMIT = "Limit"
    POLICY = "Policy"
    WEBHOOK = "Webhook"
    RIGHTS = "Rights"
    REFUSED = "Refused"
    QUEUE = "Queue"
    GANG = "Gang"
    GATE = "Gate"
    VOLUME = "Volume"
    NO_NODE = "NoNode"
    NO_ROOM = "NoRoom"
    SCHEDULER = "Scheduler"
    NODE = "Node"
    MISSING = "Missing"
    IMAGE = "Image"
    CONTAINER = "Container"
    NETWORK = "Network"
    STARTING = "Starting"
    SILENCE = "Silence"
    RANKS = "Ranks"


_ORDER: Final = {topic: place for place, topic in enumerate(Topic)}


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """What a cause is known by.

    Attributes:
        thing: The object, such as ``pod/digits-0-0``.
        text: What it says.
        seen: When it was last so; None where it is so now, or nobody wrote it down.
        count: How often it was seen.
    """

    thing: str
    text: str
    seen: datetime | None = None
    count: int = 1

    @classmethod
    def of_event(cls, event: Mapping[str, Any]) -> Evidence:
        """An event, which counts itself."""
        involved = event.get("involvedObject") or {}
        series = event.get("series") or {}
        words = " ".join(str(event.get("message") or "").split())
        return cls(
            thing=f"{str(involved.get('kind', '')).lower()}/{involved.get('name', '')}",
            text=f"{event.get('reason') or 'event'}: {words}",
            seen=last_seen(event),
            count=int(series.get("count") or event.get("count") or 1),
        )


@dataclass(frozen=True, kw_only=True)
class Cause:
    """One thing that keeps a job from going on.

    Attributes:
        topic: What it is about.
        certainty: How sure that is.
        text: What is in the way, in a sentence.
        fix: What to do about it.
        section: Reason whose section of the troubleshooting page tells more.
        evidence: What it is known by.
    """

    topic: Topic
    certainty: Certainty
    text: str
    fix: str
    section: str
    evidence: tuple[Evidence, ...] = ()

    @property
    def link(self) -> str:
        """Where more is said, from the root of the repository."""
        return f"{_PAGE}#{self.section.lower()}"

    @property
    def seen(self) -> datetime:
        """When it was last seen; long ago where nobody wrote it down."""
        return max((one.seen for one in self.evidence if one.seen), default=_EPOCH)


@dataclass(frozen=True, kw_only=True)
class Unread:
    """What could not be looked at: nothing is known of it, which is not that there is nothing.

    Attributes:
        what: What it is.
        why: Who or what forbade it, in words.
        right: The right that a user needs for it; empty where it is none.
    """

    what: str
    why: str
    right: str = ""


@dataclass(frozen=True, kw_only=True)
class Answer:
    """All that is said of a job.

    Attributes:
        headline: Where it is.
        causes: Why, the most certain first.
        facts: What else is worth knowing, such as its place in a queue.
        unread: What could not be looked at.
    """

    headline: str
    causes: tuple[Cause, ...] = ()
    facts: tuple[str, ...] = ()
    unread: tuple[Unread, ...] = ()


def rank(causes: Iterable[Cause]) -> tuple[Cause, ...]:
    """Return causes in the order of their certainty, and of when a job meets them.

    Those that say the same are one, with the evidence of all.
    """
    merged: dict[tuple[Topic, str], Cause] = {}
    for cause in causes:
        key = (cause.topic, cause.text)
        known = merged.get(key)
        if known is None:
            merged[key] = cause
            continue
        new = tuple(one for one in cause.evidence if one not in known.evidence)
        merged[key] = replace(
            known,
            certainty=min(known.certainty, cause.certainty),
            evidence=known.evidence + new,
        )
    return tuple(
        sorted(
            merged.values(),
            key=lambda cause: (
                cause.certainty,
                _ORDER[cause.topic],
                (_EPOCH - cause.seen).total_seconds(),
                cause.text,
            ),
        )
    )


def last_seen(event: Mapping[str, Any]) -> datetime | None:
    """Return when an event last happened."""
    series = event.get("series") or {}
    metadata = event.get("metadata") or {}
    for text in (
        series.get("lastObservedTime"),
        event.get("lastTimestamp"),
        event.get("eventTime"),
        event.get("firstTimestamp"),
        metadata.get("creationTimestamp"),
    ):
        moment = parse_time(text)
        if moment is not None:
            return moment
    return None
