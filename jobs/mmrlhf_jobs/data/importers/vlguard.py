"""VLGuard: images with instructions that should be answered, and ones that should be refused.

A row is ``{"id", "image", "safe", "harmful_category", "harmful_subcategory", "instr-resp":
[...]}``. An unsafe image has one ``{"instruction", "response"}``; a safe one has a
``safe_instruction`` and an ``unsafe_instruction``, each with its ``response``. Nobody compared
responses there, so rows become queries, to be answered and ranked, with the response as their
reference answer.

Source: https://github.com/ys-zong/VLGuard (README and ``convert_to_llava_format.py``).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from mmrlhf_jobs.data.importers.marks import marked
from mmrlhf_jobs.data.importers.media_files import MediaFiles, row_images
from mmrlhf_jobs.data.importers.prompts import Message, make_prompt
from mmrlhf_jobs.data.importers.raw_rows import RawPairRow
from mmrlhf_jobs.data.importers.report import ImportReport
from mmrlhf_jobs.data.parts import Origin, Query
from mmrlhf_jobs.data.queries import QueryRecord, query_schema_for
from mmrlhf_jobs.data.records import record_id

__all__ = ["INSTRUCTIONS", "read_vlguard"]

INSTRUCTIONS: Final = ("instruction", "safe_instruction", "unsafe_instruction")
_USED: Final = frozenset({"id", "image", "instr-resp", "safe"})


def read_vlguard(row: RawPairRow, media: MediaFiles, report: ImportReport) -> Sequence[QueryRecord]:
    """Read a row: one query an instruction.

    Raises:
        RowFault: It is wrong or names a missing image.
    """
    report.ignore_others(row.fields, _USED)
    images = row_images(row, media)
    digests = [image.content_sha256 for image in images]
    name = row.name_of() or f"{row.file.rpartition('/')[2]}:{row.row}"
    queries = []
    entries = row.items("instr-resp")
    if not entries:
        raise row.error("instr-resp", "is missing or empty")
    for turn, entry in enumerate(entries):
        field = f"instr-resp[{turn}]"
        given = [one for one in INSTRUCTIONS if isinstance(entry, dict) and entry.get(one)]
        if len(given) != 1 or not isinstance(entry[given[0]], str):
            raise row.error(field, f"must have one of {', '.join(INSTRUCTIONS)}")
        where = f"{field}.{given[0]}"
        prompt = make_prompt(row, [Message("user", marked(entry[given[0]]), where)], images)
        response = entry.get("response")
        if not isinstance(response, str) or not response.strip():
            raise row.error(f"{field}.response", "is missing or empty")
        query = Query(text=prompt.text, reference_answer=response)
        queries.append(
            QueryRecord(
                schema=query_schema_for("safety", query, prompt.media),
                record_id=record_id(prompt.text, digests, parent_id=name, turn_index=turn),
                domain="safety",
                type=None,
                source=Origin(
                    row_id=name,
                    dataset="VLGuard",
                    split=given[0].removesuffix("_instruction"),
                    parent_id=name,
                    turn_index=turn,
                ),
                query=query,
                media=prompt.media,
            )
        )
    return queries
