"""A dry run as text for terminals: a row a part, and what to change."""

from __future__ import annotations

import json
from collections.abc import Iterator

from rich.table import Table
from rich.text import Text

from mmrlhf_api.plain_text import make_safe
from mmrlhf_jobs.training.memory.dry_run import DryRun

__all__ = ["make_table", "sentences"]

_GIB = 1 << 30


def make_table(found: DryRun) -> Table:
    """The parts of each process's memory, and the sum."""
    resources = found.job.spec.resources
    where = "GPU" if resources.gpus_per_node else "process"
    table = Table(title=f"memory of each {where}", title_justify="left")
    table.add_column("part")
    table.add_column("GiB", justify="right")
    table.add_column("what it is", overflow="fold")
    for part in found.estimate.parts:
        table.add_row(part.name, _gib(part.count), Text(make_safe(part.note)))
    table.add_section()
    limit = f"of {_gib(found.estimate.limit)} GiB"
    table.add_row("sum", _gib(found.estimate.per_process), limit)
    return table


def sentences(found: DryRun) -> Iterator[str]:
    """Whether it fits, and what to change if it does not."""
    now = found.estimate
    host = f"each node takes {_gib(now.host)} GiB of its memory, of {_gib(now.host_limit)} GiB"
    if now.fits:
        yield f"It fits; {host}."
        return
    over = []
    if now.per_process > now.limit:
        over.append(f"{_gib(now.per_process - now.limit)} GiB are missing")
    if now.host > now.host_limit:
        over.append(f"{host}: raise spec.resources.memory")
    yield f"It does not fit: {'; '.join(over)}."
    if not found.changes:
        if now.per_process > now.limit:
            yield "No change of the file that leaves the result as it is makes it fit."
        return
    yield "It fits with" if len(found.changes) == 1 else "It fits with all of these:"
    for change in found.changes:
        fields = ", ".join(f"spec.{name}={_value(value)}" for name, value in change.fields.items())
        yield f"  {fields}   {_gib(change.estimate.per_process)} GiB; costs {change.cost}"


def _gib(count: int) -> str:
    gib = count / _GIB
    return f"{gib:.1f}" if gib >= 1 else f"{gib:.3f}"


def _value(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value)
