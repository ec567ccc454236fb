"""Logs in an artifact store, read again."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from mmrlhf.archive.logs import ArchivedLogs
from mmrlhf.errors import MmrlhfError, NotFoundError
from mmrlhf_api.run_logs import LogPiece


def put(folder: Path, node: int, number: int, *texts: str, attempt: int = 1) -> None:
    path = folder / LogPiece(attempt, node, "20260101T000000Z-ab", number).key
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"2026-01-01T00:00:0{number}.5Z {text}\n" for text in texts))


@pytest.fixture
def logs(tmp_path: Path) -> Path:
    put(tmp_path, 0, 0, "one", "two")
    put(tmp_path, 0, 1, "three")
    put(tmp_path, 1, 0, "other node")
    put(tmp_path, 0, 0, "earlier", attempt=0)
    return tmp_path


def shown(logs: ArchivedLogs, **options: object) -> list[str]:
    chosen = {"attempt": 1, "nodes": {0, 1}, **options}
    return [line.text for line in logs.lines(**chosen)]  # type: ignore[arg-type]


def test_lines_come_node_by_node_in_their_order(logs: Path) -> None:
    there = ArchivedLogs(str(logs))
    assert shown(there) == ["one", "two", "three", "other node"]
    assert shown(there, nodes={0}) == ["one", "two", "three"]
    assert shown(there, attempt=0) == ["earlier"]
    assert shown(there, tail=1) == ["three", "other node"]
    assert shown(there, tail=0) == []
    assert shown(there, since=datetime(2026, 1, 1, 0, 0, 1, tzinfo=UTC)) == ["three"]
    assert next(there.lines(attempt=1, nodes={1})).time == "2026-01-01T00:00:00.5Z"


def test_what_is_missing_is_told(logs: Path) -> None:
    put(logs, 0, 5, "the end")
    told: list[str] = []
    assert shown(ArchivedLogs(str(logs), tell=told.append), nodes={0})[-1] == "the end"
    assert told == ["node 0: 3 MiB of its log are missing here: too long, or not stored"]


def test_what_is_not_there_is_told_with_what_is(logs: Path, tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="no log of attempt 2: it has those of attempts 0, 1"):
        shown(ArchivedLogs(str(logs)), attempt=2)
    with pytest.raises(NotFoundError, match="none at all"):
        shown(ArchivedLogs(str(tmp_path / "nowhere")))


def test_a_store_that_cannot_be_read_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    with pytest.raises(MmrlhfError, match="cannot read s3://bucket/run/logs"):
        ArchivedLogs("s3://bucket/run/logs", endpoint="http://127.0.0.1:9")
