from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForImageTextToText, AutoTokenizer

from examples.digits.generate import generate
from examples.digits.model import TILE, build_model, build_processor, train_tokenizer
from examples.digits.scans import pool_of, split_scans
from examples.digits.supervise import Recipe, supervise
from examples.digits.vision import pretrain_vision
from mmrlhf_jobs.data.media import load_media
from mmrlhf_jobs.data.records import RankedResponse
from mmrlhf_jobs.evaluation.generation import generate_answers
from mmrlhf_jobs.forward.responses import response_log_probs
from mmrlhf_jobs.models import EncodedGroup, load_model
from mmrlhf_jobs.models.families.llava_onevision import LlavaOnevisionAdapter
from tests.jobs.examples.base import rehearse

BRIEF = Recipe(
    vision_epochs=1, practice_steps=2, study_steps=2, mimicry_steps=2, practice_pictures=16
)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("data")
    generate(out, train=60, heldout=20, seed=0)
    return out


@pytest.fixture(scope="module")
def model_folder(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("model")
    supervise(data, out, seed=0, recipe=BRIEF)
    return out


def test_the_auto_classes_load_the_folder(model_folder: Path) -> None:
    model = AutoModelForImageTextToText.from_pretrained(model_folder, local_files_only=True)
    tokenizer = AutoTokenizer.from_pretrained(model_folder, local_files_only=True)
    assert model.config.model_type == "llava_onevision"
    text = "The digits are 3, 7, 1. Ünïcode too: 数字"
    assert tokenizer.decode(tokenizer.encode(text)) == text
    assert len(tokenizer) == model.config.text_config.vocab_size
    assert sum(parameter.numel() for parameter in model.parameters()) < 1_000_000


def test_the_adapter_scores_and_answers(data: Path, model_folder: Path) -> None:
    loaded = load_model(model_folder, dtype="float32", attention="sdpa")
    groups: list[EncodedGroup] = []
    for line in (data / "heldout.jsonl").read_text().splitlines():
        record = RankedResponse.model_validate_json(line)
        texts = [response.text for response in record.responses]
        groups.append(
            loaded.adapter.encode(record.query.text, load_media(record, str(data)), texts)
        )
    with torch.no_grad():
        scores = response_log_probs(loaded.model, loaded.adapter, groups, shared_prefix=True)
    assert scores.sums.shape == (80,)
    assert bool(torch.isfinite(scores.sums).all())
    answers = generate_answers(loaded, groups[:4], max_new_tokens=4)
    assert len(answers) == 4


def test_each_digit_of_a_picture_has_a_tile_of_its_own(data: Path, model_folder: Path) -> None:
    loaded = load_model(model_folder, dtype="float32", attention="sdpa")
    for line in (data / "heldout.jsonl").read_text().splitlines():
        record = RankedResponse.model_validate_json(line)
        if record.domain == "video" or record.source is None:
            continue
        digits = len(record.source.row_id.split("-"))
        group = loaded.adapter.encode(record.query.text, load_media(record, str(data)), [])
        # The base tile and one tile a digit.
        assert group.media_inputs["pixel_values"].shape == (1, digits + 1, 3, TILE, TILE)


def test_the_same_seed_gives_the_same_weights(
    data: Path, model_folder: Path, tmp_path: Path
) -> None:
    supervise(data, tmp_path, seed=0, recipe=BRIEF)
    for name in ("model.safetensors", "tokenizer.json"):
        assert (tmp_path / name).read_bytes() == (model_folder / name).read_bytes()


def test_supervision_sees_no_held_out_scan(data: Path) -> None:
    records = [
        RankedResponse.model_validate_json(line)
        for line in (data / "train.jsonl").read_text().splitlines()
    ]
    pool = pool_of(records)
    assert pool.scans
    assert pool.scans <= split_scans(seed=0)[0].scans


def test_the_vision_lesson_teaches_to_name_digits() -> None:
    texts = [f"The digits are {digit}." for digit in range(10)]
    processor = build_processor(train_tokenizer(texts))
    model = build_model(processor.tokenizer, seed=0)
    train, _ = split_scans(seed=0)
    assert pretrain_vision(model, processor, train, seed=0, epochs=2) > 0.7


def test_a_rehearsal_is_the_same_until_an_input_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def run(name: str) -> dict[str, str]:
        rehearse(tmp_path / name, train=30, heldout=1, recipe=replace(BRIEF, batch_size=4))
        seen: dict[str, str] = json.loads((tmp_path / name / "rehearsal.json").read_text())
        return seen

    first = run("first")
    assert run("again") == first
    encode = LlavaOnevisionAdapter.encode

    def alter(self: LlavaOnevisionAdapter, text: str, media: Any, responses: Any) -> EncodedGroup:
        group = encode(self, text, media, responses)
        if "pixel_values_videos.0" in group.media_inputs:
            group.media_inputs["pixel_values_videos.0"][0, 0, 0, 0] += 1
        return group

    monkeypatch.setattr(LlavaOnevisionAdapter, "encode", alter)
    assert run("other")["inputs"] != first["inputs"]
