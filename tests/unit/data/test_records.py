from __future__ import annotations

import json
from typing import Any

import pytest

from mmrlhf_jobs.data.parsing import parse_row
from mmrlhf_jobs.data.records import RankedResponse, record_id, response_id
from mmrlhf_jobs.errors import DataError
from tests.unit.data.builders import make_fields, make_record


def response(name: str, **changes: Any) -> dict[str, Any]:
    return {"response_id": name, "text": f"Answer {name}.", **changes}


VIDEO = {"kind": "video", "frames": [{"uri": "v/1.png", "sha256": "1" * 64}]}

INVALID: list[tuple[dict[str, Any], str | None, str]] = [
    ({"surplus": 1}, "surplus", "unknown field"),
    ({"schema": "v0"}, "schema", "Input should be 'mmrlhf.io/ranked-response/v1'"),
    ({"record_id": " "}, "record_id", "must not be empty"),
    ({"query": {"text": 3}}, "query.text", "valid string, got 3"),
    ({"query": {"text": "\n"}}, "query.text", "must not be empty"),
    ({"query": {}}, "query.text", "is missing"),
    ({"media": []}, "media", "at least 1"),
    ({"media": [{"uri": "x.png", "sha256": "abc"}]}, "media[0].sha256", "must match"),
    ({"media": [{"uri": "x.png"}]}, "media[0].sha256", "needs the sha256"),
    ({"media": [{"sha256": "0" * 64}]}, "media[0].uri", "needs its uri"),
    ({"media": [{"kind": "video", "uri": "v"}]}, "media[0].frames", "at least one"),
    ({"media": [VIDEO]}, "domain", "holds a video"),
    ({"domain": "video"}, "media", "needs a medium of kind video"),
    ({"type": None}, "type", "only a record of domain safety"),
    ({"responses": []}, "responses", "at least 2"),
    ({"responses": [response("a")]}, "responses", "at least 2"),
    ({"responses": [response(str(n)) for n in range(17)]}, "responses", "at most 16"),
    ({"responses": [response("a"), response("a", text="B")]}, "responses[1].response_id", "twice"),
    ({"responses": [response("a"), response("b", text=" Answer a.")]}, "responses[1].text", "same"),
    ({"responses": [response("a"), response("b", text="")]}, "responses[1].text", "not be empty"),
    (
        {"responses": [response("a", duplicates=[{"response_id": "b"}]), response("b")]},
        "responses[1].response_id",
        "twice",
    ),
    (
        {"responses": [response("a"), response("b", origin="constructed_negative")]},
        "responses[1].derived_from",
        "name the response",
    ),
    (
        {
            "responses": [
                response("a"),
                response("b", origin="constructed_negative", derived_from="z"),
            ]
        },
        "responses[1].derived_from",
        "no other response 'z'",
    ),
    (
        {"responses": [response(name, origin="constructed_positive") for name in "ab"]},
        "responses",
        "at most one",
    ),
    (
        {
            "responses": [
                response("a"),
                response("b", origin="constructed_positive", model={"name": "m"}),
            ]
        },
        "responses[1].model",
        "not made by a model",
    ),
    (
        {"responses": [response("a", scores={"faithfulness": 1}), response("b")]},
        "responses[0].scores",
        "or none of them",
    ),
    (
        {"responses": [response("a", critique={"augmented": "x"}), response("b")]},
        "responses[0].critique.human",
        "is missing",
    ),
    ({"ranking": {"ranks": {"a": 1}}}, "ranking.ranks", "no rank for response 'b'"),
    ({"ranking": {"ranks": {"a": 1, "b": 2, "c": 3}}}, "ranking.ranks", "'c', which is no resp"),
    ({"ranking": {"ranks": {"a": 1, "b": 3}}}, "ranking.ranks.b", "so it must be 2"),
    ({"ranking": {"ranks": {"a": 0, "b": 1}}}, "ranking.ranks.a", "greater than or equal to 1"),
    ({"ranking": {"ranks": {"a": 1, "b": 2.0}}}, "ranking.ranks.b", "valid integer, got 2.0"),
    ({"ranking": {"ranks": {"a": 1, "b": True}}}, "ranking.ranks.b", "valid integer, got True"),
    ({"tie": "none", "ranking": {"ranks": {"a": 1, "b": 1}}}, "tie", "contradicts the ranks"),
    ({"tie": "poor"}, "tie", "contradicts the ranks"),
]


