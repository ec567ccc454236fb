"""A spec has a bound on a cluster, where others keep it too, and none on one's own machine."""

from __future__ import annotations

from typing import Any

import pytest

from mmrlhf_api import JobFileError, parse_job
from mmrlhf_api.sizes import MAX_SPEC_BYTES, size_problem, spec_size
from tests.unit.api.specimens import changed


def sized(size: int, letter: str = "v") -> dict[str, Any]:
    """A valid job whose spec has that many bytes as JSON."""
    body = changed("MMDPOJob", artifacts__uri="s3://bucket/runs", podTemplate={"env": []})
    env = body["spec"]["podTemplate"]["env"]
    while (left := size - spec_size(body["spec"])) > 0:
        entry = {"name": f"E{len(env)}", "value": ""}
        env.append(entry)
        room = size - spec_size(body["spec"])
        entry["value"] = letter * min(
            32_000 // len(letter.encode()), max(0, room) // len(letter.encode())
        )
        if left < 40:
            break
    return body


@pytest.mark.parametrize("letter", ["v", "ü", "語"])
def test_up_to_the_bound_it_is_taken(letter: str) -> None:
    body = sized(MAX_SPEC_BYTES - 100, letter)
    assert MAX_SPEC_BYTES - 200 < spec_size(body["spec"]) <= MAX_SPEC_BYTES
    parse_job(body, source="job", in_cluster=True)
    body["spec"]["podTemplate"]["env"].append({"name": "MORE", "value": "v" * 300})
    with pytest.raises(JobFileError) as caught:
        parse_job(body, source="job", in_cluster=True)
    (problem,) = caught.value.problems
    assert problem.field == "spec"
    assert f"at most {MAX_SPEC_BYTES:,}" in problem.message
    parse_job(body, source="job")


def test_it_is_said_before_anything_else_is_looked_at() -> None:
    body = sized(10 * MAX_SPEC_BYTES)
    body["spec"]["nonsense"] = {"deep": ["x" * 1000] * 1000}
    with pytest.raises(JobFileError) as caught:
        parse_job(body, source="job", in_cluster=True)
    assert len(caught.value.problems) == 1


def test_the_bound_is_of_bytes() -> None:
    assert spec_size({"a": "ü"}) == len('{"a":"ü"}'.encode())
    assert spec_size({"a": "\ud800"}) == 11
    assert size_problem(MAX_SPEC_BYTES) is None
    assert size_problem(MAX_SPEC_BYTES + 1) is not None
