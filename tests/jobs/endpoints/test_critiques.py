"""Expansion of comments by a real server, with everything that can go wrong on the way."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from mmrlhf_jobs.data.records import RankedResponse
from mmrlhf_jobs.data.sources import Source
from mmrlhf_jobs.data.stream import stream_records
from mmrlhf_jobs.data.writers import write_records
from mmrlhf_jobs.endpoints.__main__ import main
from tests.jobs.endpoints.items import EXPANSIONS, commented_records
from tests.jobs.endpoints.server import Fault, ModelServer
from tests.jobs.warm import Program

ALL = sorted(text for texts in EXPANSIONS.values() for text in texts)
QUESTIONS = len(ALL)


class Desk:
    """Files of one test."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.out = folder / "out.jsonl"
        write_records(commented_records(), str(folder / "in.jsonl"))

    def arguments(self, server: ModelServer, *more: str, **settings: Any) -> list[str]:
        endpoint = {
            "name": "tiny",
            "baseUrl": server.url,
            "model": "expander",
            "timeoutSeconds": 60.0,
            "sampling": {"maxTokens": 40},
            "retry": {"firstWait": 0.01, "longestWait": 0.02, **settings.pop("retry", {})},
            **settings,
        }
        path = self.folder / "endpoints.yaml"
        path.write_text(yaml.safe_dump({"endpoints": [endpoint]}))
        files = [str(self.folder / "in.jsonl"), str(self.out), "--endpoints", str(path)]
        return ["critiques", *files, *more]

    def expansions(self) -> list[str | None]:
        """What the output holds, in the order of the questions."""
        records: list[RankedResponse] = list(stream_records(Source(str(self.out))))
        return [
            one.critique.augmented if one.critique else None
            for record in records
            for one in record.responses
        ]


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