@pytest.mark.parametrize(("changes", "field", "reason"), INVALID)
def test_an_invariant_that_is_violated_names_the_field(
    changes: dict[str, Any], field: str, reason: str
) -> None:
    line = json.dumps(make_fields(**changes)).encode()
    with pytest.raises(DataError) as caught:
        parse_row(line, file="data.jsonl", row=7)
    assert caught.value.field == field
    assert reason in caught.value.reason
    assert str(caught.value).startswith("data.jsonl, row 7, field ")


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b'{"schema": ', "not valid JSON"),
        (b"[]", "no JSON object"),
        (b'{"record_id": "\xff"}', "not UTF-8"),
        (b'{"record_id": "\\ud800"}', "lone surrogate"),
        (b'{"record_id": "a", "record_id": "b"}', "'record_id' is there twice"),
        (b'{"record_id": ' + b"[" * 5000 + b"]" * 5000 + b"}", "nested too deeply"),
    ],
)
def test_a_line_that_is_no_json_object_is_refused(line: bytes, reason: str) -> None:
    with pytest.raises(DataError) as caught:
        parse_row(line, file="data.jsonl", row=1)
    assert reason in str(caught.value)


def test_several_problems_of_a_row_are_told_together() -> None:
    line = json.dumps(make_fields(a=1, b=2, c=3, d=4)).encode()
    with pytest.raises(DataError) as caught:
        parse_row(line, file="f", row=1)
    assert "also b: unknown field" in caught.value.reason
    assert "1 more problems" in caught.value.reason


@pytest.mark.parametrize("ranks", [(1, 2, 2, 4), (1, 1), (3, 1, 1), (4, 3, 2, 1), (1, 1, 1, 4)])
def test_competition_ranks_are_taken_in_the_order_of_the_responses(ranks: tuple[int, ...]) -> None:
    assert make_record(ranks=ranks).ranks == ranks


def test_a_poor_tie_needs_a_constructed_positive_alone_in_front() -> None:
    responses = [
        response("a"),
        response("b"),
        response("c", origin="constructed_positive"),
    ]
    good = make_record(responses=responses, ranking={"ranks": {"a": 2, "b": 2, "c": 1}}, tie="poor")
    assert good.obstacle is None
    with pytest.raises(ValueError, match="alone first"):
        make_record(responses=responses, ranking={"ranks": {"a": 1, "b": 1, "c": 3}}, tie="poor")


def test_a_good_tie_needs_a_constructed_negative_alone_at_the_end() -> None:
    responses = [
        response("a"),
        response("b"),
        response("c", origin="constructed_negative", derived_from="a"),
    ]
    ranks = {"ranks": {"a": 1, "b": 1, "c": 3}}
    assert make_record(responses=responses, ranking=ranks, tie="good").tie == "good"
    with pytest.raises(ValueError, match="alone last"):
        make_record(responses=[*map(response, "abc")], ranking=ranks, tie="good")


def test_all_tied_responses_and_flagged_questions_form_no_pair() -> None:
    assert "constructed" in (make_record(ranks=(1, 1, 1)).obstacle or "")
    assert "confusing" in (make_record(question_flag="confusing").obstacle or "")
    positive = [response("a", origin="constructed_positive"), response("b")]
    assert make_record(question_flag="confusing", responses=positive).obstacle is None


@pytest.mark.parametrize(
    ("changes", "category"),
    [
        ({"type": "mcq"}, "mcq"),
        ({"type": "long"}, "long"),
        ({"domain": "safety", "type": None}, "safety"),
        ({"domain": "safety", "type": "long"}, "safety"),
        ({"domain": "video", "type": "long", "media": [VIDEO]}, "video"),
    ],
)
def test_the_category_follows_domain_and_type(changes: dict[str, Any], category: str) -> None:
    assert make_record(**changes).category == category


def test_the_order_of_frames_is_part_of_a_videos_digest() -> None:
    frames = [{"uri": name, "sha256": name * 64} for name in "12"]
    one, other = (
        make_record(domain="video", media=[{"kind": "video", "frames": order}]).media_sha256s
        for order in (frames, frames[::-1])
    )
    assert one != other
    assert len(one[0]) == 64


def test_record_ids_depend_on_media_and_their_order_but_not_on_unicode_form() -> None:
    media = ["1" * 64, "2" * 64]
    assert record_id("caf\u00e9", media) == record_id(" cafe\u0301\n", media)
    assert record_id("q", media) != record_id("q", media[::-1])
    assert record_id("q", media) != record_id("q", media, turn_index=1)
    assert response_id("r", "text") != response_id("r", "text", model="m")


def test_the_location_is_for_messages_and_not_part_of_the_record() -> None:
    record = make_record()
    located = record.at("data.jsonl", 5)
    assert (located.location.file, located.location.row) == ("data.jsonl", 5)
    assert located == record
    assert record.location.file is None


def test_the_example_in_the_documentation_is_valid() -> None:
    import mmrlhf_jobs.data.records as module

    text = (module.__doc__ or "").partition("::")[2].partition("\n\nVersion 2")[0]
    example = json.loads(text.replace("<64 hexadecimal digits>", "0" * 64))
    assert RankedResponse.model_validate(example).ranks == (1, 2)
