"""What tenants write arrives as written in their pods, and harms neither planner nor log."""

from __future__ import annotations

import io
import json
import logging
from datetime import datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmrlhf_api import parse_job
from mmrlhf_api.constants import CONTAINER
from mmrlhf_operator.config import OperatorConfig
from mmrlhf_operator.kube.log_lines import JsonLines, SafeLines
from mmrlhf_operator.rendering.manifests import pod
from mmrlhf_operator.state.pods import PodView
from mmrlhf_operator.state.store import Key
from tests.unit.operator.world import job_body, running


def expand(text: str) -> str:
    """What a container gets of a value: ``third_party/forked/golang/expansion`` of Kubernetes."""
    known = {"HOME": "/tmp"}
    out, place = "", 0
    while place < len(text):
        follower = text[place + 1 : place + 2]
        if text[place] != "$" or not follower:
            out, place = out + text[place], place + 1
        elif follower == "$":
            out, place = out + "$", place + 2
        elif follower == "(" and (end := text.find(")", place + 2)) >= 0:
            name = text[place + 2 : end]
            out, place = out + known.get(name, f"$({name})"), end + 1
        else:
            out, place = out + "$" + follower, place + 2
    return out


def rendered(value: str) -> str:
    env = [{"name": "V", "value": value}]
    job = parse_job(job_body(podTemplate={"env": env}), source="x")
    config = OperatorConfig.model_validate({"images": {"MMDPOJob": "example.org/train:1"}})
    (container,) = pod(job, attempt=0, index=0, config=config)["spec"]["containers"]
    return str(next(entry["value"] for entry in container["env"] if entry["name"] == "V"))


@settings(max_examples=25, deadline=None)
@given(st.text("$(){}HOMEa ", max_size=12))
def test_a_value_arrives_as_written(value: str) -> None:
    assert expand(rendered(value)) == value


@pytest.mark.parametrize(
    "value", ["$(HOME)", "$$(HOME)", "a$$b", "$", "cost $5", "${HOME}", "$$$(HOME)"]
)
def test_values_of_the_kubelet_arrive_as_written(value: str) -> None:
    assert expand(rendered(value)) == value


@pytest.mark.parametrize(
    "message", ["[" * 4000, '{"a":' * 600, '{"message": ' + "[" * 900 + "]" * 900 + "}", "9" * 5000]
)
def test_a_termination_message_of_any_depth_ends_the_attempt(message: str) -> None:
    world = running(runPolicy={"maxRestarts": 0}, resources__nodes=1)
    (name,) = [one.name for one in world.observed.pods]
    world.finish(name, 1, message=message)
    world.settle()
    assert world.status["phase"] == "Failed"
    assert world.status["reason"] == "ApplicationError"


def test_messages_of_pods_steer_nothing() -> None:
    body = {
        "metadata": {
            "name": "a",
            "uid": "u",
            "creationTimestamp": "2026-01-01T00:00:00Z",
            "labels": {"mmrlhf.io/attempt": "0", "mmrlhf.io/index": "0"},
        },
        "status": {
            "message": "\x1b[2J",
            "containerStatuses": [
                {
                    "name": CONTAINER,
                    "state": {"terminated": {"exitCode": 1, "message": "a\n\x1b]0;b\x07\u202e"}},
                }
            ],
        },
    }
    view = PodView.read(body)
    assert view is not None
    assert view.end is not None
    assert (view.message, view.end.message) == (r"\x1b[2J", "a\n" + r"\x1b]0;b\x07\u202e")


def test_a_record_of_the_log_is_one_line_and_its_traceback_steers_nothing() -> None:
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(SafeLines("%(levelname)s %(message)s"))
    logger = logging.getLogger("tests.foreign_words")
    logger.propagate = False
    logger.addHandler(handler)
    try:
        raise ValueError("\x1b[2J")  # noqa: TRY301
    except ValueError:
        logger.exception("a\nINFO b\x1b[8m")
    first, *rest = stream.getvalue().splitlines()
    assert first == r"ERROR a\nINFO b\x1b[8m"
    assert rest[0].startswith("Traceback")
    assert rest[-1] == r"ValueError: \x1b[2J"


def test_a_record_as_json_has_its_job_and_nothing_that_hangs_on_it() -> None:
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(JsonLines(Key))
    logger = logging.getLogger("tests.json_lines")
    logger.propagate = False
    logger.addHandler(handler)
    key = Key("MMDPOJob", "team", "a\x1b[8m")
    try:
        raise ValueError("\x1b[2J")  # noqa: TRY301
    except ValueError:
        logger.exception("%s: lost\nline", key, extra={"headers": "Bearer hunter2"})
    logger.warning("100%")
    first, second = map(json.loads, stream.getvalue().splitlines())
    assert datetime.fromisoformat(first.pop("time")).tzinfo is not None
    assert first.pop("error").splitlines()[-1] == r"ValueError: \x1b[2J"
    assert first == {
        "level": "ERROR",
        "logger": "tests.json_lines",
        "message": r"MMDPOJob team/a\x1b[8m: lost\nline",
        "job": {"kind": "MMDPOJob", "namespace": "team", "name": r"a\x1b[8m"},
    }
    assert second.keys() == {"time", "level", "logger", "message"}
    assert "hunter2" not in stream.getvalue()
