"""Models, data and losses from Python give what the jobs' own code gives."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from PIL import Image

import mmrlhf
from mmrlhf.errors import UsageError
from mmrlhf.training.dataset import pairs_of
from mmrlhf.training.rows import Row
from mmrlhf_jobs.data.media import LoadedMedia
from mmrlhf_jobs.errors import DataError
from mmrlhf_jobs.forward.responses import response_log_probs
from mmrlhf_jobs.objectives.preference import preference_loss
from tests.jobs.features.runs import counted_runs
from tests.jobs.models.tiny import picture
from tests.jobs.reward.conftest import QUERIES
from tests.jobs.reward.test_reward_model import write
from tests.jobs.training.world import World, make_record, write_records


@pytest.fixture(scope="module")
def model(template: World) -> mmrlhf.Model:
    return mmrlhf.load_model(template.folder / "model", dtype="float64")


def test_a_data_set_is_checked_and_read(template: World, tmp_path: Path) -> None:
    data = mmrlhf.Dataset.open(template.folder / "data/train.jsonl")
    assert len(data) == 13
    assert sorted(one.record_id for one in data) == sorted(f"r{index}" for index in range(13))
    assert data.report.num_invalid == 0
    assert [len(batch) for batch in data.batches(5)] == [5, 5, 3]
    assert [len(batch) for batch in data.batches(5, start=2)] == [3]
    four = next(one for one in data if one.record_id == "r3")
    assert (1, 2) not in pairs_of(four)  # a tie
    assert len(pairs_of(four)) == 5
    bad = [make_record(tmp_path, index) for index in range(3)]
    bad[1]["responses"][0]["text"] = ""
    write_records(tmp_path / "bad.jsonl", bad)
    with pytest.raises(DataError, match=r"bad\.jsonl, row 2, field responses\[0\]\.text"):
        mmrlhf.Dataset.open(tmp_path / "bad.jsonl")
    assert len(mmrlhf.Dataset.open(tmp_path / "bad.jsonl", max_invalid_fraction=0.5)) == 2


def test_log_probs_are_those_of_the_forward_pass(template: World, model: mmrlhf.Model) -> None:
    data = mmrlhf.Dataset.open(template.folder / "data/heldout.jsonl")
    rows = mmrlhf.log_probs(model, data, batch_size=2)
    assert [len(row.sums) for row in rows] == [len(one.responses) for one in data]
    adapter = model.loaded.adapter
    for record, row in zip(data, rows, strict=True):
        image = LoadedMedia("image", (_image(template, record.media[0].uri),))
        group = adapter.encode(record.query.text, [image], [one.text for one in record.responses])
        with torch.no_grad():
            alone = response_log_probs(model.loaded.model, adapter, [group], shared_prefix=False)
        torch.testing.assert_close(row.sums, alone.sums, rtol=1e-9, atol=1e-9)
        assert torch.equal(row.lengths, alone.lengths)
        torch.testing.assert_close(row.per_token, row.sums / row.lengths)


def test_models_of_one_tower_share_what_it_has_made(template: World, tmp_path: Path) -> None:
    """A model, its reference and a judge: the same bits, and a run for each image."""
    data = list(mmrlhf.Dataset.open(template.folder / "data/heldout.jsonl"))[:2]
    judge = write(tmp_path / "judge", template.folder / "model", critique="none")

    def ask(features: mmrlhf.Features | None) -> tuple[list[torch.Tensor], list[float], int]:
        found: list[torch.Tensor] = []
        with counted_runs() as runs:
            for _ in range(2):
                model = mmrlhf.load_model(template.folder / "model", features=features)
                found += [row.sums for row in mmrlhf.log_probs(model, data)]
            reward = mmrlhf.RewardModel.from_pretrained(judge, features=features)
            scores = [one.score for row in reward.score(data) for one in row]
        return found, scores, len(runs)

    features = mmrlhf.Features(disk="64Mi")
    sums, scores, runs = ask(features)
    assert runs == features.figures()["misses"] == len(data)
    assert features.figures()["models"] == {"model": "", "reward model": ""}
    assert features.figures()["hits"] >= 2 * len(data)
    assert features.figures()["diskBytes"] > 0
    small = mmrlhf.Features(memory="1", disk="64Mi")
    for other, most in (
        (small, len(data)),
        (None, 3 * len(data)),  # each has its own
        (mmrlhf.Features(cache="off"), 6 * len(data)),  # comparisons of the first rows too
    ):
        found = ask(other)
        assert all(map(torch.equal, found[0], sums))
        assert found[1] == scores
        assert most // 2 < found[2] <= most
    assert small.figures()["hitsFromDisk"] >= 2 * len(data)


def test_what_a_changed_tower_has_made_is_not_found(template: World) -> None:
    """Nor is that of one that is trained; a folder of features goes with them."""
    data = mmrlhf.Dataset.open(template.folder / "data/heldout.jsonl")
    model = mmrlhf.load_model(template.folder / "model")
    assert not any(one.requires_grad for one in model.loaded.model.parameters())
    weight = next(model.loaded.model.get_encoder(modality="image").parameters())
    before = mmrlhf.log_probs(model, data)
    with torch.no_grad():
        weight.add_(1)
    after = mmrlhf.log_probs(model, data)
    assert model.features.figures()["misses"] == 2 * len(data)
    fresh = mmrlhf.load_model(template.folder / "model", features=mmrlhf.Features(cache="off"))
    next(fresh.loaded.model.get_encoder(modality="image").parameters()).data.copy_(weight)
    expected = mmrlhf.log_probs(fresh, data)
    for one, other, old in zip(after, expected, before, strict=True):
        assert torch.equal(one.sums, other.sums)
        assert not torch.equal(one.sums, old.sums)
    weight.requires_grad_(True)
    assert torch.equal(mmrlhf.log_probs(model, data)[0].sums, after[0].sums)
    assert model.features.figures()["models"]["model"]
    assert model.features.figures()["misses"] == 2 * len(data)


def test_features_name_what_is_no_amount() -> None:
    with pytest.raises(UsageError, match="memory and disk of features: each must be a Kubernetes"):
        mmrlhf.Features(memory="much")


def test_rows_made_by_hand_are_as_good_as_records(template: World, model: mmrlhf.Model) -> None:
    data = mmrlhf.Dataset.open(template.folder / "data/heldout.jsonl")
    record = next(iter(data))
    row = Row(
        question=record.query.text,
        responses=[one.text for one in record.responses],
        media=[_image(template, record.media[0].uri)],
    )
    (by_hand,) = mmrlhf.log_probs(model, [row])
    (by_record,) = mmrlhf.log_probs(model, [record])
    assert torch.equal(by_hand.sums, by_record.sums)
    with pytest.raises(DataError, match="tokens with media, question and response"):
        mmrlhf.log_probs(model, [Row("what?", ["long " * 40_000])])


def test_losses_are_the_objectives() -> None:
    assert mmrlhf.losses.preference_loss is preference_loss
    for name in mmrlhf.losses.__all__:
        assert getattr(mmrlhf.losses, name).__module__.startswith("mmrlhf_jobs.objectives.")


def test_a_reward_model_scores_rows(template: World, tmp_path: Path) -> None:
    folder = write(tmp_path / "judge", template.folder / "model", critique="none")
    judge = mmrlhf.RewardModel.from_pretrained(folder)
    question, _, responses, _ = QUERIES[0]
    image = picture(50, 30, 1)
    scored = judge.score([Row(question, responses, [image]), Row(question, responses[:1], [image])])
    assert [len(row) for row in scored] == [3, 1]
    direct = judge.judge.score(question, [image], responses)
    assert [one.score for one in scored[0]] == [one.score for one in direct]
    assert scored[1][0].score == pytest.approx(scored[0][0].score, rel=1e-5)


def test_a_reward_model_that_needs_critiques_says_so(template: World, tmp_path: Path) -> None:
    folder = write(tmp_path / "judge", template.folder / "model")
    judge = mmrlhf.RewardModel.from_pretrained(folder, inference={"critique": "groundTruth"})
    with pytest.raises(UsageError, match="reads the critiques of people"):
        judge.score([Row("what?", ["a dog"])])


def _image(world: World, uri: str | None) -> Image.Image:
    assert uri is not None  # records of this world have files
    with Image.open(world.folder / "data" / uri) as opened:
        return opened.convert("RGB")
