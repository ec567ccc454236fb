"""Traces of jobs: which trace an object is of, and the identities of the spans in it.

Nothing of it is stored: all follow from what an object is. Whoever tells of a span twice, or after
a restart, tells of the same span, and who knows the UID of a job or run knows its trace.

A trace is that of ``mmrlhf.io/traceparent`` where an object has that annotation, in the form of the
header ``traceparent`` (W3C Trace Context, section 3.2): so whatever submits jobs, such as CI, has
them in a trace of its own. Else it is that of the run or sweep that made the job, and else a new
one, whose identity is the object's UID.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from uuid import UUID

from mmrlhf_api.constants import GROUP
from mmrlhf_api.metadata import OwnerReference

__all__ = [
    "ANNOTATION_TRACEPARENT",
    "ENV_TRACEPARENT",
    "OBJECT",
    "TraceContext",
    "attempt_context",
    "handed_on",
    "parse_traceparent",
    "span_id",
    "trace_context",
]

ANNOTATION_TRACEPARENT = f"{GROUP}/traceparent"
"""Annotation: the span that an object was submitted in."""
ENV_TRACEPARENT = "TRACEPARENT"
"""Variable with the span that a process runs in, as OpenTelemetry names it for environments."""
OBJECT = "object"
"""What stands for the span of a whole job, run or sweep in `span_id`."""

_WHOLES = frozenset({"AlignmentRun", "Sweep"})
"""What jobs are parts of; each run of a pipeline has a trace of its own."""
_TRACEPARENT = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?")


@dataclass(frozen=True)
class TraceContext:
    """Where spans belong.

    Attributes:
        trace: Identity of the trace, 32 hex digits.
        span: Identity of a span in it, 16 hex digits; None where there is none above.
    """

    trace: str
    span: str | None = None

    def traceparent(self) -> str:
        """As a header or variable says it; sampled, as all of ours are."""
        assert self.span is not None
        return f"00-{self.trace}-{self.span}-01"


def parse_traceparent(text: str) -> TraceContext | None:
    """Read a ``traceparent``; None when it is not one (W3C Trace Context, section 3.2.2)."""
    found = _TRACEPARENT.fullmatch(text.strip())
    if found is None:
        return None
    version, trace, span, _, more = found.groups()
    # A version that is not known may have more at its end; 255 is none.
    if version == "ff" or (version == "00" and more) or not int(trace, 16) or not int(span, 16):
        return None
    return TraceContext(trace, span)


def span_id(uid: str, *words: str | int) -> str:
    """Return the identity of a span of an object: 16 hex digits, never all zero.

    Args:
        uid: UID of the object.
        words: What the span is of, such as an attempt and its number.
    """
    text = "\0".join([uid, *map(str, words)])
    found = hashlib.sha256(text.encode()).hexdigest()[:16]
    return found if int(found, 16) else f"{1:016x}"


def trace_context(
    annotations: Mapping[str, str], owners: Sequence[OwnerReference], uid: str
) -> TraceContext:
    """Return the trace of an object, and the span above its own.

    Args:
        annotations: Its annotations; one that is no ``traceparent`` is as good as none, as the
            specification has it.
        owners: What owns it.
        uid: Its UID.
    """
    told = parse_traceparent(annotations.get(ANNOTATION_TRACEPARENT, ""))
    if told is not None:
        return told
    for owner in owners:
        if owner.controller and owner.kind in _WHOLES:
            return TraceContext(_trace(owner.uid), span_id(owner.uid, OBJECT))
    return TraceContext(_trace(uid))


def attempt_context(uid: str, context: TraceContext, attempt: int) -> TraceContext:
    """Return the span of an attempt, in which its pods run."""
    return TraceContext(context.trace, span_id(uid, "attempt", attempt))


def handed_on(annotations: Mapping[str, str], uid: str) -> dict[str, str]:
    """Return the annotations by which what an object makes is in the trace that it was told.

    None where it was told none: what it makes knows it by its owner.
    """
    told = parse_traceparent(annotations.get(ANNOTATION_TRACEPARENT, ""))
    if told is None:
        return {}
    return {ANNOTATION_TRACEPARENT: TraceContext(told.trace, span_id(uid, OBJECT)).traceparent()}


def _trace(uid: str) -> str:
    try:
        return UUID(uid).hex
    except ValueError:  # a server may use other identities
        return hashlib.sha256(uid.encode()).hexdigest()[:32]
