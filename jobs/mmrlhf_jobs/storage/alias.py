"""Aliases: names in a store that stand for one artifact at a time, with what they stood for before.

An alias is one object, ``<store>/aliases/<name>.json``, which `mmrlhf_jobs.storage.switch` changes
at once: a reader sees what it stood for before or what it stands for now. It names an artifact by
URI and by the digest of all that it holds. History is never rewritten but for one mark: what a
rollback has taken back is ``withdrawn``, so that the next one goes further back.
"""

from __future__ import annotations

import json
import re
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from typing import Any, Final, Literal, Self
from uuid import uuid4

from mmrlhf_api.steps.gate import ALIAS_PATTERN, alias_uri, is_alias
from mmrlhf_jobs.errors import DamagedError, InputError, RunError
from mmrlhf_jobs.storage.artifacts import ArtifactStore
from mmrlhf_jobs.storage.marker import MARKER, digest_of_files
from mmrlhf_jobs.storage.marks import keep
from mmrlhf_jobs.storage.switch import State, Switch
from mmrlhf_jobs.storage.uris import StorageOptions, parent_uri

__all__ = [
    "HISTORY",
    "Alias",
    "AliasStore",
    "Cause",
    "Entry",
    "artifact_digest",
    "find_digest",
    "stands_for",
]

HISTORY: Final = 100
"""Entries that are kept besides the one that holds; older ones are dropped."""
_NAME: Final = re.compile(ALIAS_PATTERN)


@dataclass(frozen=True)
class Cause:
    """What moved an alias.

    Attributes:
        by: A gate that promoted, a person who did, or a rollback.
        reason: Why, in a sentence.
        report: URI of the gate's report; None without one.
        report_digest: SHA-256 of that report.
    """

    by: Literal["gate", "promote", "rollback"]
    reason: str
    report: str | None = None
    report_digest: str | None = None


@dataclass(frozen=True)
class Entry:
    """What an alias stands for, or stood for.

    Attributes:
        number: How often the alias had been moved then, from 1.
        uri: The artifact.
        digest: Of all that it holds, 64 hexadecimal digits.
        since: When it was moved there, RFC 3339 in UTC.
        cause: What moved it.
        token: Tells this move from all others.
        withdrawn: Whether a rollback has taken it back.
    """

    number: int
    uri: str
    digest: str
    since: str
    cause: Cause
    token: str
    withdrawn: bool = False

    @classmethod
    def read(cls, content: dict[str, Any]) -> Self:
        """Read one as it was written."""
        return cls(**{**content, "cause": Cause(**content["cause"])})


@dataclass(frozen=True)
class Alias:
    """An alias as it is.

    Attributes:
        name: Its name.
        current: What it stands for.
        history: What it stood for before, the newest first.
    """

    name: str
    current: Entry
    history: tuple[Entry, ...] = ()

    @property
    def before(self) -> Entry | None:
        """What a rollback goes to: the newest entry that none has taken back."""
        return next((entry for entry in self.history if not entry.withdrawn), None)

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "version": 1,
            "name": self.name,
            "current": asdict(self.current),
            "history": [asdict(entry) for entry in self.history],
        }


