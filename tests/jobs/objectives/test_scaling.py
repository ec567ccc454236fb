"""Betas: the paper's formula, and beta-DPO step by step."""

from __future__ import annotations

import math

import pytest
import torch

from mmrlhf_jobs.objectives.scaling import (
    ImplicitBeta,
    ImplicitState,
    beta_dynamic,
    beta_fixed,
    implicit_beta,
)


@pytest.mark.parametrize(("w", "k"), [(0.5, 0.5), (0.1, 2.0), (0.0, 0.5), (1.0, 0.0)])
@pytest.mark.parametrize("margin", [1e-9, 0.3, 1.0, 5.0, 400.0])
def test_dynamic_beta_is_the_formula_of_the_paper(margin: float, w: float, k: float) -> None:
    found = beta_dynamic(torch.tensor([margin], dtype=torch.float64), initial=0.1, w=w, k=k)
    assert found.item() == pytest.approx(0.1 * (1 + w * (1 - math.exp(-k * margin))), rel=1e-14)
    assert 0.1 <= found.item() <= 0.1 * (1 + w) * (1 + 1e-15)


@pytest.mark.parametrize("margin", [0.0, -1e-9, -0.5, -5.0, -1000.0])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_without_a_positive_margin_beta_is_the_initial_one_exactly(
    margin: float, dtype: torch.dtype
) -> None:
    found = beta_dynamic(torch.tensor([margin], dtype=dtype), initial=0.1, w=0.5, k=0.5)
    assert found.item() == torch.tensor(0.1, dtype=dtype).item()


def test_fixed_beta() -> None:
    assert beta_fixed(torch.zeros(3), initial=0.25).tolist() == [0.25] * 3


GAPS = torch.tensor([1.0, 2.0, 3.0, 10.0], dtype=torch.float64)


def implicit(
    gaps: torch.Tensor = GAPS,
    state: ImplicitState = ImplicitState(mean=2.0, spread=1.0),  # noqa: B008 - frozen
    *,
    keep_fraction: float = 1.0,
    alpha: float = 0.6,
    seed: int = 0,
) -> ImplicitBeta:
    uniforms = torch.rand(len(gaps), generator=torch.Generator().manual_seed(seed))
    return implicit_beta(
        gaps,
        state,
        initial=0.1,
        alpha=alpha,
        momentum=0.9,
        keep_fraction=keep_fraction,
        uniforms=uniforms,
    )


def test_implicit_beta_by_hand() -> None:
    found = implicit()
    mean = 0.9 * 2.0 + 0.1 * 4.0
    spread = 0.9 * 1.0 + 0.1 * math.sqrt((9 + 4 + 1 + 36) / 3)
    assert found.state.mean == pytest.approx(mean)
    assert found.state.spread == pytest.approx(spread)
    assert found.keep.all()
    assert found.beta == pytest.approx(0.1 * (1 + 0.6 * (4.0 - mean)))


def test_implicit_beta_uses_the_pairs_it_keeps() -> None:
    found = implicit(keep_fraction=0.5)
    assert int(found.keep.sum()) == 2
    expected = 0.1 * (1 + 0.6 * (float(GAPS[found.keep].mean()) - found.state.mean))
    assert found.beta == pytest.approx(expected)


def test_pairs_near_the_running_mean_are_kept_more_often() -> None:
    kept = sum(implicit(keep_fraction=0.25, seed=seed).keep.double() for seed in range(400)) / 400
    # Weights of a normal density around 2.2 with spread 1.31, as multinomial would draw.
    state = implicit().state
    weights = torch.exp(-0.5 * ((GAPS - state.mean) / state.spread) ** 2)
    torch.testing.assert_close(kept, weights / weights.sum(), rtol=0, atol=0.08)


def test_same_uniforms_same_draw() -> None:
    first, second, other = (implicit(keep_fraction=0.5, seed=s).keep.tolist() for s in (3, 3, 4))
    assert first == second
    draws = {tuple(implicit(keep_fraction=0.5, seed=s).keep.tolist()) for s in range(20)}
    assert len(draws) > 1
    assert tuple(other) in draws


def test_implicit_beta_never_turns_the_preference_around() -> None:
    assert implicit(-100 * GAPS).beta == 1e-3


def test_one_pair_is_kept_and_has_no_spread() -> None:
    found = implicit(torch.tensor([3.0]), ImplicitState(), keep_fraction=0.1)
    assert found.keep.tolist() == [True]
    assert found.state.mean == pytest.approx(0.3)
    assert found.state.spread == 0.0
    assert math.isfinite(found.beta)
