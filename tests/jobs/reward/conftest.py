"""The tiny model with a scoring head, and queries of every shape with critiques."""

from __future__ import annotations

from pathlib import Path

import pytest

from mmrlhf_jobs.data.media import LoadedMedia
from mmrlhf_jobs.models import EncodedGroup, LoadedModel, load_model
from mmrlhf_jobs.models.critique_template import CritiqueTemplate
from mmrlhf_jobs.reward_model.head import HeadKind, RewardHead
from mmrlhf_jobs.reward_model.scorer import RewardScorer
from tests.jobs.models.tiny import picture, save_tiny

QUERIES: list[tuple[str, list[LoadedMedia], list[str], list[str | None]]] = [
    (
        "what is this?",
        [LoadedMedia("image", (picture(50, 30, 1),))],
        ["a dog", "a red square and a dog", "blue"],
        ["it is wrong.", "yes. a red square is in this picture.", None],
    ),
    ("and this?", [], ["a", "circle dog"], ["no", "there is a circle, and a dog."]),
    (
        "film?",
        [LoadedMedia("frames", tuple(picture(40, 30, 10 + index) for index in range(3)))],
        ["x", "y dog is"],
        ["what is it", "dog"],
    ),
]
"""Question, media, responses, critiques."""


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a tiny LLaVA-OneVision; do not write into it."""
    return save_tiny(tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture
def loaded(tiny: Path) -> LoadedModel:
    """The tiny model in double precision."""
    return load_model(tiny, dtype="float64", attention="sdpa")


@pytest.fixture
def prompt(loaded: LoadedModel) -> CritiqueTemplate:
    return CritiqueTemplate(loaded.adapter, max_tokens=4096)


@pytest.fixture
def groups(prompt: CritiqueTemplate) -> list[EncodedGroup]:
    return [prompt.encode(*query) for query in QUERIES]


def make_scorer(
    loaded: LoadedModel, *, kind: HeadKind = "linear", shared_prefix: bool = True
) -> RewardScorer:
    head = RewardHead(kind, loaded.model.config.text_config.hidden_size, seed=5).double()
    return RewardScorer(loaded.model, loaded.adapter, head, shared_prefix=shared_prefix)
