"""From rows to questions: turns, media, domains and reasons for leaving something out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from mmrlhf_jobs.sampling.corpora.drops import BY_NATURE
from mmrlhf_jobs.sampling.corpora.rows import RowSettings
from tests.unit.sampling.corpora import cut, llava, write_lines


def test_a_row_for_every_turn_with_the_media_again(tmp_path: Path) -> None:
    rows, drops = cut(
        write_lines(
            tmp_path / "a.jsonl",
            [llava("7", "<image>\nWhat is it?", "A cat.", "What color?", "Black. " * 40)],
        )
    )
    assert not drops
    assert [(row.question, row.turn_index, row.num_turns) for row in rows] == [
        ("What is it?", 0, 2),
        ("What color?", 1, 2),
    ]
    assert [row.type for row in rows] == ["short", "long"]
    assert {row.row_id for row in rows} == {"7"}
    assert {row.parent_id for row in rows} == {"corpus:7"}
    assert [[ref.uri for ref in row.media] for row in rows] == [[f"{tmp_path}/a.png"]] * 2


@pytest.mark.parametrize(
    ("row", "pairs"),
    [
        (llava("1", "q", "a"), [("q", "a")]),
        (
            {
                "id": 1,
                "image": "a.png",
                "safe": True,
                "instr-resp": [
                    {"safe_instruction": "q", "response": "a"},
                    {"unsafe_instruction": "harm?", "response": "No."},
                ],
            },
            [("q", "a"), ("harm?", "No.")],
        ),
        (
            {
                "id": 1,
                "image": "a.png",
                "safe": False,
                "instr-resp": [{"instruction": "q", "response": "a"}],
            },
            [("q", "a")],
        ),
        (
            {
                "id": 1,
                "image": "a.png",
                "conversations": [
                    {"from": "system", "value": "be kind"},
                    {"from": "human", "value": "first"},
                    {"from": "human", "value": "second"},
                    {"from": "gpt", "value": "a"},
                    {"from": "gpt", "value": "b"},
                ],
            },
            [("first\nsecond", "a\nb")],
        ),
        (
            {
                "images": ["a.png"],
                "messages": [
                    {
                        "role": "user",
                        "content": [{"type": "image"}, {"type": "text", "text": "q"}],
                    },
                    {"role": "assistant", "content": [{"type": "text", "text": "a"}]},
                ],
            },
            [("q", "a")],
        ),
        (
            {
                "images": [{"path": "a.png"}],
                "texts": [{"user": "q", "assistant": "a"}, {"user": "r", "assistant": "b"}],
            },
            [("q", "a"), ("r", "b")],
        ),
        ({"image": "a.png", "question": "q", "answer": "a"}, [("q", "a")]),
        (
            {"image": "a.png", "question": "q", "choices": ["x", "y"], "answer": 1},
            [("q", "y")],
        ),
        (
            {
                "schema": "mmrlhf.io/query/v1",
                "record_id": "r",
                "query": {"text": "q", "reference_answer": "a"},
                "media": [{"uri": "a.png", "sha256": "0" * 64}],
            },
            [("q", "a")],
        ),
    ],
)
def test_shapes(tmp_path: Path, row: dict[str, Any], pairs: list[tuple[str, str]]) -> None:
    rows, drops = cut(write_lines(tmp_path / "a.jsonl", [row]))
    assert [(one.question, one.answer) for one in rows] == pairs
    assert not drops
    assert {ref.uri for one in rows for ref in one.media} == {f"{tmp_path}/a.png"}


@pytest.mark.parametrize(
    ("row", "kept", "reasons"),
    [
        (llava("1", "<image>", "a", "q", "a"), 1, {("empty-question", 0)}),
        (llava("1", "q", "  "), 0, {("empty-answer", 0)}),
        (llava("1", "q", "a", "more?"), 1, {("trailing-turn", 1)}),
        (llava("1", "q", "a", image=None), 0, {("no-media", None)}),
        (llava("1", "q", "a", image=""), 0, {("no-media", None)}),
        (llava("1", "q", "a", image="../a.png"), 0, {("invalid-media", None)}),
        (llava("1", "q", "a", image=5), 0, {("invalid-row", None)}),
        ({"image": "a.png", "caption": "x"}, 0, {("invalid-row", None)}),
        ({"image": "a.png", "conversations": "x"}, 0, {("invalid-row", None)}),
        ({"image": "a.png", "conversations": []}, 0, {("invalid-row", None)}),
        (
            {"image": "a.png", "conversations": [{"from": "alien", "value": "x"}]},
            0,
            {("invalid-row", None)},
        ),
        (
            {"image": "a.png", "conversations": [{"from": "human", "value": None}]},
            0,
            {("invalid-row", None)},
        ),
        (
            {
                "image": "a.png",
                "conversations": [
                    {"from": "gpt", "value": "hello"},
                    {"from": "human", "value": "q"},
                    {"from": "gpt", "value": "a"},
                ],
            },
            1,
            {("answer-without-question", None)},
        ),
    ],
)
def test_what_is_left_out_and_why(
    tmp_path: Path, row: dict[str, Any], kept: int, reasons: set[tuple[str, int | None]]
) -> None:
    rows, drops = cut(write_lines(tmp_path / "a.jsonl", [llava("0", "q", "a"), row]))
    assert len(rows) == 1 + kept
    assert {(drop.reason, drop.turn) for drop in drops} == reasons
    assert all((drop.source, drop.row) == ("corpus", 2) and drop.message for drop in drops)


def test_questions_that_lean_on_earlier_ones_are_marked_or_left_out(tmp_path: Path) -> None:
    path = write_lines(
        tmp_path / "a.jsonl",
        [llava("1", "Why?", "a", "And what colour is it?", "b", "Any dog?", "c")],
    )
    rows, drops = cut(path)
    assert not drops
    assert [row.needs_context for row in rows] == [False, True, False]
    assert rows[1].rules == "short-answer context:goes-on"
    rows, drops = cut(path, RowSettings(context_dependent="drop"))
    assert [row.turn_index for row in rows] == [0, 2]
    assert [(drop.reason, drop.turn) for drop in drops] == [("needs-context", 1)]
    assert {drop.reason for drop in drops} <= BY_NATURE


def test_domains(tmp_path: Path) -> None:
    film = llava("1", "<video>\nWhat happens?", "He falls.", image=None, video="a.mp4")
    path = write_lines(tmp_path / "a.jsonl", [film, llava("2", "q", "a")])
    assert [(row.domain, row.category) for row in cut(path)[0]] == [
        ("video", "video"),
        ("image", "short"),
    ]
    safe = cut(path, type="safety")[0]
    assert [(row.domain, row.type, row.category) for row in safe] == [
        ("safety", "short", "safety")
    ] * 2
    assert [row.category for row in cut(path, type="mcq")[0]] == ["video", "mcq"]


def test_the_length_of_a_generated_answer_can_count(tmp_path: Path) -> None:
    row = {
        "schema": "mmrlhf.io/query/v1",
        "record_id": "r",
        "query": {"text": "q", "reference_answer": "short"},
        "media": [{"uri": "a.png", "sha256": "0" * 64}],
    }
    answered = {**row, "record_id": "s", "responses": [{"response_id": "1", "text": "x" * 200}]}
    path = write_lines(tmp_path / "a.jsonl", [row, answered])
    assert [one.type for one in cut(path)[0]] == ["short", "short"]
    rows, drops = cut(path, RowSettings(length_source="generated"))
    assert [(one.type, one.answer) for one in rows] == [("long", "short")]
    assert [drop.reason for drop in drops] == ["no-generated-answer"]


def test_rows_without_an_id_are_known_by_their_place_but_identified_by_content(
    tmp_path: Path,
) -> None:
    row = {"image": "a.png", "question": "q", "answer": "a"}
    rows, _ = cut(write_lines(tmp_path / "a.jsonl", [row]))
    assert (rows[0].row_id, rows[0].parent_id) == ("a.jsonl:1", "corpus")
