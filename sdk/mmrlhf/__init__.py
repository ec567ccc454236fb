"""Align multimodal models the MM-RLHF way, from Python.

::

    import mmrlhf

    job = mmrlhf.load_job("job.yaml", overrides=["spec.training.epochs=2"])
    mmrlhf.run(job)                                     # on this machine, to its end

    client = mmrlhf.Client(namespace="vision")          # on a cluster
    client.submit(job)
    client.wait("align")

    judge = mmrlhf.RewardModel.from_pretrained("s3://bucket/judge/model")
    judge.score(mmrlhf.Dataset.open("heldout.jsonl"))

The import is quick: what a name needs is imported when the name is first used. `Client` needs the
extra ``cli``; `run`, models, data and `losses` need ``jobs``.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from mmrlhf.client.client import Client
    from mmrlhf.client.log_stream import JobLine
    from mmrlhf.client.views import JobView
    from mmrlhf.errors import MmrlhfError
    from mmrlhf.local.events import Done, Event, Notice, Phase, Step
    from mmrlhf.local.run import RunResult, run
    from mmrlhf.training import losses
    from mmrlhf.training.dataset import Dataset
    from mmrlhf.training.features import Features
    from mmrlhf.training.model import Model, load_model, log_probs
    from mmrlhf.training.reward_model import RewardModel, ScoredResponse
    from mmrlhf_api.jobfile import load_job, load_jobs
    from mmrlhf_api.kinds import Job

__all__ = [
    "Client",
    "Dataset",
    "Done",
    "Event",
    "Features",
    "Job",
    "JobLine",
    "JobView",
    "MmrlhfError",
    "Model",
    "Notice",
    "Phase",
    "RewardModel",
    "RunResult",
    "ScoredResponse",
    "Step",
    "load_job",
    "load_jobs",
    "load_model",
    "log_probs",
    "losses",
    "run",
]

_HOMES: Final = {
    "Client": "mmrlhf.client.client",
    "Dataset": "mmrlhf.training.dataset",
    "Done": "mmrlhf.local.events",
    "Event": "mmrlhf.local.events",
    "Features": "mmrlhf.training.features",
    "Job": "mmrlhf_api.kinds",
    "JobLine": "mmrlhf.client.log_stream",
    "JobView": "mmrlhf.client.views",
    "MmrlhfError": "mmrlhf.errors",
    "Model": "mmrlhf.training.model",
    "Notice": "mmrlhf.local.events",
    "Phase": "mmrlhf.local.events",
    "RewardModel": "mmrlhf.training.reward_model",
    "RunResult": "mmrlhf.local.run",
    "ScoredResponse": "mmrlhf.training.reward_model",
    "Step": "mmrlhf.local.events",
    "load_job": "mmrlhf_api.jobfile",
    "load_jobs": "mmrlhf_api.jobfile",
    "load_model": "mmrlhf.training.model",
    "log_probs": "mmrlhf.training.model",
    "run": "mmrlhf.local.run",
}
"""The module that each name comes from, imported when it is first asked for (PEP 562)."""


def __getattr__(name: str) -> object:
    if name == "losses":
        return importlib.import_module("mmrlhf.training.losses")
    if name not in _HOMES:
        raise AttributeError(f"module 'mmrlhf' has no attribute {name!r}")
    value: object = getattr(importlib.import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