def tally(capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    report: dict[str, Any] = json.loads(capsys.readouterr().out)
    return {**report, **report["endpoints"]["tiny"]}


def once(marker: str, fault: Fault) -> Callable[[str, int], Fault | None]:
    """A fault of the first request that holds the marker."""
    return lambda text, times: fault if marker in text and times == 0 else None


def test_comments_are_expanded_once(
    expander: Path, desk: Desk, capsys: pytest.CaptureFixture[str]
) -> None:
    with ModelServer(expander) as server:
        price = {"input": 2.0, "output": 10.0}
        arguments = desk.arguments(server, concurrency=2, price=price)
        assert main(arguments) == 0
        first, written = tally(capsys), desk.out.read_bytes()
        assert main(arguments) == 0
        second = tally(capsys)
        assert sum(server.sent.values()) == QUESTIONS, "the second run asked nothing"
        assert server.most_at_once["expander"] <= 2
    assert sorted(filter(None, desk.expansions())) == ALL
    assert desk.out.read_bytes() == written
    assert (first["sent"], first["kept"], first["verified"]) == (QUESTIONS, 0, QUESTIONS)
    assert (second["sent"], second["kept"], second["cost"]) == (0, QUESTIONS, 0)
    tokens = first["promptTokens"] * 2.0 + first["completionTokens"] * 10.0
    assert first["cost"] == pytest.approx(tokens / 1e6)
    (record, *_) = stream_records(Source(str(desk.out)))
    critique = record.responses[0].critique
    assert critique
    assert critique.augmenter
    assert critique.human == "The colour is right."
    assert critique.augmenter.model == "expander"
    body = server.bodies[0]
    assert body["max_tokens"] == 40
    assert body["temperature"] == 0.0


@pytest.mark.parametrize(
    ("fault", "counted"),
    [
        ("timeout", "timeout"),
        ("limit", "rateLimited"),
        ("error", "serverError"),
        ("html", "garbage"),
        ("empty list", "garbage"),
        ("cut", "garbage"),
        ("drop", "connection"),
    ],
)
def test_a_fault_is_counted_and_changes_nothing(
    expander: Path, desk: Desk, capsys: pytest.CaptureFixture[str], fault: Fault, counted: str
) -> None:
    with ModelServer(expander) as server:
        # Short only where it is to pass, and then all is said again that was said before, at once:
        # a busy machine is slow to make an answer.
        patience = 60.0
        if fault == "timeout":
            (desk.folder / "before").mkdir()
            assert main(Desk(desk.folder / "before").arguments(server)) == 0
            capsys.readouterr()
            server.asked.clear()
            server.sent.clear()
            patience = 4.0
        server.faults = once("Misses one dog", fault)
        began = time.monotonic()
        # A server that asks for a rest has not failed: that costs neither attempt nor budget.
        retry = {"attempts": 1, "budget": 0.0} if fault == "limit" else {}
        assert main(desk.arguments(server, timeoutSeconds=patience, retry=retry)) == 0
        assert fault != "limit" or time.monotonic() - began >= 1, "Retry-After says a second"
    report = tally(capsys)
    assert sorted(filter(None, desk.expansions())) == ALL
    assert report["faults"] == {counted: 1}
    assert report["sent"] == QUESTIONS + 1
    assert set(server.sent.values()) == {1}


@pytest.mark.parametrize(
    ("echo", "marker", "told"),
    [
        # The server gives the id of the request that it answers.
        (True, "Wrong shape", {"faults": {"foreign": 1}}),
        # It gives none: then the text is of something else,
        (False, "Reads the sign", {"rejected": {"unrelated": 1}}),
        # or the comment is too short to tell, and another question has the same answer.
        (False, "Wrong shape", {"askedAgain": 2, "shared": 0}),
    ],
)
def test_the_answer_to_another_item_is_found_out(
    expander: Path,
    desk: Desk,
    capsys: pytest.CaptureFixture[str],
    echo: bool,
    marker: str,
    told: dict[str, Any],
) -> None:
    with ModelServer(expander, faults=once(marker, "foreign"), echo=echo) as server:
        assert main(desk.arguments(server, concurrency=1)) == 0
    report = tally(capsys)
    assert {name: report[name] for name in told} == told
    assert desk.expansions() == [text for texts in EXPANSIONS.values() for text in texts]


def test_answers_that_stay_equal_are_told_and_not_asked_for_a_third_time(
    expander: Path, desk: Desk, capsys: pytest.CaptureFixture[str]
) -> None:
    def faults(text: str, times: int) -> Fault | None:
        return "foreign" if "Wrong shape" in text else None

    with ModelServer(expander, faults=faults, echo=False) as server:
        arguments = desk.arguments(server, concurrency=1)
        assert main(arguments) == 0
        first = tally(capsys)
        asked = server.asked.total()
        assert main(arguments) == 0
        second = tally(capsys)
        assert server.asked.total() == asked == QUESTIONS + 2
    assert (first["askedAgain"], first["shared"]) == (2, 1)
    assert (second["askedAgain"], second["shared"]) == (0, 1)


def test_without_a_budget_nothing_is_asked_twice(
    expander: Path, desk: Desk, capsys: pytest.CaptureFixture[str]
) -> None:
    """Neither what failed nor what was rejected, whatever number of attempts is allowed."""
    with ModelServer(expander, faults=once("Misses one dog", "error")) as server:
        retry = {"attempts": 5, "rejectedAttempts": 5, "budget": 0.0}
        arguments = desk.arguments(server, sampling={"maxTokens": 11}, retry=retry)
        assert main(arguments) == 1
        assert set(server.asked.values()) == {1}
    printed = capsys.readouterr()
    report = json.loads(printed.out)["endpoints"]["tiny"]
    assert report["faults"] == {"serverError": 1}
    assert report["rejected"]["truncated"] > 0
    assert "out of memory (attempt 1)" in printed.err


def test_rejections_are_counted_over_runs(
    expander: Path, desk: Desk, capsys: pytest.CaptureFixture[str]
) -> None:
    retry = {"rejectedAttempts": 2, "budget": 0.0}
    asked = []
    with ModelServer(expander) as server:
        arguments = desk.arguments(server, sampling={"maxTokens": 11}, retry=retry)
        for _ in range(3):
            before = server.asked.total()
            assert main(arguments) == 1
            asked.append(server.asked.total() - before)
    rejected = json.loads(capsys.readouterr().out.split("}\n{")[0] + "}")
    (tried,) = {one["rejected"]["truncated"] for one in rejected["endpoints"].values()}
    assert asked == [QUESTIONS, tried, 0]


def test_what_fails_for_good_is_told_and_asked_next_time(
    expander: Path, desk: Desk, capsys: pytest.CaptureFixture[str]
) -> None:
    with ModelServer(expander) as server:
        server.faults = lambda text, _: "error" if "Misses one dog" in text else None
        assert main(desk.arguments(server, retry={"attempts": 3})) == 1
        printed = capsys.readouterr()
        message = printed.err
        assert "1 of 6 questions have no usable answer" in message
        assert json.loads(printed.out)["endpoints"]["tiny"]["faults"] == {"serverError": 3}
        assert "record 'r1', response 'b': status 500: out of memory (attempt 3)" in message
        assert not desk.out.exists()
        assert main(desk.arguments(server, "--max-failed-fraction", "0.2")) == 0
        report = tally(capsys)
        assert (report["failed"], report["kept"]) == ({"serverError": 1}, QUESTIONS - 1)
        assert desk.expansions().count(None) == 1
        before = server.asked.total()
        server.faults = lambda _text, _times: None
        assert main(desk.arguments(server)) == 0
        assert server.asked.total() == before + 1, "only what was lacking was asked for"
    assert sorted(filter(None, desk.expansions())) == ALL


def test_a_request_that_the_server_refuses_is_not_sent_again(
    expander: Path, desk: Desk, capsys: pytest.CaptureFixture[str]
) -> None:
    with ModelServer(
        expander, faults=lambda text, _: "bad request" if "r2" in text else None
    ) as server:
        assert main(desk.arguments(server)) == 1
        assert server.asked.total() == QUESTIONS
    assert "status 400" in capsys.readouterr().err


def test_rejected_answers_are_paid_for_once(
    expander: Path, desk: Desk, capsys: pytest.CaptureFixture[str]
) -> None:
    with ModelServer(expander) as server:
        arguments = desk.arguments(
            server, sampling={"maxTokens": 11}, retry={"rejectedAttempts": 2}
        )
        assert main(arguments) == 1
        assert "truncated" in capsys.readouterr().err
        before = server.asked.total()
        assert main(arguments) == 1
        assert server.asked.total() == before, "their verdict is kept with them"


def test_a_server_that_is_gone_ends_the_run(
    expander: Path, desk: Desk, capsys: pytest.CaptureFixture[str]
) -> None:
    records = [
        record.model_copy(update={"record_id": f"{record.record_id}-{n}", "query": record.query})
        for n in range(8)
        for record in commented_records()
    ]
    write_records(records, str(desk.folder / "in.jsonl"))
    with ModelServer(expander) as server:
        arguments = desk.arguments(server, retry={"attempts": 2, "budget": 0.0}, revision="x")
    assert main(arguments) == 1
    message = capsys.readouterr().err
    assert "failed one after the other" in message
    assert "Cannot connect" in message


def test_keys_are_taken_from_the_environment(
    expander: Path, desk: Desk, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with ModelServer(expander, key="secret") as server:
        arguments = desk.arguments(server, apiKeyEnv="TINY_KEY", concurrency=1)
        monkeypatch.delenv("TINY_KEY", raising=False)
        assert main(arguments) == 2
        assert "apiKeyEnv names TINY_KEY, which is not set" in capsys.readouterr().err
        monkeypatch.setenv("TINY_KEY", "wrong")
        assert main(arguments) == 1
        message = capsys.readouterr().err
        assert "status 401" in message
        assert "the key is wrong" in message
        assert "wrong-" not in message
        monkeypatch.setenv("TINY_KEY", "secret")
        assert main(arguments) == 0
    assert "secret" not in (desk.folder / "endpoints.yaml").read_text()


def test_the_run_ends_when_it_has_cost_what_it_may(
    expander: Path, desk: Desk, capsys: pytest.CaptureFixture[str]
) -> None:
    with ModelServer(expander) as server:
        price = {"input": 1e6, "output": 0.0}
        arguments = desk.arguments(server, price=price, maxCost=300.0, concurrency=1)
        assert main(arguments) == 1
        assert server.asked.total() == 2, "171 tokens each"
        assert "maxCost is 300; answers so far are kept" in capsys.readouterr().err
        assert main(arguments) == 1
        assert server.asked.total() == 4, "two more"


def test_a_kill_loses_at_most_what_is_under_way(expander: Path, desk: Desk) -> None:
    with ModelServer(expander) as server:
        arguments = desk.arguments(server, concurrency=2)
        server.hold_after = 3
        process = Program("mmrlhf_jobs.endpoints", arguments, os.environ)
        while server.held < 2 and process.poll() is None:
            time.sleep(0.01)
        process.kill()
        assert process.wait() == -signal.SIGKILL, "it was killed and did not end"
        server.hold_after = None
        assert not desk.out.exists()
        sent, asked = server.sent.total(), server.asked.total()
        assert main(arguments) == 0
        # The two that were under way are asked again, and none of the three that were answered.
        assert (sent, asked) == (3, 5)
        assert server.asked.total() - asked == QUESTIONS - sent
    assert desk.expansions() == [text for texts in EXPANSIONS.values() for text in texts]
