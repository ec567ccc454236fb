"""Every public format: imported, and exported back."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, get_args

import pytest

from mmrlhf_api.data_formats import DATA_FORMATS
from mmrlhf_api.steps.records import DataFormat, ImportFormat
from mmrlhf_jobs.data.exporters.exporting import export_records
from mmrlhf_jobs.data.exporters.registry import WRITERS
from mmrlhf_jobs.data.exporters.vlguard import export_vlguard
from mmrlhf_jobs.data.importers.importing import ImportOptions, import_rows, read_mapping
from mmrlhf_jobs.data.importers.registry import READERS, tell_formats
from mmrlhf_jobs.data.importers.report import ImportReport
from mmrlhf_jobs.data.pairs import form_pairs
from mmrlhf_jobs.data.queries import stream_queries
from mmrlhf_jobs.data.records import SCHEMA, SCHEMA_2, RankedResponse
from mmrlhf_jobs.data.sources import Source
from mmrlhf_jobs.data.stream import stream_records
from mmrlhf_jobs.errors import DataError, SpecError
from tests.unit.data.builders import write_rows
from tests.unit.data.public_files import FILES, RANKS, write_media, write_public_file

PAIR = {"id": 1, "image": "long/1.png", "prompt": "Q?", "chosen": "A", "rejected": "B"}


@pytest.fixture(autouse=True)
def media(tmp_path: Path) -> None:
    write_media(tmp_path)


def ranks_of(record: RankedResponse) -> dict[str, int]:
    return dict(zip([one.text for one in record.responses], record.ranks, strict=True))


def bring_in(
    tmp_path: Path, name: str, source: Path | None = None, **options: Any
) -> tuple[ImportReport, list[RankedResponse]]:
    source = source or write_public_file(tmp_path, name)
    out = str(tmp_path / f"{name}.records.jsonl")
    report = import_rows(READERS[name], str(source), out, ImportOptions(**options))
    return report, list(stream_records(Source(out)))


def bring_rows(
    tmp_path: Path, name: str, rows: Sequence[Any], **options: Any
) -> tuple[ImportReport, list[RankedResponse]]:
    return bring_in(tmp_path, name, write_rows(tmp_path / "rows.jsonl", rows), **options)


def test_formats_are_listed_in_one_way_everywhere() -> None:
    names = [one.name for one in DATA_FORMATS]
    assert list(READERS) == names
    assert [*WRITERS, "vlguard"] == list(get_args(DataFormat))
    assert names == list(get_args(ImportFormat))
    assert set(FILES) == set(names)


@pytest.mark.parametrize("name", list(WRITERS))
def test_a_file_of_each_format_becomes_records_and_comes_back(tmp_path: Path, name: str) -> None:
    report, records = bring_in(tmp_path, name)
    assert [ranks_of(record) for record in records] == RANKS[name]
    assert report.rows == len(FILES[name][1])
    assert report.left_out == {}
    assert report.inferred_pairs == report.implied_pairs == 0
    back = tmp_path / "back.jsonl"
    source = Source(str(tmp_path / f"{name}.records.jsonl"))
    exported = export_records(WRITERS[name], source, str(back))
    assert exported.records == len(records)
    assert exported.left_out == {}
    _, again = bring_in(tmp_path, name, back)
    assert [ranks_of(one) for one in again] == [ranks_of(one) for one in records]
    assert [one.asked for one in again] == [one.asked for one in records]
    assert [one.media_sha256s for one in again] == [one.media_sha256s for one in records]
    assert [one.category for one in again] == [one.category for one in records]
    assert [[r.scores for r in one.responses] for one in again] == [
        [r.scores for r in one.responses] for one in records
    ]


def test_vlguard_becomes_queries_with_reference_answers(tmp_path: Path) -> None:
    out = str(tmp_path / "queries.jsonl")
    source = str(write_public_file(tmp_path, "vlguard"))
    report = import_rows(READERS["vlguard"], source, out, ImportOptions())
    queries = list(stream_queries(Source(out)))
    assert [one.query.text for one in queries] == ["Who is it?", "Which colour?", "How to harm?"]
    assert queries[0].query.reference_answer == "I cannot say."
    assert {one.domain for one in queries} == {"safety"}
    assert len({one.record_id for one in queries}) == 3
    assert (report.rows, report.records) == (2, 3)
    back = str(tmp_path / "back.json")
    exported = export_vlguard(Source(out), back)
    assert (exported.records, exported.rows, exported.left_out) == (3, 2, {})
    given = [{**row} for row in FILES["vlguard"][1]]
    for row in given:
        row.pop("harmful_category", None)
        row.pop("harmful_subcategory", None)
    assert json.loads((tmp_path / "back.json").read_text()) == given


def test_queries_without_an_answer_do_not_fit_vlguard(tmp_path: Path) -> None:
    bring_in(tmp_path, "rlaif-v")
    records = Source(str(tmp_path / "rlaif-v.records.jsonl"))
    with pytest.raises(DataError, match="reference_answer: is missing"):
        export_vlguard(records, str(tmp_path / "x.json"))


def test_conversations_keep_system_turns_and_places(tmp_path: Path) -> None:
    _, records = bring_in(tmp_path, "trl")
    assert [one.schema_id for one in records] == [SCHEMA_2, SCHEMA_2, SCHEMA, SCHEMA_2]
    text, talk, _, mixed = records
    assert (text.domain, text.media) == ("text", ())
    assert talk.query.system == "Be brief."
    assert [(turn.role, turn.text) for turn in talk.query.turns] == [
        ("user", "Hello."), ("assistant", "Hi."),
    ]  # fmt: skip
    assert mixed.query.text == "Is  the same as ?"
    places = [one.place for one in mixed.media]
    assert [place and (place.turn, place.offset) for place in places] == [(0, 3), (0, 16)]


def test_reasons_and_scores_of_mm_rlhf_are_kept(tmp_path: Path) -> None:
    report, (record,) = bring_in(tmp_path, "mm-rlhf")
    first = record.responses[0]
    assert first.critique is not None
    assert first.critique.human == "right"
    assert first.scores is not None
    assert (first.scores.helpfulness, first.scores.ethics) == (5, 5)
    assert record.category == "long"
    assert record.ranking.reason == "the first one reads it"
    assert record.query.reference_answer == "Seven."
    assert report.rankings_against_scores == 0


RANKINGS: list[Any] = [
    [2, 1, 2],
    ["b", ["a", "c"]],
    "b > a = c",
    {"a": 2, "b": 1, "c": 2},
    ["2", "1", "2"],
]


@pytest.mark.parametrize("ranking", RANKINGS)
def test_rankings_of_mm_rlhf_are_read_however_they_are_written(
    tmp_path: Path, ranking: Any
) -> None:
    outputs = {"a": "one", "b": "two", "c": "three"}
    row = {"id": 1, "question": "Q?", "image": "long/1.png", "models_output": outputs,
           "faithfulness": {"a": 5, "b": 1, "c": 1}, "helpfulness": {"a": 5, "b": 1, "c": 1},
           "ethical": {"a": 5, "b": 1, "c": 1}, "final_ranking": ranking}  # fmt: skip
    report, (record,) = bring_rows(tmp_path, "mm-rlhf", [row])
    assert ranks_of(record) == {"one": 2, "two": 1, "three": 2}
    assert [one.model.name for one in record.responses if one.model] == ["a", "b", "c"]
    assert report.rankings_against_scores == 1


def test_the_rating_that_is_none_is_left_out_and_counted(tmp_path: Path) -> None:
    report, _ = bring_in(tmp_path, "vlfeedback")
    assert report.unrated_responses == 1


def test_all_rows_at_fault_are_told_at_once(tmp_path: Path) -> None:
    rows = [
        PAIR,
        {**PAIR, "id": 2, "image": "long/gone.png"},
        {**PAIR, "id": 3, "rejected": "A "},
        {**PAIR, "id": 4, "rejected": ""},
        {**PAIR, "id": 5, "image": "gone.png"},
        b"{",
        {**PAIR, "id": 6, "prompt": "a <image> or <image>?"},
        {**PAIR, "id": 7},
        {**PAIR, "id": 7, "chosen": "B", "rejected": "A"},
    ]
    with pytest.raises(DataError) as caught:
        bring_rows(tmp_path, "dpo-pairs", rows)
    text = str(caught.value)
    assert "8 of 9 rows cannot be imported" in text
    for count in ("2 media", "1 same-texts", "1 field", "1 unreadable-row", "1 placeholders",
                  "2 contradiction"):  # fmt: skip
        assert count in text
    assert "row 2, field image" in text
    assert "row 6: not valid JSON" in text
    assert not (tmp_path / "dpo-pairs.records.jsonl").exists()
    report, records = bring_rows(tmp_path, "dpo-pairs", rows, max_invalid_fraction=0.9)
    assert len(records) == 1
    assert report.left_out == {
        "media": 2, "same-texts": 1, "field": 1, "unreadable-row": 1, "placeholders": 1,
        "contradiction": 2,
    }  # fmt: skip
    assert report.rows == 9 == sum(report.left_out.values()) + 1


def test_messages_about_many_rows_stay_short(tmp_path: Path) -> None:
    rows = [{**PAIR, "id": number, "image": "x" * 5000} for number in range(300)]
    with pytest.raises(DataError) as caught:
        bring_rows(tmp_path, "dpo-pairs", rows)
    lines = str(caught.value).splitlines()
    assert len(lines) < 30
    assert max(map(len, lines)) < 800
    assert "and 280 more" in str(caught.value)


@pytest.mark.parametrize(
    ("asked", "given"),
    [(asked, given) for asked, given in [
        ("dpo-pairs", "rlaif-v"), ("trl", "mm-rlhf"), ("trl", "llama-factory"),
        ("trl", "ms-swift"), ("dpo-pairs", "vlguard"), ("rlaif-v", "rlhf-v"),
        ("trl", "safety-bench"),
    ]],
)  # fmt: skip
def test_a_file_of_another_format_is_recognised(tmp_path: Path, asked: str, given: str) -> None:
    source = str(write_public_file(tmp_path, given))
    hint = tell_formats(source, asked)
    assert given in hint.rpartition("it looks like")[2]
    with pytest.raises(DataError, match="Formats that are known"):
        import_rows(
            READERS[asked], source, str(tmp_path / "x.jsonl"), ImportOptions(), hint=lambda: hint
        )


@pytest.mark.parametrize("name", ["trl", "llama-factory"])
def test_texts_that_are_json_stay_texts_and_messages_may_be_texts(
    tmp_path: Path, name: str
) -> None:
    asked = json.dumps([{"role": "user", "content": "Q?"}])
    rows: list[dict[str, Any]] = [
        {"prompt": "[1, 2]", "instruction": "[1, 2]", "chosen": "[3]", "rejected": '{"a": 4}'},
        {"prompt": asked, "messages": asked, "rejected": "b",
         "chosen": json.dumps([{"role": "assistant", "content": "a"}])},
    ]  # fmt: skip
    if name == "trl":
        rows[1]["rejected"] = json.dumps([{"role": "assistant", "content": "b"}])
    else:
        rows[1]["chosen"] = json.dumps({"role": "assistant", "content": "a"})
    _, records = bring_rows(tmp_path, name, rows)
    assert [one.query.text for one in records] == ["[1, 2]", "Q?"]
    assert [ranks_of(one) for one in records] == [{"[3]": 1, '{"a": 4}': 2}, {"a": 1, "b": 2}]


def test_fields_of_other_names_are_mapped(tmp_path: Path) -> None:
    row = {"question": "Q?", "answers": {"good": "A", "bad": "B"}, "picture": "image.png", "n": 1}
    texts = ["question=prompt", "answers.good=chosen", "answers.bad=rejected", "picture=image"]
    report, (record,) = bring_rows(tmp_path, "trl", [row], mapping=read_mapping(texts))
    assert record.query.text == "Q?"
    assert ranks_of(record) == {"A": 1, "B": 2}
    assert report.ignored_fields == {"answers": 1, "n": 1}


@pytest.mark.parametrize("texts", [["question"], ["=prompt"], ["a=b", "c=b"], ["a=b", "a=c"]])
def test_wrong_mappings_are_told(texts: list[str]) -> None:
    with pytest.raises(SpecError, match="--map"):
        read_mapping(texts)


def test_a_mapping_that_no_row_needs_is_told(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="no row has the field question"):
        bring_rows(tmp_path, "trl", [{**PAIR}], mapping={"question": "prompt"})


def pair(better: str, worse: str, **changes: Any) -> dict[str, Any]:
    return {**PAIR, "chosen": better, "rejected": worse, **changes}


def given_pairs(records: Sequence[RankedResponse]) -> set[tuple[str, str]]:
    return {
        (record.responses[i].text, record.responses[j].text)
        for record in records
        for i, j in form_pairs(record.ranks)
    }


@pytest.mark.parametrize(
    "pairs",
    [
        ["AB", "CD"],
        ["AB", "BC"],
        ["AB", "AC", "BC"],
        ["AB", "BC", "CD", "XY"],
        [f"A{chr(0x4E00 + number)}" for number in range(20)],
    ],
)
def test_exact_keeps_the_given_pairs_and_no_others(tmp_path: Path, pairs: list[str]) -> None:
    rows = [pair(*texts) for texts in pairs]
    report, records = bring_rows(tmp_path, "dpo-pairs", rows, incomplete="exact")
    assert given_pairs(records) == {tuple(texts) for texts in pairs}
    assert report.pairs == len(pairs)
    assert report.inferred_pairs == report.implied_pairs == 0
    assert len({record.record_id for record in records}) == len(records)


def test_exact_keeps_whole_rankings_together(tmp_path: Path) -> None:
    rows = [pair(*texts) for texts in ("AB", "AC", "BC")]
    _, records = bring_rows(tmp_path, "dpo-pairs", rows, incomplete="exact")
    assert len(records) == 1


@pytest.mark.parametrize("incomplete", ["fail", "infer", "exact"])
def test_judged_ties_are_never_turned_into_preferences(tmp_path: Path, incomplete: str) -> None:
    rows = [pair("A", "B"), pair("A", "C"), pair("B", "C", is_tie=True)]
    report, (record,) = bring_rows(tmp_path, "dpo-pairs", rows, incomplete=incomplete)
    assert ranks_of(record) == {"A": 1, "B": 2, "C": 2}
    assert report.tied_rows == 1


def test_infer_ranks_what_was_judged_equal_as_equal(tmp_path: Path) -> None:
    rows = [pair("A", "B"), pair("C", "D"), pair("A", "D", is_tie=True), pair("E", "A")]
    _, (record,) = bring_rows(tmp_path, "dpo-pairs", rows, incomplete="infer")
    ranks = ranks_of(record)
    assert ranks["A"] == ranks["D"] < ranks["B"]
    assert ranks["C"] < ranks["A"]
    assert ranks["E"] < ranks["A"]


def test_a_preference_against_a_judged_tie_is_a_contradiction(tmp_path: Path) -> None:
    rows = [pair("A", "B"), pair("B", "C"), pair("A", "C", is_tie=True)]
    with pytest.raises(DataError, match="rows 1, 2 contradict each other"):
        bring_rows(tmp_path, "dpo-pairs", rows)


@pytest.mark.parametrize(
    ("name", "change", "reason"),
    [
        ("llama-factory", {"tools": "[]x"}, "records cannot hold this"),
        ("ms-swift", {"audios": ["a.wav"]}, "records cannot hold this"),
        ("ms-swift", {"rejected_images": ["b.png"]}, "records cannot hold this"),
        ("ms-swift", {"rejected_videos": ["clip.mp4"]}, "records cannot hold this"),
        ("ms-swift", {"images": []}, "1 <image> stand in the texts for 0 images"),
        ("ms-swift", {"images": ["image.png"] * 3, "messages": [
            {"role": "user", "content": "a <image> b"}, {"role": "assistant", "content": "c"}]},
         "3 media and 1 marks"),
        ("ms-swift", {"videos": ["clip.mp4"]}, "is a video file, and records hold frames"),
        ("ms-swift", {"messages": [{"role": "tool", "content": "x"}]}, "'tool' is none of"),
        ("ms-swift", {"messages": [{"role": "user", "content": "x"}]}, "one message of the assist"),
    ],
)  # fmt: skip
def test_what_records_cannot_hold_is_told(
    tmp_path: Path, name: str, change: dict[str, Any], reason: str
) -> None:
    (tmp_path / "clip.mp4").write_bytes(b"x")
    row = {
        "messages": [{"role": "user", "content": "<image>Q?"},
                     {"role": "assistant", "content": "A"}],
        "chosen": {"role": "assistant", "content": "A"},
        "rejected": {"role": "assistant", "content": "B"},
        "rejected_response": "B", "images": ["image.png"], **change,
    }  # fmt: skip
    if name == "llama-factory":
        row["messages"] = [{"role": "user", "content": "<image>Q?"}]
    with pytest.raises(DataError, match=reason):
        bring_rows(tmp_path, name, [row])


def test_an_export_that_loses_something_is_told(tmp_path: Path) -> None:
    bring_in(tmp_path, "llama-factory")
    source = Source(str(tmp_path / "llama-factory.records.jsonl"))
    out = str(tmp_path / "x.json")
    with pytest.raises(
        DataError, match=r"3 of 3 records cannot be exported(.|\n)*\(3 unsupported\)"
    ):
        export_records(WRITERS["rlaif-v"], source, out)
    report = export_records(WRITERS["trl"], source, out, max_invalid_fraction=0.5)
    assert report.left_out == {"unsupported": 1}, "the video"
    rows = json.loads((tmp_path / "x.json").read_text())
    assert report.rows == len(rows) == 2
    assert rows[0]["images"] == ["image.png"]


def test_paths_of_media_can_be_whole(tmp_path: Path) -> None:
    bring_in(tmp_path, "ms-swift")
    source = Source(str(tmp_path / "ms-swift.records.jsonl"))
    export_records(WRITERS["ms-swift"], source, str(tmp_path / "x.jsonl"), absolute_media=True)
    first = json.loads((tmp_path / "x.jsonl").read_text().splitlines()[0])
    assert first["images"] == [str(tmp_path / "image.png"), str(tmp_path / "long/1.png")]
