"""From an artifact back to what it was made from, run by run, as their records say it.

A walk over records, which it is given a reader of: it decides nothing by a clock and writes
nothing. What a record says of its inputs is compared with what is there now.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final, Literal, Protocol

from mmrlhf_api.contents import Contents
from mmrlhf_api.kinds.registry import KINDS
from mmrlhf_api.origins import Origin, read_lineage

__all__ = ["DEPTH", "Edge", "Graph", "Node", "Reader", "RunFound", "State", "Store", "trace"]

DEPTH: Final = 20
"""How far a walk goes if nobody says otherwise: far more than any chain of steps is long."""
_MOST: Final = 500
"""Most nodes of a graph."""


class State(StrEnum):
    """What is there now of what a run was made from."""

    SAME = "same"
    CHANGED = "changed since"
    GONE = "gone"
    UNREAD = "not read"
    """As large as it was; whether it holds the same was not looked at."""
    UNKNOWN = "unknown"
    """The record has no digest of it, or it cannot be looked at from here."""


@dataclass(frozen=True)
class Store:
    """Where the object store of a run's URIs is.

    Attributes:
        endpoint: URL of an S3-compatible service; None is AWS itself.
        region: Its region.
    """

    endpoint: str | None = None
    region: str | None = None


@dataclass(frozen=True)
class RunFound:
    """A finished run.

    Attributes:
        uri: Its folder.
        manifest: Its record.
    """

    uri: str
    manifest: Mapping[str, Any]

    @property
    def store(self) -> Store:
        """The store that its job was told of."""
        artifacts = _mapping(_mapping(self.manifest["job"], "spec"), "artifacts")
        return Store(_text(artifacts, "endpoint"), _text(artifacts, "region"))


class Reader(Protocol):
    """Reads stores. What cannot be read is an error of its own, with a message for people."""

    def run_of(self, uri: str, store: Store) -> RunFound | None:
        """The run whose record is at a URI or above it."""

    def contents(self, origin: Origin, store: Store) -> Contents | None:
        """What is where an input was, found as its digest was; None if nothing is there.

        The digest is that of the `Origin` where it was not looked at and the sizes are the same,
        with ``by`` as ``listing``.

        Raises:
            LookupError: It cannot be looked at from here.
        """


@dataclass(frozen=True)
class Node:
    """Something that lineage names.

    Attributes:
        uri: The folder of a run, or where a source is; of an alias, its object.
        what: What it is.
        title: What it is called.
        facts: What else is known of it, by name.
        notes: What is wrong with it, or cut off here.
    """

    uri: str
    what: Literal["alias", "run", "source"]
    title: str
    facts: tuple[tuple[str, str], ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Edge:
    """That one thing was made from another.

    Attributes:
        made: URI of the node that was made.
        origin: URI of the node that it was made from.
        role: The field that names it, such as ``data.train.uri``.
        uri: What of that node it was.
        digest: Of what it held then; None where that is not known.
        state: What is there now.
        note: Why the state is not known.
    """

    made: str
    origin: str
    role: str
    uri: str
    digest: str | None
    state: State
    note: str = ""


@dataclass(frozen=True)
class Graph:
    """Where something comes from.

    Attributes:
        root: What was asked about.
        nodes: All of it, by URI, from the root back.
        edges: Who was made from what.
    """

    root: str
    nodes: Mapping[str, Node]
    edges: tuple[Edge, ...]

    def origins(self, uri: str) -> tuple[Edge, ...]:
        """What a node was made from, in the order of its record."""
        return tuple(edge for edge in self.edges if edge.made == uri)

    def states(self) -> dict[State, int]:
        """How often each state is there."""
        found = [edge.state for edge in self.edges]
        return {state: found.count(state) for state in State if state in found}


def trace(
    root: Node | RunFound,
    reader: Reader,
    *,
    origins: Sequence[Origin] = (),
    store: Store = Store(),
    depth: int = DEPTH,
) -> Graph:
    """Walk back from a run, or from something that no run made, such as an alias.

    Each run is looked at once, so that records that name each other in a circle end the walk too.

    Args:
        root: Where to begin.
        reader: Reads records, and what is there now.
        origins: What a root was made from that is no run.
        store: Where that is.
        depth: Most runs in a row.
    """
    walk = _Walk(reader, depth)
    if isinstance(root, RunFound):
        return walk.graph(root.uri, walk.node_of(root), read_lineage(root.manifest), root.store)
    return walk.graph(root.uri, root, tuple(origins), store)


class _Walk:
    def __init__(self, reader: Reader, depth: int) -> None:
        self._reader = reader
        self._depth = depth
        self._nodes: dict[str, Node] = {}
        self._edges: list[Edge] = []
        self._waiting: deque[tuple[str, tuple[Origin, ...], Store, int]] = deque()

    def graph(
        self, uri: str, node: Node, origins: tuple[Origin, ...] | None, store: Store
    ) -> Graph:
        self._nodes[uri] = node
        self._waiting.append((uri, origins or (), store, 0))
        while self._waiting:
            made, named, place, level = self._waiting.popleft()
            for origin in named:
                self._follow(made, origin, place, level)
        return Graph(uri, self._nodes, tuple(self._edges))

    def _follow(self, made: str, origin: Origin, store: Store, level: int) -> None:
        state, note = self._state(origin, store)
        run, lost = self._run(origin, store)
        uri = origin.uri if run is None else run.uri
        self._edges.append(Edge(made, uri, origin.field, origin.uri, origin.digest, state, note))
        if uri in self._nodes:
            return
        if run is None:
            self._nodes[uri] = _source(origin, lost)
            return
        node = self.node_of(run)
        origins = read_lineage(run.manifest) or ()
        if origins and (level + 1 >= self._depth or len(self._nodes) >= _MOST):
            cut = f"what it was made from is not shown: {len(origins)} more"
            self._nodes[uri] = Node(uri, "run", node.title, node.facts, (*node.notes, cut))
            return
        self._nodes[uri] = node
        self._waiting.append((uri, origins, run.store, level + 1))

    def _state(self, origin: Origin, store: Store) -> tuple[State, str]:
        if origin.digest is None:
            return State.UNKNOWN, origin.why or "the record has no digest of it"
        try:
            found = self._reader.contents(origin, store)
        except LookupError as error:
            return State.UNKNOWN, str(error.args[0] if error.args else error)
        if found is None:
            return State.GONE, ""
        if found.digest != origin.digest:
            return State.CHANGED, ""
        unread = found.by == "listing" and origin.by != "listing"
        return (State.UNREAD if unread else State.SAME), ""

    def _run(self, origin: Origin, store: Store) -> tuple[RunFound | None, str]:
        """The run that made an input, and what is wrong with it."""
        try:
            run = self._reader.run_of(origin.uri, store)
        except LookupError as error:
            return None, str(error.args[0] if error.args else error)
        if run is None and origin.run is not None:
            return None, f"the record of the run that made it, {origin.run}, is gone"
        return run, ""

    @staticmethod
    def node_of(run: RunFound) -> Node:
        """A run as a node."""
        job = run.manifest["job"]
        meta, spec = _mapping(job, "metadata"), _mapping(job, "spec")
        kind = _text(job, "kind") or "job"
        namespace, name = _text(meta, "namespace") or "default", _text(meta, "name") or "?"
        words = [column.read(spec) for column in KINDS[kind].spec_columns] if kind in KINDS else []
        title = " ".join(filter(None, (kind, *words, f"{namespace}/{name}")))
        attempts = run.manifest.get("attempts")
        last = attempts[-1] if isinstance(attempts, list) and attempts else {}
        environment = _mapping(run.manifest, "environment")
        verdict = _mapping(run.manifest, "verdict")
        facts = {
            "uid": _text(meta, "uid"),
            "ended": _text(last, "endedAt") if isinstance(last, Mapping) else None,
            "spec": _text(run.manifest, "specDigest"),
            "image": _text(environment, "image"),
            "mmrlhf": _text(_mapping(environment, "packages"), "mmrlhf"),
            "verdict": _text(verdict, "word"),
            "media": _media(run.manifest),
        }
        notes: tuple[str, ...] = ()
        if read_lineage(run.manifest) is None:
            notes = ("its record does not name what it was made from: it is of an earlier version",)
        known = tuple((key, value) for key, value in facts.items() if value is not None)
        return Node(run.uri, "run", title, known, notes)


def _source(origin: Origin, lost: str) -> Node:
    name = origin.uri.rstrip("/").rpartition("/")[2]
    facts = (("files", str(origin.files)), ("bytes", str(origin.bytes))) if origin.files else ()
    return Node(origin.uri, "source", name, facts, (lost,) if lost else ())


def _media(manifest: Mapping[str, Any]) -> str | None:
    """How many pictures a run left beside its records, each by its digest in the record."""
    files = manifest.get("files")
    names = [one.get("path") for one in files if isinstance(one, Mapping)] if files else []
    media = [one for one in names if isinstance(one, str) and one.startswith("media/")]
    media = [one for one in media if not one.endswith("/COMMITTED")]
    return f"{len(media)} files" if media else None


def _mapping(value: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    found = value.get(name)
    return found if isinstance(found, Mapping) else {}


def _text(value: Mapping[str, Any], name: str) -> str | None:
    found = value.get(name)
    return str(found) if isinstance(found, str | int) and not isinstance(found, bool) else None
