"""Every sort of hard picture and row through the whole job: a vector and a record, or a reason."""

from __future__ import annotations

import io
import json
import os
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from mmrlhf_jobs.errors import DataError
from mmrlhf_jobs.sampling.corpora.media import MediaKind
from mmrlhf_jobs.sampling.images.decoders import PreparedPicture
from tests.jobs.sampling.encoders import save_clip
from tests.jobs.sampling.here import DecodersHere, sample_here, short_answers
from tests.unit.sampling.corpora import write_lines, write_tar
from tests.unit.sampling.pictures import encoded, photographs

QUESTION = "What is in the picture?"
PAIRS = {"turned.jpg": "upright.png", "cmyk.jpg": "plain.png", "moving.gif": "still.png"}
"""Pictures, and others whose vectors must be nearly theirs."""

BAD = {
    "cut.jpg": "truncated-image",
    "huge.png": "too-large",
    "words.jpg": "not-an-image",
    "empty.png": "empty-file",
    "nowhere.png": "missing-file",
}


def photograph(name: str) -> Image.Image:
    return Image.open(io.BytesIO(photographs()[name])).convert("RGB").resize((120, 90))


def write_pictures(folder: Path) -> list[str]:
    """Make all files; return the names of good ones."""
    cat, china = photograph("chelsea.png"), photograph("china.jpg")
    exif = cat.getexif()
    exif[0x0112] = 6  # the picture must be turned to the right
    shades = np.asarray(cat.convert("L")).astype(np.uint16) * 257
    files = {
        "upright.png": encoded(cat),
        "turned.jpg": encoded(
            cat.transpose(Image.Transpose.ROTATE_90), "JPEG", exif=exif, quality=95
        ),
        "sideways.png": encoded(cat.transpose(Image.Transpose.ROTATE_90)),
        "plain.png": encoded(china),
        "cmyk.jpg": encoded(china.convert("CMYK"), "JPEG", quality=95),
        "deep.png": encoded(Image.fromarray(shades)),
        "still.png": encoded(china.convert("P").convert("RGB")),
        "moving.gif": encoded(
            china.convert("P"), "GIF", save_all=True, append_images=[cat.convert("P")]
        ),
        "twice.png": encoded(cat),
        "cut.jpg": encoded(china, "JPEG")[:2_000],
        "huge.png": encoded(Image.new("1", (20_000, 20_000))),
        "words.jpg": b"<html>404</html>",
        "empty.png": b"",
    }
    for name, content in files.items():
        (folder / name).write_bytes(content)
    return sorted(set(files) - set(BAD))


def job(folder: Path) -> dict[str, Any]:
    return short_answers(folder, target=8, maxFraction=0.5)


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("hard")
    save_clip(folder / "clip")
    (folder / "data").mkdir()
    names = write_pictures(folder / "data")
    rows: list[dict[str, Any] | bytes] = [
        {"image": name, "question": QUESTION, "answer": "a thing"} for name in (*names, *BAD)
    ]
    rows += [
        {"image": "plain.png", "question": "<image>\n", "answer": "a thing"},
        b'{"image": "plain.png", "question": "caf\xe9?", "answer": "a thing"}',
        b'{"image": "plain.png", "question"',
    ]
    write_lines(folder / "data" / "a.jsonl", rows)
    sample_here(job(folder), folder / "scratch")
    (queries,) = (folder / "artifacts").glob("default/choose/*/queries.jsonl")
    return queries.parent


def test_what_cannot_be_used_has_a_reason(results: Path) -> None:
    counts = json.loads((results / "statistics.json").read_text())["counts"]
    assert {name: n for name, n in counts["read"].items() if name.startswith("drop:")} == {
        "drop:empty-question": 1,
        "drop:invalid-json": 1,
        "drop:not-utf8": 1,
    }
    assert {name: n for name, n in counts["join"].items() if name.startswith("drop:")} == Counter(
        f"drop:{reason}" for reason in BAD.values()
    )
    media = {Path(row["uri"]).name: row for row in rows(results)}
    assert {name: media[name]["reason"] for name in BAD} == BAD
    assert "more than 89478485 pixels" in media["huge.png"]["message"]


def test_the_same_question_about_other_pictures_stays_and_the_same_picture_counts_once(
    results: Path,
) -> None:
    queries = [json.loads(line) for line in (results / "queries.jsonl").read_text().splitlines()]
    assert {query["query"]["text"] for query in queries} == {QUESTION}
    shown = {Path(query["media"][0]["uri"]).name for query in queries}
    once = shown & {"upright.png", "twice.png"}
    assert len(once) == 1
    assert shown - once == {"turned.jpg", *PAIRS.values(), *PAIRS, "deep.png", "sideways.png"} - {
        "upright.png"
    }
    counts = json.loads((results / "statistics.json").read_text())["counts"]
    assert (counts["join"]["candidates"], counts["pool"]["drop:duplicate"]) == (9, 1)


def test_vectors_are_those_of_what_one_sees(results: Path) -> None:
    (bucket,) = (results / "work" / "buckets" / "bucket-00000").iterdir()
    keys = [key.tobytes() for key in np.load(bucket / "keys.npy")]
    vectors = np.load(bucket / "vectors.npy")
    of = {
        Path(row["uri"]).name: vectors[keys.index(row["sha256"])]
        for row in rows(results)
        if row["status"] == "ok"
    }
    assert len(keys) == 8
    different = of["upright.png"] @ of["plain.png"]
    for name, other in PAIRS.items():
        assert of[name] @ of[other] > 1 - (1 - different) / 10, name
    assert of["turned.jpg"] @ of["upright.png"] > of["turned.jpg"] @ of["sideways.png"] + 1e-4
    sizes = {Path(row["uri"]).name: (row["width"], row["height"]) for row in rows(results)}
    assert sizes.pop("sideways.png") == (90, 120)
    assert {sizes[name] for name in of if name in sizes} == {(120, 90)}


def test_a_shard_that_changes_while_its_media_are_embedded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_clip(tmp_path / "clip")
    row = json.dumps({"question": QUESTION, "answer": "a thing"}).encode()
    (tmp_path / "data").mkdir()
    members = [("1.json", row), ("1.png", encoded(photograph("coffee.png")))]
    shard = write_tar(tmp_path / "data" / "a.tar", members)
    decode = DecodersHere.decode

    def change(self: DecodersHere, content: bytes, kind: MediaKind) -> PreparedPicture:
        os.utime(shard, (1, 1))
        return decode(self, content, kind)

    monkeypatch.setattr(DecodersHere, "decode", change)
    with pytest.raises(DataError, match="was changed while the job read it") as caught:
        sample_here(job(tmp_path), tmp_path / "scratch")
    assert caught.value.file == str(shard)
    assert not list((tmp_path / "artifacts").glob("default/choose/*/queries.jsonl"))


def rows(results: Path) -> list[dict[str, Any]]:
    return [
        row
        for path in (results / "work" / "media").glob("*/*/media.parquet")
        for row in pq.read_table(path).to_pylist()
    ]
