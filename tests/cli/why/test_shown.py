"""An answer on a terminal of 80 columns, and as data."""

from __future__ import annotations

import json

import pytest
import yaml

from mmrlhf_api.plain_text import make_safe
from mmrlhfctl.diagnosis.answers import Answer, Cause, Certainty, Evidence, Topic, Unread
from mmrlhfctl.diagnosis.explanation import explain
from mmrlhfctl.text.answers import answer_data, answer_lines
from mmrlhfctl.text.output import json_text, yaml_text
from tests.cli.remote.specimens import NOW, ago, event, job
from tests.cli.test_foreign_text import EVIL
from tests.cli.why.worlds import gpu_pod, load, node, world

SAYS = "0/4 nodes are available: 4 Insufficient nvidia.com/gpu."


def test_fragments_as_a_person_sees_them() -> None:
    facts = world(
        pods=(gpu_pod(0, said=SAYS), gpu_pod(1, said=SAYS)),
        nodes=tuple(node(name) for name in "abcd"),
        loads=tuple(load(name, 4) for name in "abcd"),
        events=(event("digits-0-0", "FailedScheduling", SAYS, count=14),),
        reason="Unschedulable",
        status={"message": "2 of 2 pods have no node"},
        unread=(
            Unread(
                what="the operator's signs of life",
                why="user jane may not list leases.coordination.k8s.io in the whole cluster",
                right="list leases.coordination.k8s.io (cluster)",
            ),
        ),
    )
    assert answer_lines(facts.job, explain(facts), NOW) == [
        "MMDPOJob vision/digits: it is Pending (Unschedulable), because:",
        "",
        "1. certain: 16 nvidia.com/gpu are free, but no node has 8 nvidia.com/gpu",
        "   do:   wait for a whole node, or submit the job with less per node on more",
        "         nodes",
        "   see:  docs/troubleshooting.md#unschedulable",
        "   seen: pod/digits-0-0: FailedScheduling: 0/4 nodes are available: 4",
        "         Insufficient nvidia.com/gpu. (2m ago, 14 times)",
        "   seen: holder/vision/other: holds 16 nvidia.com/gpu",
        "",
        "Also:",
        "  the operator says: 2 of 2 pods have no node",
        "",
        "Could not look at:",
        "  the operator's signs of life: user jane may not list",
        "    leases.coordination.k8s.io in the whole cluster (needs: list",
        "    leases.coordination.k8s.io (cluster))",
    ]


def _evil(text: str) -> Answer:
    evidence = Evidence(thing=text, text=f"{text} " * 30, count=2)
    causes = tuple(
        Cause(
            topic=Topic.IMAGE,
            certainty=certainty,
            text=text * 3,
            fix=text,
            section="Queued",
            evidence=(evidence,) * 12,
        )
        for certainty in Certainty
    )
    unread = Unread(what=text, why=text, right=text)
    return Answer(headline=text, causes=causes, facts=(text,), unread=(unread,))


@pytest.mark.parametrize("text", EVIL)
def test_words_of_others_steer_nothing_and_break_no_line(text: str) -> None:
    lines = answer_lines(job(), _evil(text), NOW)
    assert all(make_safe(line) == line for line in lines)
    assert max(map(len, lines)) <= 80
    coloured = answer_lines(job(), _evil(text), NOW, colours=True)
    assert [line for line in coloured if make_safe(line) != line] == [
        line for line in coloured if "\x1b[" in line
    ]
    data = answer_data(job(), _evil(text))
    for form in (json_text(data), yaml_text(data)):
        assert make_safe(form, lines=True) == form
    assert json.loads(json_text(data)) == data
    if text != "\ud800":  # YAML has no lone surrogates
        assert yaml.safe_load(yaml_text(data)) == data


def test_data_has_all_the_evidence_and_when_it_was_seen() -> None:
    facts = world(
        pods=(gpu_pod(0, said=SAYS),), events=(event("digits-0-0", "FailedScheduling", SAYS),)
    )
    data = answer_data(facts.job, explain(facts))
    assert data["job"]["kind"] == "MMDPOJob"
    (cause,) = data["causes"]
    assert cause["topic"] == "NoRoom"
    assert cause["certainty"] == "certain"
    assert cause["see"] == "docs/troubleshooting.md#unschedulable"
    (seen,) = cause["evidence"]
    assert seen["object"] == "pod/digits-0-0"
    assert seen["lastSeen"] == ago(minutes=2).replace("Z", "+00:00")
    assert seen["count"] == 1
