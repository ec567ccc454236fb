"""Training with one log-probability for each response, by engine and objective of a job."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

import torch

from benchmarks.dpo.peer import BETA, GAMMA
from benchmarks.dpo.steps import Clock, Trained, peak_memory
from mmrlhf_api import BetaPolicy, Optimizer
from mmrlhf_api import PreferenceObjective as Settings
from mmrlhf_jobs.data.pairs import form_pairs
from mmrlhf_jobs.forward.responses import ResponseLogProbs, ResponseModel
from mmrlhf_jobs.models.adapter import EncodedGroup
from mmrlhf_jobs.models.precision import Precision
from mmrlhf_jobs.process.gang import Runtime
from mmrlhf_jobs.queries.preference import Query
from mmrlhf_jobs.training.engines.torch_engine import TorchEngine
from mmrlhf_jobs.training.mmdpo.objective import PreferenceObjective
from mmrlhf_jobs.training.plan import micro_batches

__all__ = ["OBJECTIVE", "make_objective", "make_queries", "refer", "train"]

OBJECTIVE: Final = Settings(
    beta=BetaPolicy(strategy="fixed", initial=BETA), sft_weight=GAMMA, shared_prefix="required"
)
"""Plain DPO with a supervised term, as the peer has it."""


def make_objective(precision: Precision, device: torch.device) -> PreferenceObjective:
    """The objective of one process."""
    runtime = Runtime(rank=0, world_size=1, device=device)
    return PreferenceObjective(OBJECTIVE, seed=0, runtime=runtime, precision=precision)


def make_queries(groups: Sequence[EncodedGroup]) -> list[Query]:
    """All pairs of each group, whose responses stand best first; the reference is uniform."""
    return [
        Query(
            name=f"query {number}",
            encoded=group,
            pairs=form_pairs(range(1, len(group.responses) + 1)),
            reference=torch.zeros(len(group.responses), dtype=torch.float64),
            rewards=None,
        )
        for number, group in enumerate(groups)
    ]


@torch.no_grad()
def refer(module: ResponseModel, queries: Sequence[Query]) -> list[Query]:
    """The same with the log-probabilities of the model as the reference."""
    return [
        replace(query, reference=module([query.encoded]).sums.double().cpu()) for query in queries
    ]


def train(
    module: ResponseModel,
    queries: Sequence[Query],
    *,
    at_once: int,
    steps: int,
    learning_rate: float,
    precision: Precision,
) -> Trained:
    """Do some optimizer steps on the same queries.

    Args:
        module: What is trained.
        queries: Those of a step.
        at_once: Queries of a micro-batch.
        steps: Timed steps, after one that warms up; 0 times that one alone.
        learning_rate: Of every step.
        precision: What the module computes in.
    """
    device = next(module.parameters()).device
    runtime = Runtime(rank=0, world_size=1, device=device)
    objective = make_objective(precision, device)
    engine: TorchEngine[ResponseLogProbs] = TorchEngine(module, Optimizer(), runtime)
    counts = objective.counts(queries)
    batches = micro_batches(queries, size=at_once, count=0, spare=queries[0])
    clock, losses, tokens, places = Clock(), [], 0, 0
    before = peak_memory()
    clock.mark()
    for step in range(steps + 1):
        total = 0.0
        for number, (batch, _) in enumerate(batches):
            output = engine.forward([query.encoded for query in batch])
            micro = objective.loss(batch, output, counts=counts, draw=step * len(batches) + number)
            engine.backward(micro.loss)
            total += float(micro.loss.detach())
            tokens += output.real_tokens
            places += output.tokens_forwarded
        engine.step(learning_rate=learning_rate)
        losses.append(total)
        clock.mark()
    done = steps + 1
    return Trained(clock.steps(), losses, tokens // done, places // done, before, peak_memory())
