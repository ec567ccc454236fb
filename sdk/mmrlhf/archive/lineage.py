"""Where what is in stores comes from: the edges of `mmrlhf_api.lineage`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

from mmrlhf.archive.runs import ArchivedRun
from mmrlhf.archive.store import open_store, unreadable
from mmrlhf.errors import MmrlhfError, NotFoundError
from mmrlhf_api.contents import READ_BYTES, Contents, Found, find_contents, find_run
from mmrlhf_api.lineage import DEPTH, Graph, Node, RunFound, Store, trace
from mmrlhf_api.origins import Origin

__all__ = ["StoreReader", "trace_alias", "trace_uri"]

_QUICK: Final = 16 * 2**20
"""Sources that no run made are read anew up to this size, without being asked to."""


class StoreReader:
    """Reads records and contents, each record once.

    Args:
        store: Where the object store is, in place of what records say.
        check: Whether sources are read anew whatever their size, up to that which jobs read.
    """

    def __init__(self, store: Store | None = None, *, check: bool = False) -> None:
        self._store = store
        self._read_bytes = READ_BYTES if check else _QUICK
        self._runs: dict[str, Found | None] = {}

    def run_of(self, uri: str, store: Store) -> RunFound | None:
        """See `mmrlhf_api.lineage.Reader`."""
        fs, path = self._open(uri, store)
        found = self._find(fs, path)
        if found is None:
            return None
        local = "s3" not in fs.protocol
        # One run has one name here, however a record spells its address.
        folder = found.folder if local else str(fs.unstrip_protocol(found.folder))
        return RunFound(folder, found.manifest)

    def contents(self, origin: Origin, store: Store) -> Contents | None:
        """See `mmrlhf_api.lineage.Reader`."""
        fs, path = self._open(origin.uri, store)
        reads = origin.by != "listing" and origin.bytes <= self._read_bytes
        try:
            found = find_contents(
                fs,
                path,
                deep=origin.content == "model",
                read_bytes=READ_BYTES if reads else -1,
                within=lambda one: self._find(fs, one) if origin.by == "record" else None,
            )
        except LookupError:
            raise
        except Exception as error:
            raise LookupError(str(unreadable(origin.uri, error))) from error
        if found is None or origin.by == "listing" or found.by != "listing":
            return found
        same = (found.files, found.bytes) == (origin.files, origin.bytes)
        return replace(found, digest=(origin.digest or "") if same else found.digest)

    def _find(self, fs: Any, path: str) -> Found | None:  # noqa: ANN401 - of fsspec
        if path not in self._runs:
            try:
                self._runs[path] = find_run(fs, path)
            except Exception as error:
                raise LookupError(str(unreadable(path, error))) from error
        return self._runs[path]

    def _open(self, uri: str, store: Store) -> tuple[Any, str]:
        place = self._store or store
        try:
            return open_store(uri, endpoint=place.endpoint, region=place.region)
        except Exception as error:
            raise LookupError(str(unreadable(uri, error))) from error


def trace_uri(
    uri: str, *, store: Store | None = None, depth: int = DEPTH, check: bool = False
) -> Graph:
    """Where a run, or something that it left, comes from.

    Args:
        uri: The folder of a run, something in it, or a folder above it that holds no other run: a
            path, ``file://`` or ``s3://``.
        store: Where the object store is, in place of what records say.
        depth: Most runs in a row.
        check: Whether sources are read anew whatever their size.

    Raises:
        NotFoundError: It is no finished run, in none, and holds none or several.
        MmrlhfError: The store cannot be read.
    """
    reader = StoreReader(store, check=check)
    try:
        run = reader.run_of(uri.rstrip("/"), store or Store())
    except LookupError as error:
        raise MmrlhfError(str(error.args[0])) from error
    if run is None:
        place = store or Store()
        below = ArchivedRun(uri, endpoint=place.endpoint, region=place.region)
        run = RunFound(below.uri, below.manifest())
    return trace(run, reader, depth=depth)


def trace_alias(
    root: str, name: str, *, store: Store | None = None, depth: int = DEPTH, check: bool = False
) -> Graph:
    """Where what an alias stands for comes from, and why it does.

    Args:
        root: Folder of artifacts that holds the alias.
        name: Its name, such as ``default/vqa``.
        store: Where the object store is.
        depth: Most runs in a row.
        check: Whether sources are read anew whatever their size.

    Raises:
        NotFoundError: There is no such alias.
        MmrlhfError: The store cannot be read, or what is there is no alias.
    """
    uri = f"{root.rstrip('/')}/aliases/{name}.json"
    place = store or Store()
    try:
        fs, path = open_store(uri, endpoint=place.endpoint, region=place.region)
        text = fs.cat_file(path)
    except FileNotFoundError as error:
        raise NotFoundError(f"{root} has no alias {name!r}: there is no {uri}") from error
    except Exception as error:
        raise unreadable(uri, error) from error
    try:
        content = json.loads(text)
        node, origins = _alias(uri, name, content)
    except (KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
        raise MmrlhfError(f"{uri} is damaged: it is no alias ({error})") from error
    reader = StoreReader(store, check=check)
    return trace(node, reader, origins=origins, store=place, depth=depth)


def _alias(uri: str, name: str, content: Mapping[str, Any]) -> tuple[Node, list[Origin]]:
    """An alias as a node, and what it stands for: the artifact, and the report of the gate."""
    now = content["current"]
    cause = now["cause"]
    facts = [
        ("move", str(now["number"])),
        ("by", str(cause["by"])),
        ("since", str(now["since"])),
        ("reason", str(cause["reason"])),
    ]
    for entry in content["history"]:
        taken_back = ", taken back" if entry.get("withdrawn") else ""
        facts.append(
            (
                f"move {entry['number']}",
                f"{entry['uri']} by {entry['cause']['by']} on {entry['since']}{taken_back}",
            )
        )
    # An alias keeps no sizes; a model in a run is known by the record, another by its marker.
    origins = [Origin("artifact", str(now["uri"]), "model", str(now["digest"]), "record")]
    if cause.get("report") is not None:
        digest = cause.get("report_digest")
        origins.append(Origin("gate report", str(cause["report"]), "data", digest, "record"))
    return Node(uri, "alias", f"alias {name}", tuple(facts)), origins
