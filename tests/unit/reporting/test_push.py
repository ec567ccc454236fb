"""Pushing progress to a real HTTP server that refuses, fails, and comes back."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from mmrlhf_jobs.reporting import push
from mmrlhf_jobs.reporting.push import PushProgress
from tests.patience import PATIENCE


class Operator:
    """Answers with the codes it is given, then with 204."""

    def __init__(self) -> None:
        self.codes: list[int] = []
        self.batches: list[list[dict[str, Any]]] = []
        self.tokens: list[str | None] = []
        operator = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                code = operator.codes.pop(0) if operator.codes else 204
                operator.tokens.append(self.headers["Authorization"])
                if code < 300:
                    operator.batches.append(json.loads(body)["events"])
                self.send_response(code)
                self.end_headers()

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002
                """Say nothing."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.server_port}/v1/progress"

    @property
    def events(self) -> list[dict[str, Any]]:
        return [event for batch in self.batches for event in batch]


@pytest.fixture
def operator() -> Iterator[Operator]:
    server = Operator()
    yield server
    server.server.shutdown()
    server.server.server_close()


@pytest.fixture
def token(tmp_path: Path) -> Path:
    path = tmp_path / "token"
    path.write_text("secret\n")
    return path


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60 * PATIENCE
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_proxy_of_the_environment_is_passed_by(
    operator: Operator, token: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    progress = PushProgress(operator.url, token, interval=0.01)
    progress.emit("phase", phase="train")
    wait_until(lambda: len(operator.events) == 1)
    progress.close(timeout=PATIENCE)


def test_why_nothing_arrives_is_said_once_for_each_cause_and_that_it_does_again(
    operator: Operator, token: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    operator.codes = [503, 503, 500]
    progress = PushProgress(operator.url, token, interval=0.01, patience=0.0)
    progress.emit("phase", phase="train")
    wait_until(lambda: len(operator.events) == 1)
    progress.close(timeout=PATIENCE)
    said = capsys.readouterr().err
    assert [said.count(words) for words in ("is 503", "is 500", "reached again")] == [1, 1, 1]
    assert "secret" not in said


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("http://no-such-host.invalid:8081/", "its name does not resolve"),
        ("http://127.0.0.1:9/", "nobody takes connections there"),
    ],
)
def test_why_nothing_arrives_is_said_in_words(
    url: str, words: str, token: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    said: list[str] = []

    def heard() -> bool:
        said.append(capsys.readouterr().err)
        return words in "".join(said)

    progress = PushProgress(url, token, interval=0.01, patience=0.0)
    progress.emit("phase", phase="train")
    wait_until(heard)
    progress.close(timeout=0.0)


def test_events_arrive_with_the_token_of_the_moment(operator: Operator, token: Path) -> None:
    progress = PushProgress(operator.url, token, interval=0.01)
    progress.emit("phase", phase="train")
    wait_until(lambda: len(operator.events) == 1)
    token.write_text("renewed")
    progress.emit("done", metrics={"x": float("nan")})
    progress.close()
    assert [event["event"] for event in operator.events] == ["phase", "done"]
    assert operator.tokens == ["Bearer secret", "Bearer renewed"]


def test_steps_that_nobody_has_seen_are_replaced_by_newer_ones(
    operator: Operator, token: Path
) -> None:
    progress = PushProgress(operator.url, token, interval=3600)
    progress.emit("phase", phase="train")
    wait_until(lambda: len(operator.events) == 1)
    for step in range(1000):
        progress.emit("step", step=step)
    progress.close()
    assert operator.events[1:] == [{"event": "step", "step": 999}]


def test_events_wait_for_an_operator_that_is_away(
    operator: Operator, token: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    operator.codes = [503, 429, 500]
    progress = PushProgress(operator.url, token, interval=0.01)
    progress.emit("notice", message="hello")
    wait_until(lambda: len(operator.events) == 1)
    progress.close()
    assert capsys.readouterr().err == ""


def test_the_last_word_is_repeated_until_it_arrives(
    operator: Operator, token: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    progress = PushProgress(operator.url, token, interval=0.01)
    progress.emit("phase", phase="train")
    wait_until(lambda: len(operator.events) == 1)
    operator.codes = [503, 503, 503]
    progress.emit("done", metrics={})
    progress.close()
    assert [event["event"] for event in operator.events] == ["phase", "done"]
    assert capsys.readouterr().err == ""


def test_what_is_refused_for_good_is_counted(
    operator: Operator, token: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    operator.codes = [403]
    progress = PushProgress(operator.url, token, interval=0.01)
    progress.emit("notice", message="hello")
    wait_until(lambda: len(operator.tokens) == 1)
    progress.emit("notice", message="again")
    progress.close()
    assert [event["message"] for event in operator.events] == ["again"]
    assert "1 events could not be delivered" in capsys.readouterr().err


@pytest.mark.parametrize("pause", [0.0, 0.3])
def test_nobody_there_never_stops_the_job(
    token: Path, capsys: pytest.CaptureFixture[str], pause: float
) -> None:
    progress = PushProgress("http://127.0.0.1:9/v1/progress", token, interval=0.01)
    progress.emit("notice", message="hello")
    time.sleep(pause)  # the first one is on its way then
    for _ in range(99):
        progress.emit("notice", message="hello")
    progress.close(timeout=0.5)
    assert "100 events could not be delivered" in capsys.readouterr().err


def test_a_replica_that_does_not_listen_costs_no_interval(
    operator: Operator, token: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A Service sends each connection to any replica; here the first two go to one that follows."""
    with socket.socket() as follower:
        follower.bind(("127.0.0.1", 0))  # and never listens
        asked = iter([f"http://127.0.0.1:{follower.getsockname()[1]}"] * 2)

        # A class of its own: what earlier tests left running must not come this way.
        class Balanced(PushProgress):
            def _post(self, batch: list[dict[str, object]]) -> bool:
                self._url = next(asked, operator.url)
                return super()._post(batch)

        # A request that a busy machine leaves unanswered for seconds would cost the interval, too.
        monkeypatch.setattr(push, "_TIMEOUT_SECONDS", 10.0 * PATIENCE)
        progress = Balanced(operator.url, token, interval=3600)
        progress.emit("step", step=1)
        wait_until(lambda: len(operator.events) == 1)
        assert next(asked, None) is None
        progress.close()
