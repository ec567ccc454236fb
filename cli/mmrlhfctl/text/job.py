"""One job in words; pure functions of the objects and the time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from mmrlhf.client.times import parse_time
from mmrlhf.client.views import JobView, PodView
from mmrlhf_api.constants import ConditionType, Phase
from mmrlhf_api.kinds import Kind
from mmrlhf_api.plain_text import make_safe
from mmrlhf_api.progress import FIGURES, SECONDS, STAGE, STEP, TOTAL_STEPS, is_number
from mmrlhfctl.durations import format_age, format_span
from mmrlhfctl.program import program_name
from mmrlhfctl.text.events import EVENT_HEADERS, event_row
from mmrlhfctl.text.jobs import phase_style, shown_phase, step_text
from mmrlhfctl.text.table import Cell, Row, Style, Table, paint

__all__ = ["description", "pod_rows", "progress_text", "summary"]

_WIDTH = 13
_BAD_PODS = {"Error", "OOMKilled", "Evicted", "Failed", "ErrImagePull", "ImagePullBackOff"}


def summary(
    job: JobView, now: datetime, *, queue: Sequence[str] = (), colours: bool = False
) -> list[str]:
    """Return what most want to know about a job: where it is, why, and how far.

    Args:
        job: The job.
        now: The time.
        queue: What is known of its place in a queue.
        colours: Whether to use colours.
    """
    return [
        _field("Job", job.title),
        *_state(job, now, colours=colours),
        *(_field("Queue" if line is queue[0] else "", line) for line in queue),
        *_results(job),
    ]


def description(
    job: JobView,
    pods: Sequence[PodView],
    events: Sequence[Mapping[str, Any]],
    now: datetime,
    *,
    colours: bool = False,
) -> list[str]:
    """Return everything that is known about a job.

    Args:
        job: The job.
        pods: Its pods, of all attempts.
        events: Events of the job and its pods, oldest first.
        now: The time.
        colours: Whether to use colours.
    """
    created = job.metadata.get("creationTimestamp")
    return [
        _field("Name", job.name),
        _field("Namespace", job.namespace),
        _field("Kind", job.kind.name),
        _field("UID", job.uid),
        _field("Created", f"{created} ({format_age(job.created, now)} ago)" if created else ""),
        *_pairs("Labels", job.metadata.get("labels") or {}),
        *_wanted(job),
        *_state(job, now, colours=colours),
        *_results(job),
        "",
        *_section(
            "Conditions",
            ["TYPE", "STATUS", "REASON", "SINCE", "MESSAGE"],
            [_condition_row(entry, now) for entry in job.conditions.values()],
            empty=f"none: no operator has looked at this job yet ({program_name()} doctor)",
            colours=colours,
        ),
        "",
        *_section(
            "Pods",
            ["NAME", "ATTEMPT", "RANK", "STATE", "EXIT", "NODE", "AGE", "MESSAGE"],
            pod_rows(pods, now),
            empty="none",
            colours=colours,
        ),
        "",
        *_section(
            "Events",
            EVENT_HEADERS,
            [event_row(event, now) for event in events],
            empty="none (the cluster forgets them after an hour or so)",
            colours=colours,
        ),
    ]


def progress_text(
    kind: Kind, progress: Mapping[str, Any], now: datetime, *, ended: bool = False
) -> str:
    """Return the latest progress of a job in one line; empty where there is none."""
    if progress.get(STEP.name) is None:
        return ""
    stage = None if STEP.of(kind.course) else progress.get(STAGE.name)
    parts = [f"{stage}:" if stage else f"step {step_text(progress)}"]
    total = progress.get(TOTAL_STEPS.name)
    if total:
        parts[0] += f" ({100 * progress[STEP.name] / total:.0f} %)"
    parts += [
        figure.describe(value, brief=True, span=format_span)
        for figure in FIGURES
        if figure.text
        and is_number(value := progress.get(figure.name))
        and not (ended and figure.unit == SECONDS)
    ]
    updated = parse_time(progress.get("updatedAt"))
    if updated is not None and not ended:
        parts.append(f"({format_age(updated, now)} ago)")
    return "  ".join(parts)


def pod_rows(pods: Sequence[PodView], now: datetime) -> list[Row]:
    """Return the rows of pods, by attempt and rank."""
    return [
        (
            pod.name,
            str(pod.attempt),
            str(pod.rank),
            Cell(pod.state, _pod_style(pod)),
            "" if pod.exit_code is None else str(pod.exit_code),
            pod.node,
            format_age(pod.created, now),
            pod.why,
        )
        for pod in sorted(pods, key=lambda pod: (pod.attempt, pod.rank))
    ]


def _state(job: JobView, now: datetime, *, colours: bool) -> Iterator[str]:
    phase = paint(shown_phase(job) or "-", phase_style(job), colours=colours)
    yield _line("Phase", f"{phase} ({make_safe(job.reason)})" if job.reason else phase)
    if job.message:
        # Further lines are set in, lest they look like fields.
        lines = [make_safe(line) for line in job.message.split("\n")]
        yield _line("Message", f"\n{'':<{_WIDTH}}".join(lines))
    if not job.phase:
        yield _field(
            "Message",
            f"no operator has looked at this job yet; see {program_name()} doctor",
        )
    observed = job.status.get("observedGeneration")
    generation = job.metadata.get("generation")
    if job.phase and generation is not None and observed is not None and observed < generation:
        yield _field("Note", f"this is about spec version {observed}; the latest is {generation}")
    if job.cancelled and not job.ended:
        yield _field("Note", "to be cancelled")
    elif job.suspended and not job.ended and job.phase != Phase.SUSPENDED:
        yield _field("Note", "to be suspended")
    pods = job.status.get("pods") or {}
    if pods:
        yield _field("Ready", f"{pods.get('summary', '')} pods")
    if job.phase:
        restarts = int(job.status.get("restarts") or 0)
        yield _field("Attempt", f"{job.attempt} ({restarts} of {job.max_restarts} restarts used)")
    started = parse_time(job.status.get("startTime"))
    completed = parse_time(job.status.get("completionTime"))
    if started is not None:
        ran = format_span(((completed or now) - started).total_seconds())
        yield _field(
            "Started", f"{job.status['startTime']} ({'ran' if completed else 'runs'} {ran})"
        )
    for one in job.status.get("lost") or ():
        lost = f"{format_span(one['seconds'])} by {one['reason']}"
        yield _field("Lost at most", f"{lost} (failed attempts: {one['attempts']})")
    if price := job.status.get("price"):
        yield _field("GPU-hour", f"{price['gpuHour']:g} {price.get('currency', '')}".rstrip())
    if completed is not None:
        yield _field("Ended", f"{job.status['completionTime']} ({format_age(completed, now)} ago)")
    progress = progress_text(job.kind, job.status.get("progress") or {}, now, ended=job.ended)
    if progress:
        yield _field("Progress", progress)


def _wanted(job: JobView) -> Iterator[str]:
    """What the spec asks for, as far as it is short."""
    spec = job.spec
    resources = spec.get("resources") or {}
    yield _field(
        "Nodes",
        f"{resources.get('nodes', 1)} ({resources.get('processesPerNode', 1)} processes and "
        f"{resources.get('gpusPerNode', 0)} GPUs each)",
    )
    if spec.get("nodePool"):
        yield _field("Node pool", str(spec["nodePool"]))
    queue = (spec.get("scheduling") or {}).get("queue")
    if queue:
        yield _field("Queue", str(queue))
    for name, holder in (
        ("Model", spec.get("model")),
        ("Data", (spec.get("data") or {}).get("train")),
    ):
        if holder:
            yield _field(name, str(holder.get("uri")))
    for source in spec.get("sources") or ():
        yield _field("Source", f"{source.get('name')}: {source.get('uri')}")


def _results(job: JobView) -> Iterator[str]:
    artifacts = job.status.get("artifacts") or {}
    if artifacts.get("uri"):
        yield _field("Artifacts", str(artifacts["uri"]))
    if artifacts.get("manifest"):
        yield _field("Manifest", str(artifacts["manifest"]))
    metrics = {
        name: f"{value:.6g}" for name, value in sorted((job.status.get("metrics") or {}).items())
    }
    yield from _pairs("Metrics", metrics)


def _condition_row(entry: Mapping[str, Any], now: datetime) -> Row:
    style = Style.NONE
    if entry["status"] == "True":
        style = {ConditionType.FAILED: Style.BAD, ConditionType.SUCCEEDED: Style.GOOD}.get(
            entry["type"], Style.NONE
        )
    elif entry["type"] == ConditionType.ACCEPTED:
        style = Style.BAD
    return (
        entry["type"],
        Cell(entry["status"], style),
        entry.get("reason") or "",
        format_age(parse_time(entry.get("lastTransitionTime")), now),
        " ".join(str(entry.get("message") or "").split()),
    )


def _pod_style(pod: PodView) -> Style:
    if pod.exit_code or pod.state in _BAD_PODS or pod.state.startswith("Init:"):
        return Style.BAD
    if pod.exit_code == 0:
        return Style.GOOD
    return Style.BUSY if pod.started else Style.IDLE


def _section(
    title: str, headers: Sequence[str], rows: Sequence[Row], *, empty: str, colours: bool
) -> list[str]:
    if not rows:
        return [f"{title}: {empty}"]
    return [f"{title}:", *(f"  {line}" for line in Table(headers, colours=colours).lines(rows))]


def _field(name: str, value: str) -> str:
    return _line(name, make_safe(value))


def _line(name: str, value: str) -> str:
    return f"{name + ':' if name else '':<{_WIDTH}}{value}".rstrip()


def _pairs(name: str, pairs: Mapping[str, str]) -> Iterator[str]:
    for position, (key, value) in enumerate(pairs.items()):
        pair = make_safe(f"{key}={value}")
        yield _line(name, pair) if position == 0 else " " * _WIDTH + pair
