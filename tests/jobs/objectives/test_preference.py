"""The preference and supervised terms against scalar loops in double precision."""

from __future__ import annotations

import math

import pytest
import torch

from mmrlhf_jobs.data.pairs import Pair, form_pairs
from mmrlhf_jobs.objectives.metrics import PreferenceMetrics, preference_metrics
from mmrlhf_jobs.objectives.preference import index_pairs, preference_loss
from mmrlhf_jobs.objectives.scaling import beta_dynamic
from mmrlhf_jobs.objectives.supervised import supervised_loss, win_counts

RANKS = [[1, 2, 3, 4], [2, 1, 2]]
POLICY = [-9.0, -7.5, -24.0, -13.25, -3.0, -1.5, -4.0]
REFERENCE = [-12.0, -9.0, -19.0, -9.0, -3.5, -4.0, -2.25]
REWARDS = [2.0, 1.5, -1.0, 0.5, 0.25, 0.0, -3.0]
LENGTHS = [5, 4, 9, 3, 2, 2, 1]
BETA, W, K, GAMMA = 0.1, 0.5, 0.5, 0.25


def pairs() -> torch.Tensor:
    return index_pairs([form_pairs(ranks) for ranks in RANKS], [len(ranks) for ranks in RANKS])


def scalar_loss(policy: list[float], w: float) -> float:
    """MM-RLHF section 4, written as loops over ranks."""
    total, count, likelihood, tokens, first = 0.0, 0, 0.0, 0, 0
    for ranks in RANKS:
        for i in range(len(ranks)):
            for j in range(len(ranks)):
                if ranks[i] >= ranks[j]:
                    continue
                a, b = first + i, first + j
                delta = max(REWARDS[a] - REWARDS[b], 0.0)
                beta = BETA * (1 + w * (1 - math.exp(-K * delta)))
                gap = (policy[a] - REFERENCE[a]) - (policy[b] - REFERENCE[b])
                total += math.log(1 + math.exp(-beta * gap))
                count += 1
                likelihood -= policy[a]
                tokens += LENGTHS[a]
        first += len(ranks)
    return total / count + GAMMA * likelihood / tokens


def group_loss(policy: torch.Tensor, w: float) -> torch.Tensor:
    rewards = torch.tensor(REWARDS, dtype=policy.dtype)
    places = pairs()
    margins = rewards[places[:, 0]] - rewards[places[:, 1]]
    betas = beta_dynamic(margins, initial=BETA, w=w, k=K)
    reference = torch.tensor(REFERENCE, dtype=policy.dtype)
    preference = preference_loss(policy, reference, places, betas)
    supervised = supervised_loss(policy, torch.tensor(LENGTHS), places)
    return (
        preference.total / preference.pairs + GAMMA * supervised.numerator / supervised.denominator
    )


@pytest.mark.parametrize("w", [0.0, 0.5, 1.0])
def test_group_loss_is_the_scalar_loop(w: float) -> None:
    policy = torch.tensor(POLICY, dtype=torch.float64)
    assert group_loss(policy, w).item() == pytest.approx(scalar_loss(POLICY, w), rel=1e-14)
    single = torch.tensor(POLICY, dtype=torch.float32)
    assert group_loss(single, w).item() == pytest.approx(scalar_loss(POLICY, w), rel=1e-6)


@pytest.mark.parametrize("w", [0.0, 0.5])
def test_gradient_is_that_of_the_scalar_loop(w: float) -> None:
    policy = torch.tensor(POLICY, dtype=torch.float64, requires_grad=True)
    group_loss(policy, w).backward()
    assert policy.grad is not None
    step = 1e-5
    for index, slope in enumerate(policy.grad.tolist()):
        up, down = list(POLICY), list(POLICY)
        up[index] += step
        down[index] -= step
        expected = (scalar_loss(up, w) - scalar_loss(down, w)) / (2 * step)
        assert slope == pytest.approx(expected, rel=1e-7, abs=1e-10)


