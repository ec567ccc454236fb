"""Where a StepJob keeps its things.

::

    <artifacts>/<namespace>/<name>/<uid>/
        scores.parquet, ...      what the step makes, by the names of its outputs
        manifest.json            the record of the run, written last
        attempts.json            every start of the run and how it ended
        claim.json               the attempt that may write here
        results/<attempt>/       the results of an attempt until they are put in place
        work/                    parts of what several processes make, until they are joined
        journal/                 answers and samples, one by one, for the next attempt
"""

from __future__ import annotations

from dataclasses import dataclass

from mmrlhf_api.kinds.types.steps import StepJob
from mmrlhf_api.runs import RunLayout

__all__ = ["StepLayout"]


@dataclass(frozen=True)
class StepLayout:
    """Keys of one run in its artifact store."""

    run: RunLayout

    @classmethod
    def of(cls, job: StepJob) -> StepLayout:
        """Layout of a job; see `RunLayout.of`."""
        return cls(RunLayout.of(job))

    @property
    def work(self) -> str:
        """What processes share until it is whole."""
        return f"{self.run.prefix}/work"

    @property
    def journal(self) -> str:
        """Results one by one."""
        return f"{self.run.prefix}/journal"
