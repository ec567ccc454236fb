"""Rows that show a medium or an answer and give none are faults; sources that give nothing, too."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pyarrow as pa
import pytest

from mmrlhf_jobs.errors import DataError
from mmrlhf_jobs.sampling.budgets import Limits
from mmrlhf_jobs.sampling.corpora.drops import BY_NATURE
from mmrlhf_jobs.sampling.losses import check_sources, count_losses, loss_metrics
from mmrlhf_jobs.sampling.parts import Part
from mmrlhf_jobs.sampling.report.page import render_page
from tests.unit.sampling.corpora import cut, llava, write_lines, write_parquet, write_tar
from tests.unit.sampling.test_report import statistics


def chat(*parts: Any, answer: str | None = "red", **more: object) -> dict[str, Any]:
    said: list[dict[str, Any]] = [
        {"role": "user", "content": [*parts, {"type": "text", "text": "Which colour?"}]}
    ]
    if answer is not None:
        said.append({"role": "assistant", "content": answer})
    return {"messages": said, **more}


def outcome(tmp_path: Path, row: Mapping[str, Any]) -> tuple[list[list[str]], list[str]]:
    """Media of each candidate, and the reasons of what was left out."""
    rows, drops = cut(write_lines(tmp_path / "x.jsonl", [row]))
    names = [[ref.uri.rpartition("/")[2] for ref in one.media] for one in rows]
    return names, [drop.reason for drop in drops]


@pytest.mark.parametrize(
    "part",
    [
        {"type": "image", "image": "a.png"},
        {"type": "image", "path": "a.png"},
        {"type": "image", "image": {"path": "a.png"}},
        {"type": "image_url", "image_url": {"url": "a.png"}},
        {"type": "image_url", "image_url": "a.png"},
        {"type": "video", "video": "a.png"},
    ],
)
def test_media_in_the_parts_of_a_chat_are_read(tmp_path: Path, part: dict[str, Any]) -> None:
    assert outcome(tmp_path, chat(part)) == ([["a.png"]], [])


SHOWN: dict[str, tuple[dict[str, Any], str]] = {
    "a bare part": (chat({"type": "image"}), "unread-media"),
    "a part of bytes": (chat({"type": "image", "bytes": "aGk="}), "unread-media"),
    "a web address": (
        chat({"type": "image_url", "image_url": {"url": "https://x.org/a.png"}}),
        "invalid-media",
    ),
    "a data URL": (
        chat({"type": "image", "image": "data:image/png;base64," + "A" * 10_000}),
        "invalid-media",
    ),
    "a mark": (llava("1", "<image>\nWhat?", "That.", image=None), "unread-media"),
    "a mark of a video": (llava("1", "What?\n<video>", "That.", image=None), "unread-media"),
    "an empty name": (llava("1", "<image>\nWhat?", "That.", image=""), "unread-media"),
    "another field": (
        {"question": "What?", "answer": "That.", "image_path": "a/b.JPG"},
        "unread-media",
    ),
    "a field of names": (
        {"question": "What?", "answer": "a", "frames": ["1.webp"]},
        "unread-media",
    ),
    "a part within a list of parts": (
        chat([{"type": "image"}]),
        "unread-media",
    ),
    "a number that is none": (
        {"question": float("nan"), "image": "a.png", "answer": "That."},
        "invalid-row",
    ),
    "a second mark": (llava("1", "<image><image>\nWhat?", "That."), "surplus-marks"),
    "a tag of HTML": (llava("1", "What does the <video> tag do?", "That."), "surplus-marks"),
    "an answer by another name": (
        {"question": "What?", "image": "a.png", "response": "That."},
        "unread-answer",
    ),
    "answers that are none": (
        {"question": "What?", "image": "a.png", "answers": [{"text": "no"}]},
        "invalid-row",
    ),
}


@pytest.mark.parametrize("shown", SHOWN)
def test_what_a_row_shows_and_does_not_give_is_a_fault(tmp_path: Path, shown: str) -> None:
    row, reason = SHOWN[shown]
    assert outcome(tmp_path, row) == ([], [reason])
    assert reason not in BY_NATURE
    _, (drop,) = cut(tmp_path / "x.jsonl")
    assert len(drop.message) < 300


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        (llava("1", "What?", "That.", image=None), "no-media"),
        ({"question": "What?", "answer": "That.", "image": None, "images": []}, "no-media"),
        (llava("1", "What?"), "trailing-turn"),
        ({"question": "What?", "image": "a.png"}, "trailing-turn"),
    ],
)
def test_what_shows_nothing_is_none_by_nature(
    tmp_path: Path, row: dict[str, Any], reason: str
) -> None:
    assert outcome(tmp_path, row) == ([], [reason])
    assert reason in BY_NATURE


@pytest.mark.parametrize(
    ("answers", "expected"),
    [
        (["red", "blue", "blue"], "blue"),
        ([{"answer": "red", "answer_id": 1}, {"answer": "red"}, {"answer": "no"}], "red"),
        (["one"], "one"),
    ],
)
def test_of_several_answers_the_one_of_most_is_taken(
    tmp_path: Path, answers: list[Any], expected: str
) -> None:
    row = {"question": "What?", "image": "a.png", "answers": answers}
    (found,), drops = cut(write_lines(tmp_path / "x.jsonl", [row]))
    assert (found.answer, drops) == (expected, [])


def test_an_answer_beside_a_chat_is_its_last_turn(tmp_path: Path) -> None:
    row = chat({"type": "image", "image": "a.png"}, answer=None) | {"answer": "red"}
    (found,), drops = cut(write_lines(tmp_path / "x.jsonl", [row]))
    assert (found.question, found.answer, drops) == ("Which colour?", "red", [])


@pytest.mark.parametrize("end", ["avif", "heic", "jfif", "JPG", "xyz"])
def test_media_of_any_name_in_a_shard_count(tmp_path: Path, end: str) -> None:
    # No mark in the text: the member alone shows that there is a medium.
    row = json.dumps(llava("1", "What?", "That.", image=None)).encode()
    rows, drops = cut(write_tar(tmp_path / "s.tar", [("1.json", row), (f"1.{end}", b"x")]))
    if end == "xyz":
        assert [drop.reason for drop in drops] == ["unread-media"]
    else:
        assert [ref.member for ref in rows[0].media] == [f"1.{end}"]


def test_bytes_in_a_column_of_another_name_show_a_medium(tmp_path: Path) -> None:
    struct = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    rows = [{"question": "What?", "answer": "That.", "picture": {"bytes": b"x", "path": None}}]
    schema = pa.schema([("question", pa.string()), ("answer", pa.string()), ("picture", struct)])
    _, drops = cut(write_parquet(tmp_path / "x.parquet", rows, schema))
    assert [drop.reason for drop in drops] == ["unread-media"]
    other = [{"question": "What?", "answer": "That.", "vector": b"x"}]
    _, drops = cut(write_parquet(tmp_path / "y.parquet", other))
    assert [drop.reason for drop in drops] == ["no-media"]


def part(source: str, **counts: int) -> Part:
    named = {name.replace("_", "-").replace("drop-", "drop:"): n for name, n in counts.items()}
    return cast("Part", SimpleNamespace(facts={"source": source}, counts=named))


def test_losses_are_told_by_source_and_reason() -> None:
    chats, good = part("chats", rows=1, drop_no_media=300), part("good", rows=30)
    losses = count_losses(
        ["chats", "good"],
        [chats, good],
        [(chats, part("", drop_missing_file=1)), (good, part("", drop_too_large=2))],
    )
    assert [(one.source, one.rows, one.kept) for one in losses] == [
        ("chats", 301, 0),
        ("good", 30, 28),
    ]
    told = "source chats: 0 of 301 rows are candidates; left out: 300 no-media (by nature), 1 m"
    assert losses[0].sentence().startswith(told)
    with pytest.raises(
        DataError, match=r"source chats: 0 of 301(.|\n)*gives no row at all"
    ) as caught:
        check_sources(losses)
    assert "good" not in str(caught.value)
    check_sources(losses[1:])
    assert loss_metrics(losses) == {
        "leftOut": 303.0,
        "leftOut.chats.no-media": 300.0,
        "leftOut.good.too-large": 2.0,
        "leftOut.chats.missing-file": 1.0,
    }
    page = render_page(statistics(), [], losses=losses)
    assert "300 no-media" in page
    assert "<td>chats</td><td>301</td><td>0</td>" in page


def test_media_that_are_shown_and_not_read_are_held_against_the_budget() -> None:
    excess = Limits(0.01, {}).excess({"rows": 30, "drop:unread-media": 300}, 330)
    assert excess is not None
    assert excess.reasons == {"unread-media"}