def test_scaling_changes_the_loss_of_this_batch() -> None:
    policy = torch.tensor(POLICY, dtype=torch.float64)
    assert abs(group_loss(policy, 0.5) - group_loss(policy, 0.0)) > 1e-3


def test_micro_batches_add_up_to_the_whole_step() -> None:
    policy = torch.tensor(POLICY, dtype=torch.float64)
    reference = torch.tensor(REFERENCE, dtype=torch.float64)
    whole = preference_loss(policy, reference, pairs(), BETA)
    first = preference_loss(
        policy[:4], reference[:4], index_pairs([form_pairs(RANKS[0])], [4]), BETA
    )
    last = preference_loss(
        policy[4:], reference[4:], index_pairs([form_pairs(RANKS[1])], [3]), BETA
    )
    assert (first.total + last.total).item() == pytest.approx(whole.total.item())
    assert first.pairs + last.pairs == whole.pairs == 6 + 2


def test_large_gaps_stay_finite() -> None:
    policy = torch.tensor([-1e4, 0.0], requires_grad=True)
    loss = preference_loss(policy, torch.zeros(2), torch.tensor([[0, 1]]), 1.0)
    loss.total.backward()
    assert loss.total.item() == pytest.approx(1e4)
    assert policy.grad is not None
    assert policy.grad.tolist() == [-1.0, 1.0]


def test_half_precision_log_probs_are_compared_in_float32() -> None:
    policy = torch.tensor([-100.5, -100.0], dtype=torch.bfloat16)
    loss = preference_loss(policy, torch.tensor([-100.25, -100.0]), torch.tensor([[0, 1]]), 1.0)
    assert loss.losses.dtype == torch.float32
    assert loss.gaps.item() == pytest.approx(-0.25)


def test_pairs_left_out_count_nowhere() -> None:
    policy = torch.tensor(POLICY, dtype=torch.float64, requires_grad=True)
    reference = torch.tensor(REFERENCE, dtype=torch.float64)
    keep = torch.tensor([True, False, True, False, False, False, False, True])
    found = preference_loss(policy, reference, pairs(), BETA, keep=keep)
    expected = preference_loss(policy, reference, pairs()[keep], BETA)
    assert found.pairs == 3
    assert found.total.item() == pytest.approx(expected.total.item())
    assert found.losses[~keep].abs().max() == 0


def test_no_pairs_give_a_zero_with_a_gradient() -> None:
    policy = torch.tensor([-1.0, -2.0], requires_grad=True)
    loss = preference_loss(policy, torch.zeros(2), index_pairs([[]], [2]), 0.1)
    loss.total.backward()
    assert loss.pairs == 0
    assert policy.grad is not None
    assert policy.grad.tolist() == [0.0, 0.0]


def test_index_pairs_counts_responses_of_the_groups_before() -> None:
    found = index_pairs([[Pair(0, 1)], [], [Pair(1, 0)]], [2, 3, 2])
    assert found.tolist() == [[0, 1], [6, 5]]


def test_wins() -> None:
    assert win_counts(pairs(), 7).tolist() == [3, 2, 1, 0, 0, 2, 0]


def test_metrics_add_up() -> None:
    policy = torch.tensor([-1.0, -2.0, -3.0], dtype=torch.float64)
    places = torch.tensor([[0, 1], [0, 2], [1, 2], [2, 1], [0, 0]])
    loss = preference_loss(policy, torch.zeros(3), places, 0.1)
    metrics = preference_metrics(
        loss, torch.full((5,), 0.2), margins=torch.tensor([1.0, -1.0, 0.0, -2.0, 0.5])
    )
    both = metrics + metrics
    assert both.pairs == 10
    assert both.margin == pytest.approx((1 + 2 + 1 - 1 + 0) / 5)
    assert both.accuracy == pytest.approx(3 / 5)  # the tie is not correct
    assert both.beta == pytest.approx(0.2)
    assert both.disagreement == pytest.approx(2 / 5)
    assert PreferenceMetrics().accuracy == 0.0
