"""Records with comments, and what the expanding model says of them."""

from __future__ import annotations

from typing import Any

from mmrlhf_jobs.data.records import RankedResponse
from tests.unit.data.builders import make_fields

__all__ = ["EXPANSIONS", "commented_records"]

_COMMENTS = {
    "r0": (
        ("The colour is right.", "The colour that it names is right and plain to see."),
        ("Wrong shape.", "It names a wrong shape, so it misleads."),
    ),
    "r1": (
        ("Counts the dogs correctly.", "It counts all dogs correctly and says so clearly."),
        ("Misses one dog.", "It misses one dog of those shown, which is wrong."),
    ),
    "r2": (
        ("Reads the sign well.", "It reads the whole sign well and leaves out nothing."),
        ("Refuses without reason.", "It refuses to reply, without any reason given."),
    ),
}
EXPANSIONS = {name: [long for _, long in pairs] for name, pairs in _COMMENTS.items()}
"""Expansions of each record's comments, in the order of its responses."""


def commented_records() -> list[RankedResponse]:
    """Three records of two responses, each with a comment."""
    records = []
    for name, pairs in _COMMENTS.items():
        fields: dict[str, Any] = make_fields(name, query={"text": f"What of {name}?"})
        for response, (comment, _) in zip(fields["responses"], pairs, strict=True):
            response["critique"] = {"human": comment}
        records.append(RankedResponse.model_validate(fields))
    return records
