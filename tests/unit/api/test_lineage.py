"""Walks back over records that are made up: what is told, and that each of them ends."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from mmrlhf_api.contents import Contents
from mmrlhf_api.lineage import Graph, Node, RunFound, State, Store, trace
from mmrlhf_api.origins import Origin, make_lineage, read_lineage


def manifest(name: str, *origins: Origin, **more: Any) -> dict[str, Any]:
    return {
        "job": {
            "kind": "StepJob",
            "metadata": {"name": name, "namespace": "n", "uid": f"uid-{name}"},
            "spec": {"step": "import", "artifacts": {"endpoint": f"http://{name}"}},
        },
        "files": [{"path": "media/1.png"}, {"path": "media/COMMITTED"}],
        "attempts": [{"endedAt": "2026-01-01"}],
        "lineage": make_lineage(origins, attempt=0),
        **more,
    }


def origin(uri: str, digest: str | None = "d", **more: Any) -> Origin:
    return Origin(
        **{"field": "data", "uri": uri, "content": "data", "by": "record", **more}, digest=digest
    )


@dataclass
class World:
    """Runs by the folder they are in, and what is elsewhere; every look is noted."""

    runs: dict[str, dict[str, Any]]
    there: dict[str, Contents] = field(default_factory=dict)
    gone: set[str] = field(default_factory=set)
    asked: list[tuple[str, Store]] = field(default_factory=list)

    def run_of(self, uri: str, store: Store) -> RunFound | None:
        self.asked.append((uri, store))
        folder = next((one for one in self.runs if uri.startswith(one)), None)
        return None if folder is None else RunFound(folder, self.runs[folder])

    def contents(self, origin: Origin, store: Store) -> Contents | None:
        if origin.uri.startswith("closed"):
            raise LookupError("no credentials")
        if origin.uri in self.gone:
            return None
        return self.there.get(origin.uri, Contents("d", "record", 1, 1))

    def trace(self, root: str, **more: Any) -> Graph:
        return trace(RunFound(root, self.runs[root]), self, **more)


def test_each_input_is_what_it_was_or_changed_or_gone_or_not_known() -> None:
    uris = ("same", "changed", "large", "closed", "silent")
    origins = [origin(uri, None if uri == "silent" else "d") for uri in uris]
    world = World({"run": manifest("a", *origins, origin("away", by="content"))}, gone={"away"})
    world.there = {
        "changed": Contents("e", "record", 1, 1),
        "large": Contents("d", "listing", 1, 1),
    }
    graph = world.trace("run")
    assert {edge.uri: (edge.state, edge.note) for edge in graph.edges} == {
        "same": (State.SAME, ""),
        "changed": (State.CHANGED, ""),
        "large": (State.UNREAD, ""),
        "closed": (State.UNKNOWN, "no credentials"),
        "silent": (State.UNKNOWN, "the record has no digest of it"),
        "away": (State.GONE, ""),
    }
    assert graph.states()[State.UNKNOWN] == 2
    root = graph.nodes["run"]
    assert root.title == "StepJob import n/a"
    assert dict(root.facts) == {"uid": "uid-a", "ended": "2026-01-01", "media": "1 files"}


def test_runs_are_followed_once_each_by_the_stores_of_those_who_read_from_them() -> None:
    world = World(
        {
            "policy/": manifest("policy", origin("data/x"), origin("judge/model")),
            "judge/": manifest("judge", origin("data/x")),
            "data/": manifest("data", origin("pictures", by="content")),
        }
    )
    graph = world.trace("policy/")
    assert [(edge.made, edge.origin) for edge in graph.edges] == [
        ("policy/", "data/"),
        ("policy/", "judge/"),
        ("data/", "pictures"),
        ("judge/", "data/"),
    ]
    assert [graph.nodes[uri].what for uri in graph.nodes] == ["run", "run", "run", "source"]
    assert ("pictures", Store("http://data")) in world.asked


def test_circles_and_long_chains_end() -> None:
    circle = World({"a/": manifest("a", origin("b/x")), "b/": manifest("b", origin("a/x"))})
    graph = circle.trace("a/")
    assert [(edge.made, edge.origin) for edge in graph.edges] == [("a/", "b/"), ("b/", "a/")]
    chain = World({f"{n:03}/": manifest(str(n), origin(f"{n + 1:03}/x")) for n in range(40)})
    graph = chain.trace("000/", depth=3)
    assert len(graph.nodes) == 4
    assert graph.nodes["003/"].notes == ("what it was made from is not shown: 1 more",)
    broad = World({f"{n:03}/": manifest(str(n)) for n in range(1, 700)})
    broad.runs["000/"] = manifest("0", *(origin(f"{n:03}/x") for n in range(1, 700)))
    assert len(broad.trace("000/").edges) == 699


def test_records_that_are_older_or_gone_say_so() -> None:
    old = manifest("old")
    del old["lineage"]
    lost = origin("lost/records", run="lost")
    world = World({"a/": manifest("a", origin("old/x"), lost), "old/": old})
    graph = world.trace("a/")
    assert "of an earlier version" in graph.nodes["old/"].notes[0]
    assert graph.nodes["lost/records"].notes == (
        "the record of the run that made it, lost, is gone",
    )


def test_an_alias_is_walked_from_as_a_run_is() -> None:
    world = World({"m/": manifest("m", origin("pictures"))})
    node = Node("aliases/a.json", "alias", "alias a")
    graph = trace(node, world, origins=[origin("m/model")], store=Store("http://here"))
    assert graph.root == "aliases/a.json"
    assert [edge.origin for edge in graph.edges] == ["m/", "pictures"]
    assert world.asked[0] == ("m/model", Store("http://here"))


def test_a_record_is_read_as_it_was_written_whatever_a_stranger_put_there() -> None:
    made = Origin("f", "u", "model", "d", "marker", 2, 30, "run", None)
    assert read_lineage({"lineage": make_lineage([made], attempt=2)}) == (made,)
    odd = {"inputs": [{"field": 1, "by": "magic", "bytes": True, "digest": {}}, 7]}
    assert read_lineage({"lineage": odd}) == (Origin("?", "?", "data"),)
    nothing: list[dict[str, Any]] = [{}, {"lineage": []}, {"lineage": {"inputs": "x"}}]
    assert [read_lineage(one) for one in nothing] == [None] * 3
