"""Where a sampling keeps its things.

::

    <artifacts>/<namespace>/<name>/<uid>/
        queries.jsonl            what was chosen, Query/v1, in the order of record ids
        selection.parquet        the same without texts: why each record was chosen
        report.html              types, clusters, map and pictures, as one page
        map.parquet              places on the map
        statistics.json          shares in and out, evenness, what was left out
        media/                   media that lay within shards, named by their digest
        manifest.json            the record of the run, written last
        attempts.json            every start of the run and how it ended
        claim.json               the attempt that may write here
        results/<attempt>/       the results of an attempt until they are put in place
        work/<stage>/<part>/     what each stage has finished
    <artifacts>/embeddings/      vectors by content, shared by runs with the same encoder
"""

from __future__ import annotations

from dataclasses import dataclass

from mmrlhf_api import ClusterSampleJob
from mmrlhf_api.runs import RunLayout

__all__ = ["SamplingLayout"]


@dataclass(frozen=True)
class SamplingLayout:
    """Keys of one run in its artifact store."""

    run: RunLayout

    @classmethod
    def of(cls, job: ClusterSampleJob) -> SamplingLayout:
        """Layout of a job; see `RunLayout.of`."""
        return cls(RunLayout.of(job))

    def at(self, name: str) -> str:
        """A file or folder of the run."""
        return f"{self.run.prefix}/{name}"

    @property
    def work(self) -> str:
        """What stages have finished."""
        return self.at("work")

    def stage(self, name: str, *, since: int = 1) -> str:
        """Parts of a stage.

        Args:
            name: The stage.
            since: Number of the claim that began the run anew, if one has.
        """
        return f"{self.work}/{name}" if since == 1 else f"{self.work}/{since:06d}/{name}"
