"""Where a run keeps its things.

::

    <artifacts>/<namespace>/<name>/<uid>/
        model/                   the trained model, a Hugging Face folder
        adapter/                 the adapter alone, if one was trained, as peft has it
        metrics.jsonl            one row a step
        tensorboard/             the same for TensorBoard
        wandb/                   the same for wandb sync, of runs that are tracked offline
        report.html              the run on one page, of trainings
        manifest.json            the record of the run, written last
        attempts.json            every start of the run and how it ended
        claim.json               the attempt that may write here
        pruning.json             whether it is to be removed, or was; of runs that nothing needed
        checkpoints/step-.../
        results/<attempt>/       the results of an attempt until they are put in place
        logs/attempt-.../        the log of every node (see `mmrlhf_api.run_logs`)
    <artifacts>/cache/reference/ reference log-probabilities, shared by runs of the same inputs
    <artifacts>/cache/reward/    scores of a reward model, likewise
    <artifacts>/cache/proof/     how models compare with their plain forward passes, likewise
    <artifacts>/aliases/         what names stand for (see `mmrlhf_jobs.storage.alias`)
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mmrlhf_api.job import Job

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
        return cls.named(job.metadata.namespace, job.metadata.name, uid)

    @classmethod
    def named(cls, namespace: str, name: str, uid: str) -> RunLayout:
        """Layout of a job of which no more is known."""
        return cls(f"{namespace}/{name}/{uid}")

    def within(self, root: str) -> RunLayout:
        """The same in a store: what were keys are URIs."""
        return RunLayout(f"{root.rstrip('/')}/{self.prefix}")

    @property
    def model(self) -> str:
        """The trained model."""
        return f"{self.prefix}/model"

    @property
    def adapter(self) -> str:
        """The adapter alone, of runs that train one."""
        return f"{self.prefix}/adapter"

    @property
    def manifest(self) -> str:
        """The record of the run."""
        return f"{self.prefix}/manifest.json"

    @property
    def metrics(self) -> str:
        """The time series."""
        return f"{self.prefix}/metrics.jsonl"

    @property
    def report(self) -> str:
        """The run on one page."""
        return f"{self.prefix}/report.html"

    @property
    def attempts(self) -> str:
        """Every start of the run."""
        return f"{self.prefix}/attempts.json"

    @property
    def claim(self) -> str:
        """The attempt that may write the run."""
        return f"{self.prefix}/claim.json"

    @property
    def logs(self) -> str:
        """The logs of all nodes and attempts; `mmrlhf_api.run_logs` has what is in it."""
        return f"{self.prefix}/logs"

    @staticmethod
    def cache(kind: str, digest: str) -> str:
        """Values of one kind, of one model, template and data set."""
        return f"cache/{kind}/{digest}"


def laptop_uid(job: Job) -> str:
    """What stands for the UID of a job that no cluster has given one."""
    from mmrlhf_api.serialization import run_digest

    return run_digest(job)[:12]
