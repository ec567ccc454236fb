"""What reads without training shares a prompt only where that gives the plain model's numbers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

import mmrlhf
from mmrlhf.training.rows import Row
from mmrlhf_api import RewardInference
from mmrlhf_jobs.attention import backends
from mmrlhf_jobs.data.dataset import RankedDataset
from mmrlhf_jobs.data.sources import Source
from mmrlhf_jobs.data.validation import scan
from mmrlhf_jobs.errors import ModelError
from mmrlhf_jobs.forward.responses import response_log_probs
from mmrlhf_jobs.forward.sharing import Found
from mmrlhf_jobs.models import load_model
from mmrlhf_jobs.models.families.generic import GenericAdapter
from mmrlhf_jobs.reward_model.head import RewardHead
from mmrlhf_jobs.reward_model.judge import CritiqueRewardModel, RewardModelCard, critique_template
from mmrlhf_jobs.scores.parts import Valued
from mmrlhf_jobs.training.reward.scoring import score_records
from tests.jobs.models.stock import media_of
from tests.jobs.models.tiny import picture
from tests.jobs.models.zoo import save
from tests.jobs.training.world import make_record, write_records

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

RESPONSES = ["a dog", "no, a red square", "blue"]
IMAGE = picture(40, 28, 1)
ROW = Row("what is this?", RESPONSES, [IMAGE])


@pytest.fixture(scope="module")
def qwen(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save("qwen2_vl", tmp_path_factory.mktemp("models") / "qwen2_vl")


def responses_see_each_other(monkeypatch: pytest.MonkeyPatch) -> None:
    for way in ("mmrlhf_sdpa", "mmrlhf_sdpa_split"):
        monkeypatch.setitem(backends.BACKENDS, way, backends.CAUSAL)


def lose_positions(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if all tokens of a prompt were at one place."""
    monkeypatch.setattr(
        GenericAdapter,
        "prompt_positions",
        lambda _, group: torch.zeros(3, len(group.prompt_ids), dtype=torch.int64),
    )


def make_judge(folder: Path, told: list[str]) -> CritiqueRewardModel:
    loaded = load_model(folder, dtype="float32", attention="sdpa")
    inference = RewardInference(critique="none")
    card = RewardModelCard(
        head="linear",
        hidden_size=32,
        critique="enhanced",
        inference=inference,
        template=critique_template(loaded).digest(),
        base=str(folder),
        base_digest="0" * 64,
    )
    return CritiqueRewardModel(
        loaded,
        RewardHead("linear", 32, seed=5),
        card,
        digest="0" * 64,
        inference=inference,
        tell=told.append,
    )


def scores(judge: CritiqueRewardModel) -> list[float]:
    return [one.score for one in judge.score("what is this?", [IMAGE], RESPONSES)]


def test_a_reward_model_falls_back_to_one_row_a_response(
    qwen: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[str] = []
    right = make_judge(qwen, told)
    expected = scores(right)
    assert right.sharing.find([]).shared
    assert told == []
    responses_see_each_other(monkeypatch)
    judge = make_judge(qwen, told)
    assert scores(judge) == pytest.approx(expected, rel=1e-3, abs=1e-4)
    assert not judge.sharing.find([]).shared
    assert len(told) == 2, "once, and not for every query"
    assert "attention by mmrlhf_sdpa is not used" in told[0]
    assert "one row for each response: rows that share a prompt are" in told[1]
    scores(judge)
    assert len(told) == 2


def test_log_probs_fall_back_to_one_row_a_response(
    qwen: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    model = mmrlhf.load_model(qwen)
    group = model.loaded.adapter.encode("what is this?", media_of([IMAGE]), RESPONSES)
    with torch.no_grad():
        plain = response_log_probs(
            model.loaded.model, model.loaded.adapter, [group], shared_prefix=False
        ).sums
    responses_see_each_other(monkeypatch)
    (found,) = mmrlhf.log_probs(model, [ROW])
    torch.testing.assert_close(found.sums, plain, rtol=1e-4, atol=1e-3)
    assert "one row for each response" in caplog.text


def test_a_model_that_is_read_wrongly_gives_no_numbers(
    qwen: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lose_positions(monkeypatch)
    with pytest.raises(ModelError, match="'qwen2_vl' are not read as transformers reads them"):
        scores(make_judge(qwen, []))
    with pytest.raises(ModelError, match="'qwen2_vl' are not read as transformers reads them"):
        mmrlhf.log_probs(mmrlhf.load_model(qwen), [ROW])


@dataclass
class Gang:
    """Processes that run one after the other: what rank 0 finds, the others are given."""

    rank: int = 0
    found: list[Any] = field(default_factory=list)

    def on_main(self, work: Callable[[], Any]) -> Any:
        if self.rank == 0:
            self.found.append(work())
        return self.found[-1]

    def sum(self, values: list[float]) -> list[float]:
        return values


def test_processes_that_score_together_do_what_rank_0_has_found(
    qwen: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The other one would have found otherwise by itself."""
    write_records(tmp_path / "data.jsonl", [make_record(tmp_path, index) for index in range(2)])
    source = Source(uri=str(tmp_path / "data.jsonl"))
    records = RankedDataset.open(source, index=scan(source)[0])
    gang = Gang()
    context: Any = SimpleNamespace(runtime=gang, tell=pytest.fail)

    def score_share(judge: CritiqueRewardModel) -> list[Valued]:
        def make(_: object, data: RankedDataset, compute: Any, **__: object) -> list[Valued]:
            mine = data.share(rank=gang.rank, world_size=2)
            items = [(record, range(len(record.responses))) for record in mine]
            made: list[Valued] = compute(items)
            return made

        takes: Any = make
        made, _ = score_records(judge, records, takes, context=context, storage=None)
        return list(made)

    told: list[str] = []
    with monkeypatch.context() as first:
        responses_see_each_other(first)
        judge = make_judge(qwen, told)
        assert len(score_share(judge)) == 4
        assert not judge.sharing.find([]).shared
    gang.rank = 1
    other = make_judge(qwen, told)
    assert len(score_share(other)) == 4
    assert not other.sharing.find([]).shared
    assert other._scorer.shared_prefix is False
    assert len(told) == 2, "by the one that has looked"
    assert gang.found == [Found(shared=False, way="mmrlhf_sdpa")]
    alone = make_judge(qwen, told)
    scores(alone)
    assert alone.sharing.find([]).shared
