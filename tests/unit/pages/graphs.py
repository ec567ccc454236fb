"""A made-up graph from annotation to alias, for the tests of its page and to look at."""

from __future__ import annotations

import hashlib

from mmrlhf_api.lineage import Edge, Graph, Node, State

__all__ = ["GRAPH"]

_S = "s3://runs/vision"


def _run(kind: str, name: str, **facts: str) -> Node:
    known = {"uid": f"uid-{name}", "ended": "2026-11-29T10:12:44+00:00", **facts}
    return Node(f"{_S}/{name}/uid", "run", f"{kind} vision/{name}", tuple(known.items()))


_ALIAS = Node(
    "s3://runs/aliases/default/vqa.json",
    "alias",
    "alias default/vqa",
    (("move", "7"), ("by", "gate"), ("since", "2026-11-29T10:20:00Z"), ("reason", "judge: better")),
)
_NODES = (
    _ALIAS,
    _run("MMDPOJob", "align-47", image="registry.example.org/train@sha256:ab12"),
    _run("StepJob gate", "align-47-gate", verdict="Promoted"),
    _run("StepJob score", "align-47-score"),
    _run("StepJob compare", "align-47-compare"),
    _run("StepJob answers", "align-47-answers"),
    _run("RewardTrainJob", "judge-47"),
    _run("StepJob annotate-import", "rankings-47"),
    _run("StepJob annotate-export", "to-rank-47"),
    _run("ClusterSampleJob", "choose-46", media="30000 files"),
    Node("s3://in/answers-47.json", "source", "answers-47.json", (("files", "1"), ("bytes", "9"))),
    Node("s3://in/corpus", "source", "corpus", (("files", "120"), ("bytes", "9"))),
    Node("s3://base/clip", "source", "clip", (("files", "7"), ("bytes", "605000000"))),
    Node("s3://base/llava", "source", "llava", (), ("<script>alert(1)</script>",)),
)
_AT = {node.uri.removeprefix(f"{_S}/").removesuffix("/uid"): node.uri for node in _NODES}


def _edge(made: str, role: str, origin: str, state: State = State.SAME, *, note: str = "") -> Edge:
    uri = _AT.get(origin, origin)
    digest = None if state is State.UNKNOWN else hashlib.sha256(uri.encode()).hexdigest()
    return Edge(_AT.get(made, made), uri, role, f"{uri}/x", digest, state, note)


GRAPH = Graph(
    _ALIAS.uri,
    {node.uri: node for node in _NODES},
    (
        _edge(_ALIAS.uri, "artifact", "align-47"),
        _edge(_ALIAS.uri, "gate report", "align-47-gate"),
        _edge("align-47", "model.uri", "s3://base/llava", State.UNREAD),
        _edge("align-47", "data.train.uri", "rankings-47"),
        _edge("align-47", "reward.scoresUri", "align-47-score"),
        _edge("align-47-gate", "gate.verdicts", "align-47-compare"),
        _edge("align-47-gate", "gate.artifact", "align-47"),
        _edge("align-47-score", "score.data", "rankings-47"),
        _edge("align-47-score", "score.model", "judge-47", State.CHANGED),
        _edge("align-47-compare", "compare.candidate", "align-47-answers"),
        _edge("align-47-compare", "compare.reward", "judge-47", State.CHANGED),
        _edge("align-47-answers", "answers.policy", "align-47"),
        _edge("judge-47", "model.uri", "s3://base/llava", State.UNREAD),
        _edge("judge-47", "data.train.uri", "rankings-47"),
        _edge("rankings-47", "annotateImport.answers", "s3://in/answers-47.json", State.GONE),
        _edge("rankings-47", "annotateImport.key", "to-rank-47"),
        _edge("to-rank-47", "annotateExport.queries", "choose-46"),
        _edge("choose-46", "embedding.model.uri", "s3://base/clip"),
        _edge(
            "choose-46", "sources[0].uri", "s3://in/corpus", State.UNKNOWN, note="no credentials"
        ),
    ),
)
