"""Losses of micro-batches add up to the loss of the step, whatever the split."""

from __future__ import annotations

import math

import pytest
import torch

from mmrlhf_api import BetaPolicy
from mmrlhf_api import PreferenceObjective as Settings
from mmrlhf_jobs.data.pairs import Pair, form_pairs
from mmrlhf_jobs.forward.responses import ResponseLogProbs
from mmrlhf_jobs.models.adapter import EncodedGroup
from mmrlhf_jobs.models.precision import Precision
from mmrlhf_jobs.objectives.metrics import row_means
from mmrlhf_jobs.process.gang import Runtime
from mmrlhf_jobs.queries.preference import Query
from mmrlhf_jobs.training.mmdpo.objective import PreferenceObjective

ALONE = Runtime(rank=0, world_size=1, device=torch.device("cpu"))
PRECISION = Precision("float32", "sdpa")


def make_queries() -> list[Query]:
    generator = torch.Generator().manual_seed(3)
    queries = []
    for index, ranks in enumerate([(1, 2, 3, 4), (1, 2, 2), (1, 1, 3, 3), (2, 1)]):
        lengths = torch.randint(1, 9, (len(ranks),), generator=generator).tolist()
        queries.append(
            Query(
                name=str(index),
                encoded=EncodedGroup(
                    torch.zeros(5), tuple(torch.zeros(length) for length in lengths), {}
                ),
                pairs=form_pairs(ranks),
                reference=-torch.rand(len(ranks), generator=generator, dtype=torch.float64) * 9,
                rewards=torch.randn(len(ranks), generator=generator, dtype=torch.float64) * 3,
            )
        )
    return queries


def log_probs(queries: list[Query]) -> ResponseLogProbs:
    lengths = torch.tensor([len(r) for query in queries for r in query.encoded.responses])
    sums = [
        -torch.rand(
            len(query.encoded.responses),
            generator=torch.Generator().manual_seed(10 + int(query.name)),
            dtype=torch.float64,
        )
        * 9
        for query in queries
    ]
    return ResponseLogProbs(torch.cat(sums).requires_grad_(), lengths, 0, 0)


def scalar_loss(queries: list[Query], settings: Settings) -> float:
    """The formula of the paper, pair by pair, in plain Python."""
    losses, chosen_nll, chosen_tokens = [], 0.0, 0
    for query in queries:
        policy = log_probs([query]).sums.tolist()
        assert query.rewards is not None
        for chosen, rejected in query.pairs:
            delta = float(query.rewards[chosen] - query.rewards[rejected])
            beta = settings.beta.initial * (
                1 + settings.beta.w * (1 - math.exp(-settings.beta.k * max(delta, 0.0)))
            )
            gap = (policy[chosen] - float(query.reference[chosen])) - (
                policy[rejected] - float(query.reference[rejected])
            )
            losses.append(math.log1p(math.exp(-beta * gap)))
            chosen_nll -= policy[chosen]
            chosen_tokens += len(query.encoded.responses[chosen])
    return sum(losses) / len(losses) + settings.sft_weight * chosen_nll / chosen_tokens


@pytest.mark.parametrize("size", [1, 2, 4])
def test_micro_batches_add_up_to_the_formula(size: int) -> None:
    settings = Settings(beta=BetaPolicy(strategy="dynamic"), sft_weight=0.25)
    queries = make_queries()
    objective = PreferenceObjective(settings, seed=0, runtime=ALONE, precision=PRECISION)
    counts = objective.counts(queries)
    total = 0.0
    for start in range(0, len(queries), size):
        part = queries[start : start + size]
        total += float(
            objective.loss(part, log_probs(part), counts=counts, draw=start).loss.detach()
        )
    assert total == pytest.approx(scalar_loss(queries, settings), rel=1e-9)
    alone = settings.model_copy(update={"sft_weight": 0.0})
    micro = objective.loss(queries, log_probs(queries), counts=counts, draw=0)
    expected = [scalar_loss([query], alone) for query in queries]
    assert list(micro.rows) == pytest.approx(expected, rel=1e-9), "the mean of each row's pairs"


def test_a_spare_micro_batch_adds_nothing_but_takes_part() -> None:
    settings = Settings(beta=BetaPolicy(strategy="dynamic"), sft_weight=0.25)
    queries = make_queries()
    objective = PreferenceObjective(settings, seed=0, runtime=ALONE, precision=PRECISION)
    scored = log_probs(queries)
    micro = objective.loss(queries, scored, counts=objective.counts(queries), draw=0, counted=False)
    assert float(micro.loss.detach()) == 0.0
    assert set(micro.sums.values()) == {0.0}
    assert not micro.rows
    micro.loss.backward()
    assert scored.sums.grad is not None
    assert not scored.sums.grad.any()


def test_implicit_beta_takes_the_mean_over_the_pairs_that_it_keeps() -> None:
    settings = Settings(
        beta=BetaPolicy(strategy="implicit", implicit_keep_fraction=0.5), sft_weight=0.0
    )
    queries = make_queries()
    objective = PreferenceObjective(settings, seed=0, runtime=ALONE, precision=PRECISION)
    scored = log_probs(queries)
    micro = objective.loss(queries, scored, counts=objective.counts(queries), draw=0)
    micro.loss.backward()
    assert scored.sums.grad is not None
    beta = micro.sums["beta"] / micro.sums["pairs"]
    gains = scored.sums.detach() - torch.cat([query.reference for query in queries])
    losses, place = [], 0
    for query in queries:
        for chosen, rejected in query.pairs:
            gap = float(gains[place + chosen] - gains[place + rejected])
            losses.append(math.log1p(math.exp(-beta * gap)))
        place += len(query.encoded.responses)
    kept = len(losses) // 2
    # Whichever half was drawn, its mean lies between those of the extreme halves.
    ordered = sorted(losses)
    assert sum(ordered[:kept]) / kept <= float(micro.loss.detach()) <= sum(ordered[-kept:]) / kept
    state = objective.state()
    again = PreferenceObjective(settings, seed=0, runtime=ALONE, precision=PRECISION)
    again.restore(state)
    assert again.state() == state
    assert state["spread"] > 0


def test_pairs_are_indices_into_the_responses_in_use() -> None:
    assert form_pairs((1, 2, 2)) == (Pair(0, 1), Pair(0, 2))


def test_each_query_has_the_mean_loss_of_its_pairs() -> None:
    losses = torch.tensor([1.0, 2.0, 6.0, 5.0], dtype=torch.float64)
    assert row_means(losses, [(0, 1, 2), (), (3,)]) == [3.0, 0.0, 5.0]
