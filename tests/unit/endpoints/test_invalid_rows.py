"""Rows that cannot be asked about: one budget, and no row or answer is lost in between."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any, cast

import pytest

from mmrlhf_api.model_servers import EndpointSettings
from mmrlhf_jobs.data.queries import QUERY_SCHEMA, QueryRecord, stream_queries
from mmrlhf_jobs.data.sources import Source
from mmrlhf_jobs.endpoints.answers import Answer
from mmrlhf_jobs.endpoints.asking import UNUSABLE_MEDIA, Asker, Check, Outcome
from mmrlhf_jobs.endpoints.inquiry import InquiryReport, run_inquiry
from mmrlhf_jobs.endpoints.requests import ChatRequest, ImagePart, TextPart
from mmrlhf_jobs.endpoints.responses import ResponseInquiry
from mmrlhf_jobs.endpoints.tally import Tally
from mmrlhf_jobs.errors import DataError, EndpointError
from tests.unit.data.builders import IMAGE_SHA256, write_rows


def query(name: str, uri: str = "image.png", text: str = "Which?") -> dict[str, Any]:
    return {
        "schema": QUERY_SCHEMA,
        "record_id": name,
        "domain": "image",
        "type": "short",
        "query": {"text": text},
        "media": [{"uri": uri, "sha256": "0" * 64 if uri == "cut.png" else IMAGE_SHA256}],
    }


class Server:
    """Answers by the question; images named cut.png cannot be sent."""

    def __init__(self, settings: EndpointSettings) -> None:
        self.settings = settings
        self.tally = Tally()
        self.asked: list[str] = []
        self._kept: dict[str, Outcome] = {}

    async def ask(self, request: ChatRequest, check: Check, *, again: bool = False) -> Outcome:
        image, text = request.parts
        assert isinstance(image, ImagePart)
        assert isinstance(text, TextPart)
        if image.uri.endswith("cut.png"):
            outcome = Outcome(None, UNUSABLE_MEDIA, "is not a readable image")
        else:
            self.asked.append(text.text)
            answer = Answer(f"To {text.text}", "length" if text.text == "Long?" else "stop")
            verdict = check(answer)
            outcome = Outcome(answer) if verdict is None else Outcome(None, verdict, verdict)
        self._kept[request.key] = outcome
        return outcome

    def kept(self, request: ChatRequest, check: Check) -> Outcome | None:
        return self._kept.get(request.key)


MANY = [{"response_id": f"r{number}", "text": f"Answer {number}."} for number in range(16)]
ROWS: list[dict[str, Any] | bytes] = [
    query("good"),
    b"{",
    query("cut", "cut.png"),
    query("outside", "../x.png"),
    query("marked", text="What does <video> do?"),
    query("long", text="<image>\nLong?"),
    query("other", text="Who?"),
    {**query("full", text="Full?"), "responses": MANY},
]


def run(folder: Path, *, invalid: float, failed: float) -> tuple[list[QueryRecord], dict[str, Any]]:
    source = Source(str(write_rows(folder / "in.jsonl", ROWS)))
    settings = EndpointSettings(name="m", base_url="http://localhost:1", model="m")
    inquiry = ResponseInquiry([settings], media_root=source.media_folders())
    report = InquiryReport()
    found = asyncio.run(
        run_inquiry(
            inquiry,
            lambda faults: stream_queries(source, faults),
            {"m": cast("Asker", Server(settings))},
            report=report,
            max_invalid_fraction=invalid,
            max_failed_fraction=failed,
        )
    )
    return list(found), report.to_dict()


def test_rows_and_questions_are_all_accounted_for(tmp_path: Path) -> None:
    found, report = run(tmp_path, invalid=0.7, failed=0.5)
    assert {one.record_id: [r.text for r in one.responses] for one in found} == {
        "good": ["To Which?"],
        "long": [],
        "other": ["To Who?"],
    }
    assert report["invalid"] == {
        "schema": 1, "media": 1, "markup": 1, "undecodable": 1, "too-many-responses": 1,
    }  # fmt: skip
    assert len(ROWS) == len(found) + sum(report["invalid"].values())
    assert (report["questions"], report["answered"]) == (4, 2)
    assert ["truncated" in line for line in report["failures"]] == [True]


def test_the_budget_of_rows_is_not_that_of_questions(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="4 of 8 rows are invalid") as early:
        run(tmp_path, invalid=0.2, failed=1.0)
    assert "row 2" in str(early.value)
    assert "row 4" in str(early.value)
    assert "row 8, field responses: record 'full': has 16 responses of others" in str(early.value)
    assert "row 5, field query.text: the text holds 1 marks <video>" in str(early.value)
    with pytest.raises(DataError, match="5 of 8 rows are invalid") as late:
        run(tmp_path, invalid=0.5, failed=1.0)
    assert "row 3, field media: is not a readable image" in str(late.value)
    with pytest.raises(EndpointError, match="1 of 4 questions have no usable answer"):
        run(tmp_path, invalid=0.7, failed=0.0)
