"""Responses of models to questions about pictures."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from mmrlhf_jobs.data.queries import QUERY_SCHEMA, QueryRecord, stream_queries
from mmrlhf_jobs.data.sources import Source
from mmrlhf_jobs.endpoints.__main__ import main
from tests.jobs.endpoints.server import ModelServer
from tests.jobs.models.tiny import picture
from tests.unit.data.builders import make_fields, write_rows


def save_picture(folder: Path, name: str, seed: int) -> dict[str, Any]:
    path = folder / name
    picture(28, 28, seed).save(path)
    return {"uri": name, "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}


def query(folder: Path, number: int, **changes: Any) -> dict[str, Any]:
    return {
        "schema": QUERY_SCHEMA,
        "record_id": f"q{number}",
        "domain": "image",
        "type": "short",
        "query": {"text": "what is in this picture?"},
        "media": [save_picture(folder, f"{number}.png", number)],
        **changes,
    }


def arguments(folder: Path, server: ModelServer, *more: str, **settings: Any) -> list[str]:
    endpoints = [
        {
            "name": name,
            "baseUrl": server.url,
            "model": name,
            "sampling": {"maxTokens": 24, **sampling},
            "retry": {"firstWait": 0.01},
            **settings,
        }
        for name, sampling in (("greedy", {}), ("warm", {"temperature": 1.0, "seed": 5}))
    ]
    path = folder / "endpoints.yaml"
    path.write_text(yaml.safe_dump({"endpoints": endpoints}))
    files = [str(folder / "in.jsonl"), str(folder / "out.jsonl"), "--endpoints", str(path)]
    return ["responses", *files, *more]


def results(folder: Path) -> list[QueryRecord]:
    return list(stream_queries(Source(str(folder / "out.jsonl"))))


def test_every_model_responds_to_every_query(
    seer: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    video = [save_picture(tmp_path, f"f{n}.png", 50 + n) for n in range(5)]
    rows = [
        query(tmp_path, 0),
        query(tmp_path, 1, domain="video", media=[{"kind": "video", "frames": video}]),
        make_fields("ranked", media=[save_picture(tmp_path, "r.png", 9)]),
    ]
    write_rows(tmp_path / "in.jsonl", rows)
    with ModelServer(seer, ends=True) as server:
        assert main(arguments(tmp_path, server, "--samples", "2", "--max-frames", "3")) == 0
        bodies = list(server.bodies)
        first = (tmp_path / "out.jsonl").read_bytes()
        assert main(arguments(tmp_path, server, "--samples", "2", "--max-frames", "3")) == 0
        assert len(server.bodies) == len(bodies)
    assert (tmp_path / "out.jsonl").read_bytes() == first
    report = json.loads(capsys.readouterr().out.split("}\n{")[0] + "}")
    assert report["questions"] == 3 * 2 * 2
    found = results(tmp_path)
    assert [one.record_id for one in found] == ["q0", "q1", "ranked"]
    for one in found:
        # Greedy samples are one text of two origins; warm ones differ by their seeds.
        greedy, *warm = one.responses
        assert greedy.model
        assert greedy.model.name == "greedy"
        assert len(greedy.duplicates) == 1
        assert [r.model.params.seed for r in warm if r.model and r.model.params] == [5, 6]
        assert greedy.model.usage
    texts = [one.responses[0].text for one in found]
    assert len(set(texts)) == 3, "pictures are looked at"
    images = [
        sum(part["type"] == "image_url" for part in body["messages"][0]["content"])
        for body in bodies
    ]
    assert sorted(set(images)) == [1, 3], "three frames of five"


def test_each_server_has_its_own_limit(seer: Path, tmp_path: Path) -> None:
    """Four workers for two servers of two; none of them gets three requests at a time."""
    write_rows(tmp_path / "in.jsonl", [query(tmp_path, n) for n in range(2)])
    with ModelServer(seer, ends=True, faults=lambda _text, _times: "slow") as server:
        assert main(arguments(tmp_path, server, "--samples", "4", concurrency=2)) == 0
        assert server.most_at_once == {"greedy": 2, "warm": 2}


def test_another_picture_is_another_question(seer: Path, tmp_path: Path) -> None:
    write_rows(tmp_path / "in.jsonl", [query(tmp_path, 0), query(tmp_path, 1)])
    with ModelServer(seer, ends=True) as server:
        assert main(arguments(tmp_path, server)) == 0
        before = results(tmp_path)
        asked = len(server.bodies)
        # The same name and question, other pixels.
        rows = [query(tmp_path, 0), query(tmp_path, 1)]
        rows[1]["media"] = [save_picture(tmp_path, "1.png", 77)]
        write_rows(tmp_path / "in.jsonl", rows)
        assert main(arguments(tmp_path, server)) == 0
        assert len(server.bodies) == asked + 2
    after = results(tmp_path)
    assert before[0] == after[0]
    assert before[1].responses != after[1].responses


def test_a_picture_that_was_changed_is_never_sent(
    seer: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_rows(tmp_path / "in.jsonl", [query(tmp_path, 0)])
    picture(28, 28, 5).save(tmp_path / "0.png")
    with ModelServer(seer, ends=True) as server:
        assert main(arguments(tmp_path, server)) == 2
        assert server.bodies == []
    assert "the record says" in capsys.readouterr().err


def test_a_server_that_does_not_look_at_pictures_is_found_out(
    expander: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_rows(tmp_path / "in.jsonl", [query(tmp_path, n) for n in range(30)])
    with ModelServer(expander, ends=True, blind=True) as server:
        assert main(arguments(tmp_path, server, concurrency=2)) == 1
        assert len(server.bodies) < 60, "it is not asked for all of them"
    assert "seems not to look at what it is asked" in capsys.readouterr().err
    assert not (tmp_path / "out.jsonl").exists()


def test_empty_answers_are_no_responses(
    seer: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_rows(tmp_path / "in.jsonl", [query(tmp_path, 0)])
    with ModelServer(seer, ends=True, mute=True) as server:
        assert main(arguments(tmp_path, server)) == 1
    assert "sample 0 of greedy: empty: ''" in capsys.readouterr().err


def test_too_many_samples_are_refused(
    seer: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with ModelServer(seer, ends=True) as server:
        assert main(arguments(tmp_path, server, "--samples", "9")) == 2
    assert "more than the 16 responses" in capsys.readouterr().err
