"""Kubeconfigs, read and merged as kubectl does.

Of several files the first one that has a name, or names the current context, wins; relative paths
start from the file that they stand in (kubernetes.io/docs/concepts/configuration/
organize-cluster-access-kubeconfig).
"""

from __future__ import annotations

import base64
import binascii
import difflib
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import yaml

from mmrlhf.errors import UsageError

__all__ = ["Entry", "Kubeconfig", "KubeconfigError", "read_kubeconfig"]

_PARTS: Final = {"clusters": "cluster", "contexts": "context", "users": "user"}
_DEEPEST = 100
"""Levels of a document; none that is meant has ten."""
_BEGINNING: Final = re.compile(r"[ \t]*(?:[-?:][ \t]+)*")
"""What begins a line: its indentation, and the lists and mappings that open on it."""
_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
"""The one of libyaml where PyYAML has it: ten times as fast, in a file of many clusters."""


class KubeconfigError(Exception):
    """A kubeconfig says what cannot be understood, or followed."""


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A cluster, a context or a user.

    Attributes:
        what: What it is, and its name, for messages.
        body: What stands there.
        folder: Folder of its file, from where relative paths start.
    """

    what: str
    body: Mapping[str, Any]
    folder: Path

    def text(self, name: str) -> str | None:
        """Return a text; None where there is none, or an empty one.

        Raises:
            KubeconfigError: It is something else.
        """
        value = self.body.get(name)
        if value is not None and not isinstance(value, str):
            raise KubeconfigError(f"{self.what}: {name} is no text")
        return value or None

    def mapping(self, name: str) -> Mapping[str, Any] | None:
        """Return a mapping; None where there is none.

        Raises:
            KubeconfigError: It is something else.
        """
        value = self.body.get(name)
        if value is not None and not isinstance(value, Mapping):
            raise KubeconfigError(f"{self.what}: {name} is no mapping")
        return value or None

    def path(self, name: str) -> Path | None:
        """Return the path of a file that is named; None where none is."""
        text = self.text(name)
        return None if text is None else self.folder / text

    def data(self, name: str) -> bytes | None:
        """Return what stands in base64 under ``NAME-data``, or else in the file of that name.

        Raises:
            KubeconfigError: It is no base64, or there is no such file.
        """
        text = self.text(f"{name}-data")
        if text is not None:
            try:
                return base64.b64decode("".join(text.split()), validate=True)
            except binascii.Error as error:
                raise KubeconfigError(f"{self.what}: {name}-data is no base64: {error}") from error
        path = self.path(name)
        if path is None:
            return None
        try:
            return path.read_bytes()
        except OSError as error:
            raise KubeconfigError(f"{self.what}: {name} {path}: {error.strerror}") from error


@dataclass(frozen=True, kw_only=True)
class Kubeconfig:
    """What one or several files say together.

    Attributes:
        source: Their paths, as they were given.
        current: Name of the current context; None where no file has one.
        parts: Clusters, contexts and users by their name.
    """

    source: str
    current: str | None
    parts: Mapping[str, Mapping[str, Entry]] = field(repr=False)

    def context(self, name: str | None) -> tuple[str, Entry]:
        """Return a context and its name; the current one where none is named.

        Raises:
            UsageError: There is none of that name; says what is near.
        """
        contexts = self.parts["contexts"]
        wanted = self.current if name is None else name
        if wanted is not None and wanted in contexts:
            return wanted, contexts[wanted]
        close = difflib.get_close_matches(wanted or "", contexts, n=1)
        hint = f"did you mean {close[0]}?" if close else f"there are {_list(contexts)}"
        if name is not None:
            raise UsageError(
                f"context {name}: {self.source} has no such context; {hint}", argument="context"
            )
        if wanted is None:
            raise UsageError(f"kubeconfig {self.source}: current-context is not set; {hint}")
        raise UsageError(
            f"kubeconfig {self.source}: there is no context {wanted}, its current-context; {hint}"
        )

    def entry(self, part: str, name: str | None, *, of: Entry) -> Entry | None:
        """Return the cluster or the user that a context names; None where it names none.

        Raises:
            KubeconfigError: There is none of that name.
        """
        if name is None:
            return None
        found = self.parts[part].get(name)
        if found is None:
            raise KubeconfigError(
                f"{of.what} names {_PARTS[part]} {name}, and there is none of that name"
            )
        return found

    def plain(self) -> dict[str, Any]:
        """Return all as one file would have it."""
        return {
            part: [{"name": name, _PARTS[part]: dict(one.body)} for name, one in found.items()]
            for part, found in self.parts.items()
        } | {"current-context": self.current}


def read_kubeconfig(source: str) -> Kubeconfig:
    """Read the file or files of a kubeconfig; those that are not there are left out.

    Args:
        source: A path, or several as in ``KUBECONFIG``.

    Raises:
        KubeconfigError: One cannot be understood.
        OSError: One cannot be read.
    """
    parts: dict[str, dict[str, Entry]] = {part: {} for part in _PARTS}
    current: str | None = None
    for path in _paths(source):
        document = _parse(path)
        current = current or str(document.get("current-context") or "") or None
        for part, found in parts.items():
            for name, entry in _entries(document, part, path.parent):
                found.setdefault(name, entry)
    return Kubeconfig(source=source, current=current, parts=parts)


def _paths(source: str) -> Iterator[Path]:
    for text in source.split(os.pathsep):
        path = Path(text).expanduser()
        if text and path.exists():
            yield path


def _parse(path: Path) -> Mapping[str, Any]:
    text = path.read_text(encoding="utf-8")
    try:
        _refuse_depth(text)
        document = yaml.load(text, Loader=_LOADER)  # noqa: S506 - a safe one
    except yaml.YAMLError as error:
        raise KubeconfigError(str(error)) from error
    if document is None:
        return {}
    if not isinstance(document, Mapping):
        raise KubeconfigError(f"{path} holds no mapping")
    return document


def _refuse_depth(text: str) -> None:
    """Refuse what is nested without end, with which libyaml would end the process."""
    if _greatest_depth(text) <= _DEEPEST:
        return
    depth = 0
    for event in yaml.parse(text, Loader=_LOADER):
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        if depth > _DEEPEST:
            raise KubeconfigError("it is nested too deeply")


def _greatest_depth(text: str) -> int:
    """Return a depth that a document cannot exceed, without reading it as YAML, which takes long.

    A column begins a list and a mapping of blocks at most, and they are no further to the right
    than their line; a mapping may follow what marks its type. All others have a bracket each.
    """
    columns = max((_length(line) for line in text.splitlines()), default=0)
    return 2 * (columns + 1) + 1 + text.count("[") + text.count("{")


def _length(line: str) -> int:
    found = _BEGINNING.match(line)
    return 0 if found is None else found.end()


def _entries(document: Mapping[str, Any], part: str, folder: Path) -> Iterator[tuple[str, Entry]]:
    listed = document.get(part) or ()
    if not isinstance(listed, list | tuple):
        raise KubeconfigError(f"{part} is no list")
    for one in listed:
        if not isinstance(one, Mapping) or "name" not in one:
            raise KubeconfigError(f"{part} has an entry without a name")
        name, body = str(one["name"]), one.get(_PARTS[part]) or {}
        what = f"{_PARTS[part]} {name}"
        if not isinstance(body, Mapping):
            raise KubeconfigError(f"{what} is no mapping")
        yield name, Entry(what=what, body=body, folder=folder.absolute())


def _list(names: Iterable[str]) -> str:
    return ", ".join(names) or "none"
