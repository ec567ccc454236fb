from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmrlhf_jobs.data.dataset import RankedDataset
from mmrlhf_jobs.data.importers.__main__ import main
from mmrlhf_jobs.data.importers.dpo_pairs import import_dpo_pairs
from mmrlhf_jobs.data.importers.partial_orders import ContradictionError, rebuild_ranks
from mmrlhf_jobs.data.importers.trl import import_trl
from mmrlhf_jobs.data.pairs import Pair, form_pairs
from mmrlhf_jobs.data.records import RankedResponse
from mmrlhf_jobs.data.sources import Source
from mmrlhf_jobs.errors import DataError
from tests.unit.data.builders import IMAGE, IMAGE_SHA256, write_rows


@pytest.fixture(autouse=True)
def media(tmp_path: Path) -> None:
    for name in ("long/1.png", "mcq/1.png", "safety/1.png", "shortcuts/1.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(IMAGE)
    (tmp_path / "video" / "clip").mkdir(parents=True)
    for number in (10, 2, 1):
        (tmp_path / "video" / "clip" / f"f{number}.png").write_bytes(IMAGE + bytes([number]))
    (tmp_path / "video" / "clip" / "notes.txt").touch()
    (tmp_path / "video" / "none").mkdir()


def pair(better: str, worse: str, **changes: Any) -> dict[str, Any]:
    fields = {
        "id": "q1",
        "image": "long/1.png",
        "prompt": "<image>\nWhat is it?",
        "chosen": better,
        "rejected": worse,
        "chosen_reason": f"why {better}",
        "rejected_reason": f"why {worse}",
        **changes,
    }
    return {name: value for name, value in fields.items() if value is not None}


def records_of(path: Path) -> list[RankedResponse]:
    data = RankedDataset.open(Source(str(path)))
    records = [r for b in data.batches(seed=0, epoch=0, batch_size=8) for r in b]
    return sorted(records, key=lambda record: record.location.row or 0)


def ranks_of(record: RankedResponse) -> dict[str, int]:
    return dict(zip([one.text for one in record.responses], record.ranks, strict=True))


def run(tmp_path: Path, rows: list[Any], **options: Any) -> tuple[Any, list[RankedResponse]]:
    source = write_rows(tmp_path / "pairs.jsonl", rows)
    out = tmp_path / "ranked.jsonl"
    report = import_dpo_pairs(str(source), str(out), **options)
    return report, records_of(out)


@given(st.lists(st.integers(1, 4), min_size=2, max_size=7))
def test_a_ranking_is_found_again_from_its_pairs(levels: list[int]) -> None:
    ranks = tuple(1 + sum(other < level for other in levels) for level in levels)
    rebuilt = rebuild_ranks(len(ranks), form_pairs(ranks))
    assert rebuilt.ranks == ranks
    assert rebuilt.inferred == frozenset()


def test_pairs_that_follow_from_others_may_be_lacking() -> None:
    assert rebuild_ranks(3, [Pair(0, 1), Pair(1, 2)]) == ((1, 2, 3), frozenset())


def test_pairs_that_were_never_compared_are_named() -> None:
    rebuilt = rebuild_ranks(4, [Pair(0, 1), Pair(2, 3)])
    assert rebuilt.ranks == (1, 3, 1, 3)
    assert rebuilt.inferred == {Pair(0, 3), Pair(2, 1)}


@pytest.mark.parametrize(
    ("pairs", "cycle"),
    [
        ([Pair(0, 1), Pair(1, 0)], {Pair(0, 1), Pair(1, 0)}),
        ([Pair(0, 1), Pair(1, 2), Pair(2, 0), Pair(2, 3)], {Pair(0, 1), Pair(1, 2), Pair(2, 0)}),
        ([Pair(0, 0)], {Pair(0, 0)}),
    ],
)
def test_cycles_are_named(pairs: list[Pair], cycle: set[Pair]) -> None:
    with pytest.raises(ContradictionError) as caught:
        rebuild_ranks(4, pairs)
    assert caught.value.pairs == cycle


def test_pair_rows_become_one_record_with_the_ranks_that_they_tell(tmp_path: Path) -> None:
    rows = [
        pair("A", "B"),
        pair("x", "y", id="q2"),
        pair("A", "C"),
        pair("B", "D", chosen_reason="another reason", reference_chosen_logp=-1.5),
        pair("C", "D"),
        pair("A", "D"),
        pair("A", "B"),
    ]
    report, (first, second) = run(tmp_path, rows)
    assert ranks_of(first) == {"A": 1, "B": 2, "C": 2, "D": 4}
    assert ranks_of(second) == {"x": 1, "y": 2}
    assert first.query.text == "What is it?"
    assert [one.critique.human for one in first.responses if one.critique] == [
        "why A", "why B", "why C", "why D",
    ]  # fmt: skip
    assert report.to_dict() == {
        "media_root": str(tmp_path),
        "rows": 7,
        "used": 7,
        "records": 2,
        "responses": 6,
        "pairs": 6,
        "repeated_pairs": 1,
        "implied_pairs": 0,
        "inferred_pairs": 0,
        "differing_reasons": 1,
        "ignored_fields": {"reference_chosen_logp": 1},
        "guessed_categories": {},
        "ids_of_several_queries": 0,
        "left_out": {},
        "tied_rows": 0,
        "unused_ties": 0,
        "unrated_responses": 0,
        "records_without_pairs": 0,
        "decoded_videos": 0,
        "written_media": 0,
        "written_bytes": 0,
        "rankings_against_scores": 0,
    }


def test_groups_are_told_apart_by_id_prompt_and_media(tmp_path: Path) -> None:
    other = tmp_path / "long" / "2.png"
    other.write_bytes(IMAGE + b"\0")
    rows = [
        pair("A", "B"),
        pair("B", "A", id="q2"),
        pair("B", "A", prompt="What else?"),
        pair("B", "A", image="long/2.png"),
    ]
    report, records = run(tmp_path, rows)
    assert report.records == 4
    assert len({record.record_id for record in records}) == 4


def test_category_and_type_come_from_whole_folders_or_from_the_length(tmp_path: Path) -> None:
    variants: list[dict[str, Any]] = [
        {"image": "long/1.png"},
        {"image": "mcq/1.png"},
        {"image": "safety/1.png"},
        {"image": "shortcuts/1.png"},
        {"image": "shortcuts/1.png", "chosen": "x" * 128},
        {"image": "shortcuts/1.png", "chosen": "x" * 129},
        {"image": None, "video": "video/clip"},
    ]
    rows = [pair("A", "B", id=str(n), **changes) for n, changes in enumerate(variants)]
    _, records = run(tmp_path, rows)
    assert [(record.category, record.type) for record in records] == [
        ("long", "long"),
        ("mcq", "mcq"),
        ("safety", None),
        ("short", "short"),
        ("short", "short"),
        ("long", "long"),
        ("video", "short"),
    ]


def test_frames_of_a_video_are_in_natural_order(tmp_path: Path) -> None:
    _, (record,) = run(tmp_path, [pair("A", "B", image=None, video="video/clip")])
    assert [uri for uri, _ in record.media[0].files] == [
        f"video/clip/f{number}.png" for number in (1, 2, 10)
    ]


@pytest.mark.parametrize(
    ("rows", "reason"),
    [
        ([pair("A", "B"), pair("B", "A")], "the pairs of rows 1, 2 contradict each other"),
        (
            [pair("A", "B"), pair("B", "C"), pair("x", "y", id="2"), pair("C", "A")],
            "row 1: the pairs of rows 1, 2, 4 contradict each other",
        ),
        ([pair("A", " A")], "row 1: chosen and rejected are the same text"),
        ([pair("A", "B"), pair("C", "D")], "leave 2 pairs of their ranks open"),
        ([pair("0", str(n)) for n in range(1, 18)], "has 18 responses"),
        ([pair("A", "B", chosen=None)], "row 1, field chosen: is missing"),
        ([pair("A", "B", chosen=3)], "row 1, field chosen: must be a text, got int"),
        ([pair("A", "B", image="no.png")], "row 1, field image: media file does not exist"),
        ([pair("A", "B", image="../no.png")], "row 1, field image: ../no.png: leads out"),
        ([pair("A", "B", image=None)], "row 1: needs either image or video"),
        ([pair("A", "B", image=None, video="video/none")], "field video: .* holds none"),
        ([pair("A", "B", image=None, video="video/gone")], "field video: media file does not"),
        ([pair("A", "B", image=[3])], "must be a path or a list"),
        ([pair("A", "B", prompt="see <image> or <image>")], "2 <image> stand in the texts for 1"),
        ([pair("A", "B", prompt="<image>")], "field prompt: is empty"),
        ([b"\xff"], "row 1: the line is not UTF-8"),
        ([b"", b"{"], "row 2: not valid JSON"),
        ([b"[]"], "row 1: the line is no JSON object"),
    ],
)
def test_wrong_rows_are_told(tmp_path: Path, rows: list[Any], reason: str) -> None:
    with pytest.raises(DataError, match=reason):
        run(tmp_path, rows)
    assert not (tmp_path / "ranked.jsonl").exists()


def test_fields_that_are_not_known_are_counted(tmp_path: Path) -> None:
    report, (record,) = run(tmp_path, [pair("A", "B", chosen_reward=3.5, prompt="a <image> b")])
    assert report.ignored_fields == {"chosen_reward": 1}
    assert record.query.text == "a  b"
    assert record.media[0].place is not None
    assert record.media[0].place.offset == 2


def test_several_contradictions_are_told_together(tmp_path: Path) -> None:
    rows = [pair(*texts, id=name) for name in "12" for texts in ("AB", "BA")]
    with pytest.raises(DataError, match=r"4 of 4 rows cannot be imported(.|\n)*rows 3, 4"):
        run(tmp_path, rows)


def test_open_ranks_can_be_inferred_and_are_counted(tmp_path: Path) -> None:
    report, (record,) = run(tmp_path, [pair("A", "B"), pair("C", "D")], incomplete="infer")
    assert report.inferred_pairs == 2
    assert sorted(record.ranks) == [1, 1, 3, 3]


def user(text: str) -> dict[str, Any]:
    return {"role": "user", "content": [{"type": "image"}, {"type": "text", "text": text}]}


def assistant(text: str) -> dict[str, Any]:
    return {"role": "assistant", "content": text}


TRL_ROWS: list[dict[str, Any]] = [
    {"prompt": "Q?", "chosen": "good", "rejected": "bad"},
    {"prompt": [user("Q?")], "chosen": [assistant("good")], "rejected": [assistant("bad")]},
    {"prompt": "Q?", "chosen": [assistant("good")], "rejected": [assistant("bad")]},
    {"chosen": [user("Q?"), assistant("good")], "rejected": [user("Q?"), assistant("bad")]},
]


@pytest.mark.parametrize("row", TRL_ROWS)
@pytest.mark.parametrize("images", [{"images": ["long/1.png"]}, {"image": "long/1.png"}])
def test_every_form_of_trl_rows_gives_the_same_record(
    tmp_path: Path, row: dict[str, Any], images: dict[str, Any]
) -> None:
    source = write_rows(tmp_path / "trl.jsonl", [{**row, **images, "score": 3}])
    report = import_trl(str(source), str(tmp_path / "out.jsonl"))
    (record,) = records_of(tmp_path / "out.jsonl")
    assert record.query.text == "Q?"
    assert ranks_of(record) == {"good": 1, "bad": 2}
    assert report.ignored_fields == {"score": 1}


def test_images_embedded_in_parquet_are_saved(tmp_path: Path) -> None:
    row = {**TRL_ROWS[1], "images": [{"bytes": IMAGE, "path": "x.PNG"}]}
    pq.write_table(pa.Table.from_pylist([row]), tmp_path / "in.parquet")
    import_trl(str(tmp_path / "in.parquet"), str(tmp_path / "out.parquet"))
    (record,) = records_of(tmp_path / "out.parquet")
    assert record.media[0].uri == f"embedded/{IMAGE_SHA256}.png"
    assert (tmp_path / "embedded" / f"{IMAGE_SHA256}.png").read_bytes() == IMAGE


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({"prompt": "Q?", "chosen": "a", "rejected": 3, "image": "x"}, "field rejected: must be a"),
        (
            {"chosen": [user("1"), assistant("2"), user("3"), assistant("4")], "rejected": [
                user("1"), assistant("2"), user("3"), assistant("5")], "image": "long/1.png"},
            "2 <image> stand in the texts for 1 images",
        ),
        ({"prompt": [user("Q?")], "chosen": [], "rejected": [assistant("b")]}, "one message"),
        ({"prompt": [3], "chosen": [assistant("a")], "rejected": []}, r"field prompt\[0\]"),
        (
            {"prompt": [{"role": "user", "content": [{"type": "audio"}]}],
             "chosen": [assistant("a")], "rejected": [assistant("b")]},
            r"field prompt\[0\].content: must be",
        ),
        ({"prompt": "Q?", "chosen": "a", "rejected": "b", "images": [3]}, r"field images\[0\]"),
    ],
)  # fmt: skip
def test_wrong_trl_rows_are_told(tmp_path: Path, row: dict[str, Any], reason: str) -> None:
    source = write_rows(tmp_path / "trl.jsonl", [row])
    with pytest.raises(DataError, match=reason):
        import_trl(str(source), str(tmp_path / "out.jsonl"))


def test_the_command_line_imports_and_reports(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "elsewhere").mkdir()
    source = write_rows(tmp_path / "elsewhere" / "pairs.jsonl", [pair("A", "B"), pair("C", "D")])
    arguments = ["dpo-pairs", str(source), str(tmp_path / "out.jsonl")]
    assert main(arguments) == 2
    assert "error: " in capsys.readouterr().err
    assert main([*arguments, "--media-root", str(tmp_path), "--incomplete", "infer"]) == 0
    assert json.loads(capsys.readouterr().out)["inferred_pairs"] == 2