class AliasStore:
    """The aliases of one store.

    Args:
        uri: Folder of artifacts: a path, ``file://`` or ``s3://``.
        options: Where the object store is, for ``s3://``.
    """

    def __init__(self, uri: str, options: StorageOptions | None = None) -> None:
        self.uri = uri.rstrip("/")
        self._options = options

    def read(self, name: str) -> Alias | None:
        """An alias; None if there is none of that name.

        Raises:
            InputError: It is no name.
            DamagedError: What is there is no alias.
        """
        return self._known(self._switch(name), name)[1]

    def move(
        self, name: str, uri: str, cause: Cause, *, now: datetime, of: Alias | None, digest: str
    ) -> Alias:
        """Let an alias stand for an artifact; nothing changes where it does already.

        Args:
            name: The alias.
            uri: The artifact.
            cause: What moves it.
            now: The time.
            of: The alias as it was when that was decided; None for one that is not there yet.
            digest: What the artifact must hold (`artifact_digest`).

        Raises:
            InputError: It is no name, or the artifact is not there, not whole or another one.
            RunError: The alias has been moved meanwhile; nothing was changed.
        """
        found = artifact_digest(uri, self._options)
        if found != digest:
            raise InputError(
                f"{uri}: holds {found[:12]}, but {digest[:12]} was to be promoted: another artifact"
                " is there now; nothing was changed"
            )
        switch = self._switch(name)
        state, known = self._known(switch, name)
        if known != of:
            raise _lost(name, known)
        if known is not None and (known.current.uri, known.current.digest) == (uri, digest):
            return known
        self._keep(name, uri, now)
        kept = () if known is None else (known.current, *known.history)
        return self._put(switch, state, Alias(name, _entry(kept, uri, digest, cause, now), kept))

    def roll_back(self, name: str, *, reason: str, now: datetime) -> Alias:
        """Let an alias stand for what it stood for before, and once more for what was before that.

        Raises:
            InputError: There is no alias, nothing before, or what was before is not there any more.
            RunError: The alias has been moved meanwhile; nothing was changed.
        """
        switch = self._switch(name)
        state, known = self._known(switch, name)
        if known is None:
            raise InputError(f"{self.uri}: there is no alias {name!r}")
        if (before := known.before) is None:
            raise InputError(
                f"{name}: stood for nothing before {known.current.uri}; nothing was changed"
            )
        if artifact_digest(before.uri, self._options) != before.digest:
            raise InputError(
                f"{before.uri}: does not hold {before.digest[:12]} any more, which {name} stood for"
                " before; nothing was changed: promote another artifact"
            )
        self._keep(name, before.uri, now)
        # What holds now is taken back, and so is what it goes to: it holds again as a new entry.
        taken = (known.current.token, before.token)
        kept = tuple(
            replace(entry, withdrawn=entry.withdrawn or entry.token in taken)
            for entry in (known.current, *known.history)
        )
        entry = _entry(kept, before.uri, before.digest, Cause("rollback", reason), now)
        return self._put(switch, state, Alias(name, entry, kept))

    def _keep(self, name: str, uri: str, now: datetime) -> None:
        """Let nobody remove what the name is about to stand for."""
        keep(uri, self._options, by=f"alias {name}", now=now, always=True)

    def _put(self, switch: Switch, state: State | None, alias: Alias) -> Alias:
        alias = replace(alias, history=alias.history[:HISTORY])
        if not switch.change(json.dumps(alias.to_dict(), indent=1) + "\n", of=state):
            raise _lost(alias.name, self.read(alias.name))
        return alias

    def _known(self, switch: Switch, name: str) -> tuple[State | None, Alias | None]:
        state = switch.read()
        if state is None:
            return None, None
        try:
            content = json.loads(state.text)
            current = Entry.read(content["current"])
            history = tuple(Entry.read(entry) for entry in content["history"])
        except (KeyError, TypeError, ValueError, RecursionError) as error:
            raise DamagedError(
                f"{switch.uri} is damaged ({error}); put back a version of it, or remove it and"
                " promote by hand"
            ) from error
        return state, Alias(name, current, history)

    def _switch(self, name: str) -> Switch:
        if _NAME.fullmatch(name) is None:
            raise InputError(
                f"{name!r} is no name of an alias: lower-case letters, digits, '-' and '.', in"
                " parts with '/' between them, such as default/vqa"
            )
        return Switch(alias_uri(self.uri, name), self._options)


def stands_for(uri: str, options: StorageOptions | None = None) -> str:
    """Return the artifact that an alias stands for now; any other URI stands for itself.

    Raises:
        InputError: There is no such alias, or what it stands for is not there any more.
        DamagedError: What is there is no alias.
    """
    if not is_alias(uri):
        return uri
    store, _, name = uri.rpartition("/aliases/")
    alias = AliasStore(store, options).read(name.removesuffix(".json"))
    if alias is None:
        raise InputError(
            f"{uri}: there is no such alias; promote a first model by hand: mmrlhfctl promote"
            f" {store} {name.removesuffix('.json')} MODEL"
        )
    current = alias.current
    if artifact_digest(current.uri, options) != current.digest:
        raise InputError(
            f"{current.uri}: does not hold {current.digest[:12]} any more, which {alias.name}"
            " stands for; promote another artifact, or roll back"
        )
    return current.uri


def find_digest(uri: str, options: StorageOptions | None = None) -> str | None:
    """Digest of all that an artifact holds; None of a folder that was never published as one.

    Raises:
        InputError: It was, and a file of it is gone or of another size.
    """
    uri = uri.rstrip("/")
    parent = ArtifactStore(parent_uri(uri), options)
    return None if parent.entries(uri.rpartition("/")[2]) is None else artifact_digest(uri, options)


def artifact_digest(uri: str, options: StorageOptions | None = None) -> str:
    """Digest of all that an artifact holds, by its commit marker; its files must be there.

    Raises:
        InputError: It has no commit marker, or a file of it is gone or of another size.
    """
    uri = uri.rstrip("/")
    store, key = ArtifactStore(parent_uri(uri), options), uri.rpartition("/")[2]
    entries = store.entries(key)
    if entries is None:
        raise InputError(
            f"{uri}: no whole artifact is there: it has no {MARKER}; name the folder of a model"
            " that a job has finished"
        )
    sizes = store.sizes(key)
    for entry in entries:
        if sizes.get(f"{key}/{entry.path}") != entry.size:
            raise InputError(
                f"{uri}/{entry.path}: is gone or not of {entry.size} bytes, as it was published"
            )
    return digest_of_files(entries)


def _entry(kept: tuple[Entry, ...], uri: str, digest: str, cause: Cause, now: datetime) -> Entry:
    number = kept[0].number + 1 if kept else 1
    since = now.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return Entry(number, uri, digest, since, cause, uuid4().hex[:16])


def _lost(name: str, now: Alias | None) -> RunError:
    where = (
        "it is gone"
        if now is None
        else f"it stands for {now.current.uri} (move {now.current.number})"
    )
    return RunError(
        f"{name}: another has moved it meanwhile: {where}; nothing was changed here: look whether"
        " the decision still holds, and decide anew"
    )
