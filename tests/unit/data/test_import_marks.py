"""Marks for media in public data: which medium each stands for, and where."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from mmrlhf_jobs.data.importers.importing import ImportOptions, import_rows
from mmrlhf_jobs.data.importers.registry import READERS
from mmrlhf_jobs.data.records import RankedResponse
from mmrlhf_jobs.data.sources import Source
from mmrlhf_jobs.data.stream import stream_records
from mmrlhf_jobs.errors import DataError
from tests.unit.data.builders import IMAGE, write_rows

Places = list[tuple[str | None, tuple[int, int] | None]]


@pytest.fixture(autouse=True)
def media(tmp_path: Path) -> None:
    for name in ("a.png", "b.png", "c.png", "clip/1.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(IMAGE + name.encode())


def bring(tmp_path: Path, *said: str, **more: Any) -> RankedResponse:
    """The record of a row of these turns."""
    roles = ("user", "assistant")
    messages = [{"role": roles[at % 2], "content": text} for at, text in enumerate(said)]
    answers = {name: {"role": "assistant", "content": name} for name in ("chosen", "rejected")}
    row = {"images": ["a.png", "b.png"], "messages": messages, **answers, **more}
    source, out = write_rows(tmp_path / "rows.jsonl", [row]), str(tmp_path / "out.jsonl")
    import_rows(READERS["llama-factory"], str(source), out, ImportOptions())
    (record,) = stream_records(Source(out))
    return record


def places(record: RankedResponse) -> Places:
    return [
        (medium.uri, (medium.place.turn, medium.place.offset) if medium.place else None)
        for medium in record.media
    ]


FRONT: Places = [("a.png", None), ("b.png", None)]
WAYS = ["<image{}>", "<image_{}>", "<image {}>", "<image-{}>", "<image_0{}>", "<image>"]


@pytest.mark.parametrize("mark", WAYS)
def test_marks_in_front_and_on_lines_of_their_own_are_no_words(tmp_path: Path, mark: str) -> None:
    one, two = mark.format(1), mark.format(2)
    for text in (f"{one}\n{two}\nWhich?", f"{one}{two}Which?", f"Which?\n {one} {two}"):
        record = bring(tmp_path, text)
        assert (record.query.text, places(record)) == ("Which?", FRONT)


@pytest.mark.parametrize("mark", WAYS)
def test_marks_among_words_say_where_media_stand(tmp_path: Path, mark: str) -> None:
    record = bring(tmp_path, f"Is {mark.format(1)} like {mark.format(2)}?")
    assert record.query.text == "Is  like ?"
    assert places(record) == [("a.png", (0, 3)), ("b.png", (0, 9))]


def test_numbers_say_which_medium_it_is(tmp_path: Path) -> None:
    record = bring(tmp_path, "Is <image 2> like <image 1>?")
    assert places(record) == [("b.png", (0, 3)), ("a.png", (0, 9))]
    record = bring(tmp_path, "<image_2><image_1>Which?")
    assert (record.query.text, places(record)) == ("Which?", FRONT[::-1])
    record = bring(tmp_path, "Is <image_00> like <image_01>?")
    assert places(record) == [("a.png", (0, 3)), ("b.png", (0, 9))]


def test_what_a_sentence_ends_with_stays_in_it(tmp_path: Path) -> None:
    record = bring(tmp_path, "Compare <image 1> with <image 2>")
    assert record.query.text == "Compare  with "
    assert places(record) == [("a.png", (0, 8)), ("b.png", (0, 14))]


def test_a_medium_that_is_named_again_stands_there_again(tmp_path: Path) -> None:
    record = bring(tmp_path, "Is <image1> <image2>, or <image1> none?")
    assert places(record) == [("a.png", (0, 3)), ("b.png", (0, 4)), ("a.png", (0, 9))]


def test_numbers_count_over_all_turns(tmp_path: Path) -> None:
    record = bring(tmp_path, "<image1>\nWhat is it?", "A.", "And <image2> then?")
    assert places(record) == [("a.png", (0, 0)), ("b.png", (2, 4))]


def test_media_of_two_kinds_keep_the_order_of_their_marks(tmp_path: Path) -> None:
    record = bring(tmp_path, "<video><image>Which?", images=["a.png"], videos=["clip"])
    assert [medium.kind for medium in record.media] == ["video", "image"]
    record = bring(tmp_path, "<image><video>Which?", images=["a.png"], videos=["clip"])
    assert [medium.kind for medium in record.media] == ["image", "video"]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("Is <image 1> like <image 3>?", "mark of image 3 stands in the texts for 2 images"),
        ("Is <image_0> like <image_2>?", "mark of image 2 stands in the texts for 2 images"),
        ("<image>\nIs <image 1> like <image 2>?", "some <image> have numbers and others"),
        ("Is it <image 2> there?", "2 media and 1 marks"),
        ("<image><image><image>Which?", "3 <image> stand in the texts for 2 images"),
        ("<image1><video2>Which?", "mark of video 2 stands in the texts for 0 videos"),
        ("<image><image><audio 1>Which?", "mark of audio 1 stands in the texts for 0 audios"),
    ],
)
def test_marks_that_fit_no_medium_are_told(tmp_path: Path, text: str, reason: str) -> None:
    with pytest.raises(DataError, match=reason):
        bring(tmp_path, text)


def test_an_answer_holds_no_media(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="media stand in messages of the user"):
        bring(tmp_path, "<image1>\nWhat?", "<image2>", "Why?")
