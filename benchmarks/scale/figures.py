"""What a run of the operator at scale shows, and the table of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass

from rich.console import Console
from rich.table import Table

__all__ = ["Figures", "PeerFigures", "print_table"]


@dataclass(frozen=True)
class Figures:
    """What a run showed.

    Attributes:
        jobs: Jobs.
        pods: Pods of all of them.
        seconds: From the first job to the last pod.
        pods_a_second: Pods over seconds.
        cpu: Seconds of CPU of the operator until then.
        memory: MB that it had at most.
        requests: Its requests a job until then, watches left out.
        requests_ended: The same until all jobs had ended; None where they were not ended.
        seconds_to_rest: From then until it wrote nothing more but its Lease.
        lease_at_rest: How often it wrote that within the time of rest.
        writes_at_rest: All that it wrote besides.
        lists_at_rest: Its lists within the time of rest.
    """

    jobs: int
    pods: int
    seconds: float
    pods_a_second: float
    cpu: float
    memory: float
    requests: float
    requests_ended: float | None
    seconds_to_rest: float
    lease_at_rest: int
    writes_at_rest: int
    lists_at_rest: int


@dataclass(frozen=True)
class PeerFigures:
    """What the controller of Jobs showed.

    Attributes:
        jobs: Jobs.
        seconds: From the first Job to the last pod.
        pods_a_second: Pods over seconds.
        cpu: Seconds of CPU of the controller manager until then; its other controllers work for
            pods and Services of ours as well.
    """

    jobs: int
    seconds: float
    pods_a_second: float
    cpu: float


def print_table(title: str, found: Sequence[Figures | PeerFigures]) -> None:
    """Print them, one a row."""
    table = Table(title=title, title_justify="left")
    for name in asdict(found[0]):
        table.add_column(name.replace("_", " "), justify="right")
    for one in found:
        table.add_row(*("-" if value is None else str(value) for value in asdict(one).values()))
    Console(width=120).print(table)
