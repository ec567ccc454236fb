"""The artifact: written, loaded whole, loaded as a backbone alone, and refused when it is not."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForImageTextToText

from mmrlhf_api import RewardInference
from mmrlhf_jobs.data.critiques import CritiqueSource
from mmrlhf_jobs.errors import ModelError
from mmrlhf_jobs.models import load_model
from mmrlhf_jobs.models.weights import held
from mmrlhf_jobs.reward_model.head import HeadKind, RewardHead
from mmrlhf_jobs.reward_model.judge import (
    CritiqueRewardModel,
    RewardModelCard,
    critique_template,
    save_reward_model,
)
from tests.jobs.models.tiny import picture
from tests.jobs.reward.conftest import QUERIES, make_scorer

IMAGE = picture(50, 30, 1)
QUESTION, RESPONSES = QUERIES[0][0], QUERIES[0][2]
CRITIQUES = ["it is wrong.", "yes. a red square.", "no"]


def write(
    folder: Path, tiny: Path, *, critique: CritiqueSource = "enhanced", kind: HeadKind = "linear"
) -> Path:
    loaded = load_model(tiny, dtype="float32", attention="sdpa")
    scorer = make_scorer(loaded, kind=kind).float()
    card = RewardModelCard(
        head=kind,
        hidden_size=32,
        critique=critique,
        inference=RewardInference(
            critique="none" if critique == "none" else "generated", max_new_tokens=4
        ),
        template=critique_template(loaded).digest(),
        base=str(tiny),
        base_digest="0" * 64,
    )
    save_reward_model(loaded.model, held(scorer.state_dict()), card, source=tiny, target=folder)
    return folder


@pytest.fixture(scope="module")
def folder(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("reward") / "model", tiny)


def test_scores_and_critiques_of_a_query(folder: Path) -> None:
    judge = CritiqueRewardModel.from_pretrained(folder)
    verdicts = judge.score(QUESTION, [IMAGE], RESPONSES)
    assert [len(verdict.critiques) for verdict in verdicts] == [1, 1, 1]
    assert len({verdict.score for verdict in verdicts}) == 3
    (alone,) = judge.score(QUESTION, [IMAGE], RESPONSES[1:2])
    assert alone.critiques == verdicts[1].critiques
    assert alone.score == pytest.approx(verdicts[1].score, rel=1e-4)


def test_the_mean_over_sampled_critiques(folder: Path) -> None:
    def scored(samples: int) -> float:
        inference = RewardInference(samples=samples, temperature=1.0, max_new_tokens=4)
        judge = CritiqueRewardModel.from_pretrained(folder, inference=inference)
        verdict = judge.score(QUESTION, [IMAGE], RESPONSES)[0]
        assert len(verdict.critiques) == samples
        return verdict.score

    assert scored(3) == scored(3)
    assert scored(3) != scored(1)


def test_ground_truth_and_no_critique(folder: Path) -> None:
    truth = RewardInference(critique="groundTruth")
    judge = CritiqueRewardModel.from_pretrained(folder, inference=truth)
    after = judge.score(QUESTION, [IMAGE], RESPONSES, critiques=CRITIQUES)
    with pytest.raises(ValueError, match="needs critiques"):
        judge.score(QUESTION, [IMAGE], RESPONSES)
    none = RewardInference(critique="none")
    bare = CritiqueRewardModel.from_pretrained(folder, inference=none)
    without = bare.score(QUESTION, [IMAGE], RESPONSES)
    assert all(one.score != other.score for one, other in zip(after, without, strict=True))
    assert not any(verdict.critiques for verdict in [*after, *without])


def test_the_mlp_head_comes_back(tiny: Path, tmp_path: Path) -> None:
    folder = write(tmp_path / "mlp", tiny, kind="mlp")
    loaded = load_model(folder, dtype="float32", attention="sdpa")
    expected = make_scorer(loaded, kind="mlp").float().reward_head.state_dict()
    head = RewardHead.load(folder / "reward_head.safetensors", "mlp", 32)
    assert all(torch.equal(head.state_dict()[name], value) for name, value in expected.items())
    with pytest.raises(ModelError, match="no linear head"):
        RewardHead.load(folder / "reward_head.safetensors", "linear", 32)


def test_the_backbone_loads_in_stock_transformers(folder: Path) -> None:
    model, info = AutoModelForImageTextToText.from_pretrained(folder, output_loading_info=True)
    assert not info["missing_keys"]
    assert not info["unexpected_keys"]
    assert not any("reward" in name for name in model.state_dict())


def test_what_is_no_reward_model_is_refused(tiny: Path, folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"no reward_model.json"):
        CritiqueRewardModel.from_pretrained(tiny)
    card = RewardModelCard.read(folder)
    loaded = load_model(tiny, dtype="float32", attention="sdpa")
    other = RewardModelCard(**{**vars(card), "template": "0" * 64})
    with pytest.raises(ModelError, match="another critique template"):
        CritiqueRewardModel(
            loaded, RewardHead("linear", 32), other, digest="", inference=card.inference
        )
    (tmp_path / "reward_model.json").write_text(json.dumps({"version": 2}))
    with pytest.raises(ModelError, match=r"reward_model\.json"):
        RewardModelCard.read(tmp_path)


def test_critiques_of_a_model_that_never_learnt_any_are_refused(tiny: Path, tmp_path: Path) -> None:
    folder = write(tmp_path / "bare", tiny, critique="none")
    CritiqueRewardModel.from_pretrained(folder)
    with pytest.raises(ModelError, match="never learnt critiques"):
        CritiqueRewardModel.from_pretrained(folder, inference=RewardInference())
