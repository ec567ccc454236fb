"""Where a run keeps its things.

::

    <artifacts>/<namespace>/<name>/<uid>/
        model/                   the trained model, a Hugging Face folder
        metrics.jsonl            one row a step
        manifest.json            the record of the run, written last
        attempts.json            every start of the run and how it ended
        claim.json               the attempt that may write here
        checkpoints/step-.../
        results/<attempt>/       the results of an attempt until they are put in place
    <artifacts>/cache/reference/ reference log-probabilities, shared by runs of the same inputs
    <artifacts>/cache/reward/    scores of a reward model, likewise
    <artifacts>/cache/proof/     how models compare with their plain forward passes, likewise
"""

from __future__ import annotations

from dataclasses import dataclass

from mmrlhf_api.job import Job
from mmrlhf_api.serialization import run_digest

__all__ = ["RunLayout", "laptop_uid"]


@dataclass(frozen=True)
class RunLayout:
    """Keys of one run in its artifact store, or its URIs (see `within`)."""

    prefix: str

    @classmethod
    def of(cls, job: Job) -> RunLayout:
        """Layout of a job: its UID in a cluster, a digest of what it computes on a laptop.

        The digest makes the same job file go on where it stopped, with more memory or other
        logging too, and one that computes something else start anew.
        """
        uid = job.metadata.uid or laptop_uid(job)
        return cls(f"{job.metadata.namespace}/{job.metadata.name}/{uid}")

    def within(self, root: str) -> RunLayout:
        """The same in a store: what were keys are URIs."""
        return RunLayout(f"{root.rstrip('/')}/{self.prefix}")

    @property
    def model(self) -> str:
        """The trained model."""
        return f"{self.prefix}/model"

    @property
    def manifest(self) -> str:
        """The record of the run."""
        return f"{self.prefix}/manifest.json"

    @property
    def metrics(self) -> str:
        """The time series."""
        return f"{self.prefix}/metrics.jsonl"

    @property
    def attempts(self) -> str:
        """Every start of the run."""
        return f"{self.prefix}/attempts.json"

    @property
    def claim(self) -> str:
        """The attempt that may write the run."""
        return f"{self.prefix}/claim.json"

    @staticmethod
    def cache(kind: str, digest: str) -> str:
        """Values of one kind, of one model, template and data set."""
        return f"cache/{kind}/{digest}"


def laptop_uid(job: Job) -> str:
    """What stands for the UID of a job that no cluster has given one."""
    return run_digest(job)[:12]
