"""Records of version 2: system texts, turns, media between words, and no media."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from pydantic import ValidationError

from mmrlhf_jobs.data.arrow_schema import record_schema
from mmrlhf_jobs.data.conversation import Conversation, as_json, repeated, reworded, transcript
from mmrlhf_jobs.data.parsing import explain
from mmrlhf_jobs.data.parts import Place, Turn
from mmrlhf_jobs.data.queries import QUERY_SCHEMA, QUERY_SCHEMA_2, as_query, stream_queries
from mmrlhf_jobs.data.records import SCHEMA, SCHEMA_2, RankedResponse, schema_for
from mmrlhf_jobs.data.sources import Source
from mmrlhf_jobs.data.stream import stream_records
from mmrlhf_jobs.data.writers import write_records
from mmrlhf_jobs.scores.keys import record_keys
from tests.unit.data.builders import IMAGE_SHA256, make_fields, make_record

IMAGE = {"uri": "image.png", "sha256": IMAGE_SHA256}
TURNS = [{"role": "user", "text": "Hello."}, {"role": "assistant", "text": "Hi."}]


def second(**changes: Any) -> dict[str, Any]:
    return make_fields(**{"schema": SCHEMA_2, **changes})


RICH: list[dict[str, Any]] = [
    {"query": {"text": "And now?", "turns": TURNS}},
    {"query": {"text": "Q?", "system": "Be brief."}},
    {"query": {"text": "Compare these."}, "media": [
        {**IMAGE, "place": {"turn": 0, "offset": 8}}]},
    {"domain": "text", "media": []},
    {"domain": "safety", "type": None, "media": []},
]  # fmt: skip


@pytest.mark.parametrize("changes", RICH)
def test_what_version_1_cannot_say_needs_version_2(changes: dict[str, Any]) -> None:
    with pytest.raises(ValidationError) as caught:
        RankedResponse.model_validate(make_fields(**changes))
    assert "v2, so set schema to it" in explain(caught.value)[1]
    record = RankedResponse.model_validate(second(**changes))
    assert schema_for(record.domain, record.query, record.media) == SCHEMA_2
    assert as_query(record).schema_id == QUERY_SCHEMA_2


def test_what_version_1_can_say_is_written_as_such() -> None:
    record = make_record()
    assert schema_for(record.domain, record.query, record.media) == SCHEMA
    assert as_query(record).schema_id == QUERY_SCHEMA
    assert record.asked == "Which digit is it?"


@pytest.mark.parametrize(
    ("changes", "field", "reason"),
    [
        (
            {"media": [{**IMAGE, "place": {"turn": 1, "offset": 0}}]},
            "media[0].place.turn", "no turn",
        ),
        ({"media": [{**IMAGE, "place": {"turn": 0, "offset": 99}}]}, "offset", "behind the end"),
        (
            {"query": {"text": "Q?", "turns": TURNS},
             "media": [{**IMAGE, "place": {"turn": 1, "offset": 0}}]},
            "media[0].place.turn", "a turn of the user",
        ),
        (
            {"media": [{**IMAGE, "place": {"turn": 0, "offset": 3}}, IMAGE]},
            "media[1].place", "in the order in which they stand",
        ),
        ({"media": []}, "media", "needs at least 1 items"),
        ({"domain": "text"}, "domain", "holds media"),
        ({"query": {"text": "Q?", "turns": [{"role": "tool", "text": "x"}]}}, "role", "user"),
    ],
)  # fmt: skip
def test_places_must_make_sense(changes: dict[str, Any], field: str, reason: str) -> None:
    with pytest.raises(ValidationError) as caught:
        RankedResponse.model_validate(second(**changes))
    where, why = explain(caught.value)
    assert field in where
    assert reason in why


@pytest.mark.parametrize("name", ["x.jsonl", "x.parquet"])
def test_both_versions_go_through_one_file(tmp_path: Path, name: str) -> None:
    plain = [make_record(f"p{number}") for number in range(3)]
    rich = [
        RankedResponse.model_validate(second(record_id=f"r{number}", **changes))
        for number, changes in enumerate(RICH)
    ]
    path = str(tmp_path / name)
    assert write_records([*plain, *rich, *plain[:1]], path) == 9
    read = list(stream_records(Source(path)))
    assert read == [*plain, *rich, plain[0]]
    assert [query.schema_id for query in stream_queries(Source(path))][2:4] == [
        QUERY_SCHEMA, QUERY_SCHEMA_2,
    ]  # fmt: skip
    assert [entry.name for entry in tmp_path.iterdir()] == [name]


def test_parquet_of_version_1_keeps_its_schema(tmp_path: Path) -> None:
    write_records([make_record()], str(tmp_path / "x.parquet"))
    schema = pq.read_schema(tmp_path / "x.parquet")
    assert schema.equals(record_schema())
    assert "place" not in str(schema)
    assert "system" not in str(schema)


def test_keys_follow_all_that_is_said() -> None:
    asked: list[Any] = [
        "Q?",
        Conversation("Q?"),
        Conversation("Q?", system="s"),
        Conversation("Q?", turns=(Turn(role="user", text="a"),)),
        Conversation("Q?", turns=(Turn(role="assistant", text="a"),)),
        Conversation("Q?", places=(Place(turn=0, offset=1),)),
    ]
    assert len({str(as_json(one)) for one in asked}) == len(asked)
    keys = [record_keys(RankedResponse.model_validate(second(**one)))[0] for one in RICH[:4]]
    assert len(set(keys)) == len(keys)


def test_a_question_is_reworded_where_it_stands() -> None:
    asked = Conversation(
        "this or that",
        turns=(Turn(role="user", text="Hi"), Turn(role="assistant", text="Yes?")),
        places=(None, Place(turn=2, offset=5)),
    )
    worded = reworded(asked, "[Q] ", " [A]")
    assert isinstance(worded, Conversation)
    assert worded.text == "[Q] this or that [A]"
    assert worded.places == (None, Place(turn=2, offset=9))
    assert reworded("Q?", "<", ">") == "<Q?>"


def test_frames_stand_where_their_video_does() -> None:
    place = Place(turn=0, offset=1)
    asked = Conversation("Q?", places=(None, place))
    found = repeated(asked, [1, 3])
    assert isinstance(found, Conversation)
    assert found.places == (None, place, place, place)
    assert repeated("Q?", [3]) == "Q?"


def test_a_transcript_says_who_says_what() -> None:
    asked = Conversation("Q?", "Be brief.", (Turn(role="user", text="Hi"),))
    assert transcript(asked) == "System: Be brief.\n\nUser: Hi\n\nUser: Q?"
    assert transcript(Conversation("Q?", places=(Place(turn=0, offset=1),))) == "Q?"
