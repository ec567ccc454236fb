from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from examples.digits.generate import REWARDS, generate
from examples.digits.records import SHARES, make_samples
from examples.digits.scans import NUM_SCANS, load_scans, split_scans
from mmrlhf_jobs.data.media import load_media
from mmrlhf_jobs.data.records import RankedResponse
from mmrlhf_jobs.scores.keys import record_keys
from mmrlhf_jobs.scores.table import Sidecar

ROOT = Path(__file__).parents[3]


def read(path: Path) -> list[RankedResponse]:
    return [
        RankedResponse.model_validate_json(line)
        for line in path.read_text(encoding="utf-8").splitlines()
    ]


def digests(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("digits")
    generate(out, train=120, heldout=40, seed=0)
    return out


def test_the_same_bytes_from_another_process_with_another_hash_seed(
    dataset: Path, tmp_path: Path
) -> None:
    program = "from examples.digits.generate import main; main()"
    subprocess.run(
        [sys.executable, "-c", program, "--out", tmp_path, "--train", "120", "--heldout", "40"],
        check=True,
        cwd=ROOT,
        env={**os.environ, "PYTHONHASHSEED": "7"},
    )
    assert digests(tmp_path) == digests(dataset)


def test_questions_answers_ranks_and_rewards_are_those_that_they_always_were(
    dataset: Path,
) -> None:
    """Pictures, and what is named by their bytes, depend on the libraries that write them too."""
    found = hashlib.sha256()
    for split in ("train", "heldout"):
        for line in (dataset / f"{split}.jsonl").read_text().splitlines():
            record = json.loads(line)
            told = {name: record[name] for name in ("domain", "type", "source", "query")}
            answers = [{**one, "response_id": None} for one in record["responses"]]
            found.update(json.dumps([told, answers], sort_keys=True).encode())
        rewards = pq.read_table(dataset / f"rewards/{split}.parquet")["value"].to_pylist()
        found.update(json.dumps(sorted(rewards)).encode())
    assert found.hexdigest() == ("dbd65c4ba8680acb5da6c10caff4a11de8f7b308298b990159ffb784bddb21ba")


def test_another_seed_gives_other_records(dataset: Path, tmp_path: Path) -> None:
    generate(tmp_path, train=5, heldout=5, seed=1)
    ids = {record.record_id for record in read(dataset / "heldout.jsonl")}
    assert not ids & {record.record_id for record in read(tmp_path / "heldout.jsonl")}


def test_no_scan_is_in_both_splits(dataset: Path) -> None:
    used = {
        split: {
            int(scan)
            for record in read(dataset / f"{split}.jsonl")
            if record.source is not None
            for scan in record.source.row_id.split("-")
        }
        for split in ("train", "heldout")
    }
    train, heldout = split_scans(seed=0)
    assert used["train"]
    assert used["heldout"]
    assert used["train"] <= train.scans
    assert used["heldout"] <= heldout.scans
    assert not train.scans & heldout.scans
    assert len(train.scans | heldout.scans) == NUM_SCANS


def test_a_record_shows_the_digits_that_it_asks_about() -> None:
    _, shown = load_scans()
    for sample in make_samples(split_scans(seed=0)[0], count=60, seed=3):
        assert tuple(shown[scan] for scan in sample.scene.scans) == sample.scene.digits


def test_media_are_found_below_the_data_file_with_the_digests_recorded(dataset: Path) -> None:
    kinds = set()
    for record in read(dataset / "heldout.jsonl"):
        for medium in load_media(record, str(dataset)):  # checks the digests
            kinds.add(medium.kind)
            assert all(frame.height == 64 for frame in medium.frames)
    assert kinds == {"image", "frames"}


def test_every_record_can_be_trained_on_and_ids_are_unique(dataset: Path) -> None:
    records = read(dataset / "train.jsonl") + read(dataset / "heldout.jsonl")
    assert all(record.obstacle is None for record in records)
    assert len({record.record_id for record in records}) == len(records) == 160


def test_all_categories_types_and_ties_occur() -> None:
    pool = split_scans(seed=0)[0]
    records = [sample.record for sample in make_samples(pool, count=400, seed=0)]
    counts = dict.fromkeys(SHARES, 0)
    for record in records:
        counts[record.category] += 1
    assert counts == {category: round(400 * share) for category, share in SHARES.items()}
    assert {record.tie for record in records} == {"none", "mixed", "poor", "good"}
    assert {record.type for record in records} == {"long", "short", "mcq"}


def test_long_answers_have_more_than_128_characters() -> None:
    for sample in make_samples(split_scans(seed=0)[0], count=200, seed=0):
        record = sample.record
        length = len(record.query.reference_answer or "")
        assert (length > 128) == (record.type == "long"), record.query


def test_rewards_follow_the_ranks_and_are_the_mean_of_the_scores(dataset: Path) -> None:
    rewards = Sidecar.open(str(dataset / "rewards/train.parquet"), REWARDS)
    margins = set()
    for record in read(dataset / "train.jsonl"):
        values = rewards.lookup(record_keys(record))
        for response, value in zip(record.responses, values, strict=True):
            scores = response.scores
            assert scores is not None
            given = (scores.faithfulness, scores.helpfulness, scores.ethics)
            assert value == pytest.approx(sum(score or 0 for score in given) / 3)
        for better, high in zip(record.ranks, values, strict=True):
            for worse, low in zip(record.ranks, values, strict=True):
                assert (better < worse) == (high > low)
                if better < worse:
                    margins.add(round(float(high - low), 6))
    assert len(margins) >= 6  # or scaling by margins would have nothing to scale


def test_critiques_expand_the_reasons(dataset: Path) -> None:
    for record in read(dataset / "train.jsonl"):
        for response in record.responses:
            critique = response.critique
            assert critique is not None
            assert critique.augmented is not None
            assert critique.augmented.startswith(critique.human)
            assert len(critique.augmented) >= len(critique.human) + 100
