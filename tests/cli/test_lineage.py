"""Where something comes from, by the command line."""

from __future__ import annotations

import hashlib
import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Command = Callable[..., subprocess.CompletedProcess[str]]


def leave(folder: Path, name: str, *inputs: dict[str, Any], **job: Any) -> Path:
    """A run that left ``records.jsonl``."""
    run = folder / f"artifacts/n/{name}/uid"
    run.mkdir(parents=True)
    (run / "records.jsonl").write_text(name)
    entry = {"path": "records.jsonl", "size": len(name), "sha256": digest(name)}
    meta = {"name": name, "namespace": "n", "uid": "uid"}
    record = {
        "job": {"kind": "StepJob", "metadata": meta, "spec": {"step": "import"}, **job},
        "files": [entry],
        "lineage": {"version": 1, "attempt": 0, "inputs": list(inputs)},
    }
    (run / "manifest.json").write_text(json.dumps(record))
    return run


def digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def read(uri: Path, text: str, by: str) -> dict[str, Any]:
    size = len(text)
    found = {"digest": digest(text), "by": by, "files": 1, "bytes": size}
    return {"field": "importData.source", "uri": str(uri), "content": "data", **found}


@pytest.fixture
def chain(tmp_path: Path) -> Path:
    """A run that was made from another one, which was made from a file."""
    (tmp_path / "pairs.jsonl").write_text("pairs")
    first = leave(tmp_path, "first", read(tmp_path / "pairs.jsonl", "pairs", "content"))
    second = read(first / "records.jsonl", "first", "record")
    lost = {"field": "gone", "uri": str(tmp_path / "gone"), "content": "data", "why": "\x1b[2J"}
    return leave(tmp_path, "second", second, lost)


def test_a_tree_a_page_and_data_say_the_same(command: Command, chain: Path, tmp_path: Path) -> None:
    done = command("lineage", str(chain / "records.jsonl"), "--html", "page.html")
    assert (done.returncode, done.stderr) == (0, "wrote page.html\n")
    tree = [line for line in done.stdout.splitlines() if "─" in line]
    source = tmp_path / "pairs.jsonl"
    assert tree[:2] == [
        f"├─ importData.source: StepJob import n/first  {digest('first')[:12]}  same",
        f"│  └─ importData.source: {source}  {digest('pairs')[:12]}  same",
    ]
    assert "\x1b" not in done.stdout
    assert tree[2].startswith(f"└─ gone: {tmp_path}/gone  no digest  unknown")
    assert done.stdout.endswith("3 inputs: 2 same, 1 unknown\n")
    assert "Where StepJob import n/second comes from" in (tmp_path / "page.html").read_text()
    source.write_text("PAIRS")
    told = json.loads(command("lineage", "./artifacts/n/second", "-o", "json").stdout)
    assert [one["state"] for one in told["edges"]] == ["same", "unknown", "changed since"]
    assert [node["what"] for node in told["nodes"]] == ["run", "run", "source", "source"]


def test_an_alias_is_followed_with_its_history(
    command: Command, chain: Path, tmp_path: Path
) -> None:
    cause = {"by": "promote", "reason": "the first one", "report": None, "report_digest": None}
    entry: dict[str, Any] = {"uri": str(chain / "records.jsonl"), "digest": digest("second")}
    entry |= {
        "cause": cause,
        "number": 2,
        "since": "2026-01-01T00:00:00Z",
        "token": "t",
        "withdrawn": False,
    }
    alias = {"version": 1, "name": "team/vqa", "current": entry}
    alias["history"] = [{**entry, "number": 1, "withdrawn": True}]
    path = tmp_path / "artifacts/aliases/team/vqa.json"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps(alias))
    done = command("lineage", "./artifacts", "--alias", "team/vqa")
    assert done.returncode == 0, done.stderr
    assert "reason: the first one" in done.stdout
    assert "by promote on 2026-01-01T00:00:00Z, taken back" in done.stdout
    assert "└─ artifact: StepJob import n/second" in done.stdout
    path.write_text("{}")
    done = command("lineage", "./artifacts", "--alias", "team/vqa")
    assert (done.returncode, "is damaged: it is no alias" in done.stderr) == (1, True)


@pytest.mark.parametrize(
    ("arguments", "message", "code"),
    [
        (("./nowhere",), "./nowhere holds no finished run: there is no manifest.json", 3),
        (("./artifacts", "--alias", "a/b"), "./artifacts has no alias 'a/b'", 3),
        (("./artifacts",), "./artifacts holds 2 runs; name one: n/first/uid, n/second/uid", 3),
        (("second", "--alias", "a/b"), "--alias needs the folder of artifacts", 2),
        (("./artifacts/n/second/uid", "--html", "no/such.html"), "cannot be written", 1),
    ],
)
def test_what_is_wrong_is_said(
    command: Command, chain: Path, arguments: tuple[str, ...], message: str, code: int
) -> None:
    assert chain.is_dir()
    done = command("lineage", *arguments)
    assert (done.returncode, message in done.stderr) == (code, True), done.stderr
