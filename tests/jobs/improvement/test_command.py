"""The command: a policy and a reward model, both as folders."""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path

import pytest

from mmrlhf_api import RewardInference
from mmrlhf_jobs.data.sources import Source
from mmrlhf_jobs.data.stream import stream_records
from mmrlhf_jobs.improvement.__main__ import main
from mmrlhf_jobs.models import load_model
from mmrlhf_jobs.models.weights import held
from mmrlhf_jobs.reward_model.head import RewardHead
from mmrlhf_jobs.reward_model.judge import RewardModelCard, critique_template, save_reward_model
from mmrlhf_jobs.reward_model.scorer import RewardScorer
from mmrlhf_jobs.scores.keys import SidecarIdentity, record_keys
from mmrlhf_jobs.scores.table import Sidecar
from mmrlhf_jobs.storage.journal import Journal
from tests.jobs.models.tiny import save_tiny
from tests.jobs.training.world import make_record, write_records
from tests.jobs.warm import Program


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A policy that ends its answers, and a reward model."""
    folder = tmp_path_factory.mktemp("improvement")
    policy = save_tiny(folder / "policy", scale=2.0)
    loaded = load_model(policy, dtype="float32", attention="sdpa")
    stop = loaded.processor.tokenizer.convert_tokens_to_ids(["<|im_end|>", ".", "e", "a", "Ġ"])
    settings = {"eos_token_id": stop, "pad_token_id": 0}
    (policy / "generation_config.json").write_text(json.dumps(settings))
    head = RewardHead("linear", 32, seed=5)
    scorer = RewardScorer(loaded.model, loaded.adapter, head, shared_prefix=True)
    card = RewardModelCard(
        head="linear",
        hidden_size=32,
        critique="none",
        inference=RewardInference(critique="none"),
        template=critique_template(loaded).digest(),
        base="policy",
        base_digest="0" * 64,
    )
    save_reward_model(
        loaded.model, held(scorer.state_dict()), card, source=policy, target=folder / "reward"
    )
    return folder


@pytest.fixture
def arguments(models: Path, tmp_path: Path) -> list[str]:
    write_records(
        tmp_path / "data/queries.jsonl", [make_record(tmp_path / "data", n) for n in range(6)]
    )
    return [
        str(tmp_path / "data/queries.jsonl"), str(tmp_path / "out.jsonl"),
        "--policy", str(models / "policy"), "--reward", str(models / "reward"),
        "--max-new-tokens", "24", "--temperature", "1",
    ]  # fmt: skip


def test_records_and_side_car_belong_together(
    arguments: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 0
    report = json.loads(capsys.readouterr().out)
    records = list(stream_records(Source(str(tmp_path / "out.jsonl"))))
    assert report["records"] == len(records) > 2
    assert report["samples"] == 6 * 8
    uri = str(tmp_path / "out.jsonl.scores.parquet")
    sidecar = Sidecar.open(uri, SidecarIdentity(kind="reward"))
    assert sidecar.identity.model
    for record in records:
        values = sidecar.lookup(record_keys(record))
        order = sorted(range(len(values)), key=lambda place: record.ranks[place])
        assert [values[place] for place in order] == sorted(values, reverse=True)
        model = record.responses[0].model
        assert model
        assert model.name == "policy"


def test_parts_are_the_whole(arguments: list[str], tmp_path: Path) -> None:
    assert main(arguments) == 0
    whole = (tmp_path / "out.jsonl").read_bytes().splitlines()
    found = []
    for part in range(2):
        arguments[1] = str(tmp_path / f"part{part}.jsonl")
        assert main([*arguments, "--part", f"{part}/2"]) == 0
        found += (tmp_path / f"part{part}.jsonl").read_bytes().splitlines()
    assert sorted(found) == sorted(whole)


def test_a_kill_loses_at_most_one_query(
    arguments: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*arguments, "--journal", str(tmp_path / "other")]) == 0
    expected = (tmp_path / "out.jsonl").read_bytes()
    (tmp_path / "out.jsonl").unlink()
    process = Program("tests.jobs.improvement.held", arguments, os.environ)
    journal = tmp_path / "out.jsonl.journal"
    try:
        while process.poll() is None and not (journal.exists() and _entries(journal) == 2):
            time.sleep(0.01)
    finally:
        process.kill()
    assert process.wait() == -signal.SIGKILL, "it was killed and did not end"
    assert _entries(journal) == 2
    capsys.readouterr()
    assert main(arguments) == 0
    assert json.loads(capsys.readouterr().out)["sampledNow"] == 4
    assert (tmp_path / "out.jsonl").read_bytes() == expected


def test_rows_at_fault_are_left_out_within_their_budget(
    arguments: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "data/images/2.png").write_bytes(b"no image")
    path = tmp_path / "data/queries.jsonl"
    path.write_bytes(path.read_bytes() + b"{\n")
    assert main(arguments) == 2
    told = capsys.readouterr().err
    assert "2 of 7 rows are invalid" in told
    assert "queries.jsonl, row 3, field media[0].uri" in told
    assert "queries.jsonl, row 7" in told
    assert not Path(f"{arguments[1]}").exists()
    assert main([*arguments, "--max-invalid-fraction", "0.3"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["invalid"] == {"schema": 1, "undecodable": 1}
    assert report["queries"] == 5
    assert report["records"] + sum(report["noPair"].values()) == 5


def test_what_is_wrong_is_told(
    arguments: list[str], models: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        main([*arguments, "--samples", "1"])
    assert "argument --samples: Input should be greater than or equal to 2" in (
        capsys.readouterr().err
    )
    assert main([*arguments, "--reward", str(models / "policy")]) == 2
    assert "this is no reward model" in capsys.readouterr().err
    assert not Path(f"{arguments[1]}.journal").exists(), "it is told before anything is sampled"
    with pytest.raises(SystemExit):
        main([*arguments, "--part", "4/4"])
    assert "is not like 0/4" in capsys.readouterr().err


def _entries(path: Path) -> int:
    with Journal(path) as journal:
        return len(journal)
