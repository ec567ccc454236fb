"""Marks for media are read alike by records, servers of models, sampling and imports."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from mmrlhf_api.model_servers import EndpointSettings
from mmrlhf_jobs.data.importers.importing import ImportOptions, import_rows
from mmrlhf_jobs.data.importers.registry import READERS
from mmrlhf_jobs.data.marks import surplus_marks, without_marks
from mmrlhf_jobs.data.queries import QueryRecord
from mmrlhf_jobs.data.sources import Source
from mmrlhf_jobs.data.stream import stream_records
from mmrlhf_jobs.endpoints.requests import TextPart
from mmrlhf_jobs.endpoints.responses import ResponseInquiry
from mmrlhf_jobs.errors import DataError
from tests.unit.annotation.forms import make_query
from tests.unit.data.builders import save_image, write_rows
from tests.unit.sampling.corpora import cut, llava, write_lines

WAYS = ["<image{}>", "<image_{}>", "<image {}>", "<image-{}>", "<image_0{}>", "<image>"]


def sent(folder: Path, **query: Any) -> list[str]:
    """Texts that a server of a model is asked with."""
    media = make_query().media[0].model_dump(exclude_defaults=True)
    version = "v2" if {"turns", "system"} & query.keys() else "v1"
    record: QueryRecord = make_query(
        query=query, media=[media], schema=f"mmrlhf.io/query/{version}"
    )
    settings = EndpointSettings(name="m", base_url="http://localhost:1", model="m")
    (question,) = ResponseInquiry([settings], media_root=str(folder)).questions(record)
    said = [part for message in question.request.before for part in message.parts]
    return [part.text for part in (*said, *question.request.parts) if isinstance(part, TextPart)]


def imported(folder: Path, text: str, images: int) -> str:
    save_image(folder)
    answers = {name: {"role": "assistant", "content": name} for name in ("chosen", "rejected")}
    said = [{"role": "user", "content": text}]
    row = {"images": ["image.png"] * images, "messages": said, **answers}
    source, out = write_rows(folder / "rows.jsonl", [row]), str(folder / "out.jsonl")
    import_rows(READERS["llama-factory"], str(source), out, ImportOptions())
    (record,) = stream_records(Source(out))
    return record.query.text


def sampled(folder: Path, text: str, images: int) -> list[str]:
    """Questions of candidates, or reasons of drops."""
    names = [f"{number}.png" for number in range(images)]
    row = llava("1", text, "That.", image=names if images != 1 else names[0])
    rows, drops = cut(write_lines(folder / "x.jsonl", [row]))
    return [row.question for row in rows] + [drop.reason for drop in drops]


@pytest.mark.parametrize("mark", WAYS)
def test_a_mark_that_stands_for_a_medium_is_no_word(tmp_path: Path, mark: str) -> None:
    text = f"{mark.format(1)}\nWhich?"
    assert surplus_marks(text, ["image"]) is None
    assert without_marks(text).strip() == "Which?"
    assert sent(tmp_path, text=text) == ["Which?"]
    assert sampled(tmp_path, text, 1) == ["Which?"]
    assert imported(tmp_path, text, 1) == "Which?"


@pytest.mark.parametrize("mark", WAYS)
def test_a_mark_that_stands_for_none_is_a_fault(tmp_path: Path, mark: str) -> None:
    text = f"{mark.format(1)}{mark.format(2)}\nWhich?"
    assert "2 marks such as <image> for 1 media" in (surplus_marks(text, ["image"]) or "")
    with pytest.raises(DataError, match="2 marks such as <image> for 1 media"):
        sent(tmp_path, text=text)
    assert sampled(tmp_path, text, 1) == ["surplus-marks"]
    with pytest.raises(DataError, match="for 1 images"):
        imported(tmp_path, text, 1)


@pytest.mark.parametrize("mark", [*WAYS, "<video {}>"])
def test_the_turns_of_a_conversation_hold_no_marks(tmp_path: Path, mark: str) -> None:
    turns = [
        {"role": "user", "text": f"{mark.format(1)}What?"},
        {"role": "assistant", "text": "That."},
    ]
    with pytest.raises(DataError, match=r"field query.turns\[0\].text"):
        sent(tmp_path, text="Which?", turns=turns)
    with pytest.raises(DataError, match=r"field query.system"):
        sent(tmp_path, text="Which?", system=f"See {mark.format(1)}")


@pytest.mark.parametrize(
    ("text", "kinds", "fits"),
    [
        ("Is <image 1> like <image 2>, or <image 1> none?", 2, True),
        ("<image_0><image_1>Which?", 2, True),
        ("<image_00>Which?", 1, True),
        ("<image 3>Which?", 2, False),
        ("<image_0><image_2>Which?", 2, False),
        ("<image>\nIs it <image 1>?", 1, False),
        ("<image 12345>Which?", 0, True),
        ("<image  1>, <image one>, <images>, <Image 1>, < image>?", 0, True),
    ],
)
def test_numbers_name_media(text: str, kinds: int, fits: bool) -> None:
    assert (surplus_marks(text, ["image"] * kinds) is None) is fits


def test_marks_of_videos() -> None:
    assert surplus_marks("<video 1><image 1>What?", ["image", "frames"]) is None
    assert surplus_marks("<image 1><image 2>What?", ["image", "frames"]) is None
    assert surplus_marks("<video 2>What?", ["image", "frames"]) is not None
