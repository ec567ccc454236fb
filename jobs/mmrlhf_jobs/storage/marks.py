"""Marks on runs that are to be removed: who needs a run and who removes it agree by one object.

``<run>/pruning.json`` is a `Switch`, so that of two changes one is made::

    (none) -> marked -> deleting -> gone
              marked -> kept -> marked ...

Whoever removes marks a run, waits, looks at all that names it, and only then changes ``marked`` to
``deleting``. Whoever is about to need a run first says so where that look finds it (an attempt in
its ``attempts.json``), and then changes a mark to ``kept``. So either the look finds who needs the
run, or the change to ``deleting`` comes too late, or the one who needs it is told: in no order is a
run removed that somebody relies on. Once a run is ``deleting`` nobody gets it back; ``gone`` is
what stays of it.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, Final
from uuid import uuid4

from mmrlhf_api.contents import find_run
from mmrlhf_jobs.errors import DamagedError, InputError, RunError
from mmrlhf_jobs.storage.switch import State, Switch
from mmrlhf_jobs.storage.uris import StorageOptions, locate, storage_errors

__all__ = ["MARK", "Mark", "MarkState", "Marks", "keep", "renew"]

MARK: Final = "pruning.json"
_ABOVE: Final = 3
"""Folders above a file of a run in which its mark is looked for, besides its own."""
_TRIES: Final = 5


class MarkState(StrEnum):
    """Where a run is between staying and being gone."""

    MARKED = "marked"
    KEPT = "kept"
    DELETING = "deleting"
    GONE = "gone"


@dataclass(frozen=True)
class Mark:
    """A mark.

    Attributes:
        state: Where the run is.
        at: Since when, in UTC.
        by: Who says so, for people.
        token: Tells this change from all others.
    """

    state: MarkState
    at: datetime
    by: str
    token: str

    @classmethod
    def parse(cls, text: str, uri: str) -> Mark:
        """Read one as `to_text` wrote it.

        Raises:
            DamagedError: It is none.
        """
        try:
            content: dict[str, Any] = json.loads(text)
            at = datetime.fromisoformat(content["at"]).astimezone(UTC)
            state = MarkState(content["state"])
            return cls(state, at, str(content["by"]), str(content["token"]))
        except (KeyError, TypeError, ValueError, RecursionError) as error:
            raise DamagedError(
                f"{uri} is damaged ({error}); remove it: its run stays until it is marked anew"
            ) from error

    def to_text(self) -> str:
        """What is written."""
        content = {"state": self.state, "at": self.at.isoformat(), "by": self.by}
        return json.dumps({**content, "token": self.token}) + "\n"


class Marks:
    """The marks of runs in one store.

    Args:
        uri: Folder of artifacts: a path, ``file://`` or ``s3://``.
        options: Where the object store is, for ``s3://``.
    """

    def __init__(self, uri: str, options: StorageOptions | None = None) -> None:
        self._uri = uri.rstrip("/")
        self._options = options

    def read(self, run: str) -> Mark | None:
        """The mark of a run; None if it has none.

        Args:
            run: Key of its folder.

        Raises:
            DamagedError: What is there is no mark.
            StorageError: The store fails.
        """
        return _read(self._switch(run))[1]

    def change(
        self, run: str, state: MarkState, *, of: Mark | None, by: str, now: datetime
    ) -> Mark | None:
        """Change the mark of a run if it is still this one; return the new one, None if it is not.

        Raises:
            StorageError: The store fails, or does not keep conditions; the old mark stays.
        """
        return _change(self._switch(run), state, of=of, by=by, now=now)

    def _switch(self, run: str) -> Switch:
        return Switch(f"{self._uri}/{run}/{MARK}", self._options)


def keep(
    uri: str,
    options: StorageOptions | None = None,
    *,
    by: str,
    now: datetime,
    always: bool = False,
) -> None:
    """Take away the mark of the run that a URI is in, as something is about to need it.

    Whoever calls this has said before where a look for such needs finds it, or says ``always``.

    Args:
        uri: A run, or something in one; what is in none needs nothing.
        options: Where the object store is, for ``s3://``.
        by: Who needs it, for people.
        now: The time.
        always: Whether a run without a mark is marked as kept, so that it stays for some days.

    Raises:
        InputError: The run is being removed, or is gone, or its mark may not be changed.
        StorageError: The store fails.
    """
    for folder in _folders(uri):
        try:
            there = Switch(f"{folder}/{MARK}", options).read() is not None
        except InputError:
            there = False  # above what one may read, nothing is one's own
        if there:
            _hold(folder, uri, options, by=by, now=now)
            return
    if always and (run := _run_of(uri, options)) is not None:
        try:
            _hold(run, uri, options, by=by, now=now)
        except InputError:
            if Switch(f"{run}/{MARK}", options).read() is not None:
                raise
            # A store of others may not be written: whoever removes there is told of this one.


def renew(uri: str, options: StorageOptions | None = None, *, by: str, now: datetime) -> None:
    """Take away the mark of a run that goes on, or is made anew where one is gone.

    Args:
        uri: Folder of the run.
        options: Where the object store is, for ``s3://``.
        by: Who makes it, for people.
        now: The time.

    Raises:
        InputError: The one that was there is being removed.
        StorageError: The store fails.
    """
    if Switch(f"{uri.rstrip('/')}/{MARK}", options).read() is not None:
        _hold(uri.rstrip("/"), uri, options, by=by, now=now, anew=True)


def _hold(
    run: str,
    uri: str,
    options: StorageOptions | None,
    *,
    by: str,
    now: datetime,
    anew: bool = False,
) -> None:
    switch = Switch(f"{run}/{MARK}", options)
    for _ in range(_TRIES):
        _, found = _read(switch)
        gone = found is not None and found.state is MarkState.GONE and not anew
        if found is not None and (gone or found.state is MarkState.DELETING):
            raise InputError(_lost(uri, found))
        if _change(switch, MarkState.KEPT, of=found, by=by, now=now) is not None:
            return
    raise RunError(f"{switch.uri}: others change it all the time; run this again")


def _lost(uri: str, mark: Mark) -> str:
    when = mark.at.strftime("%Y-%m-%dT%H:%M:%SZ")
    word = "is being removed since" if mark.state is MarkState.DELETING else "was removed on"
    return (
        f"{uri}: {word} {when} ({mark.by}), as nothing needed it; run what made it again, or name"
        " another"
    )


def _folders(uri: str) -> list[str]:
    """A URI and the folders above it in which a run may be, without those of patterns."""
    static = uri.partition("*")[0]
    folder = (static if static == uri else static.rpartition("/")[0]).rstrip("/")
    found = []
    for _ in range(_ABOVE + 1):
        if not folder or folder.endswith((":", ":/")):
            break
        found.append(folder)
        folder = folder.rpartition("/")[0]
    return found


def _run_of(uri: str, options: StorageOptions | None) -> str | None:
    place = locate(uri, options)
    with storage_errors(uri, "read"):
        found = find_run(place.fs, place.path)
    if found is None:
        return None
    return found.folder if place.is_local else str(place.fs.unstrip_protocol(found.folder))


def _read(switch: Switch) -> tuple[State | None, Mark | None]:
    state = switch.read()
    return state, None if state is None else Mark.parse(state.text, switch.uri)


def _change(
    switch: Switch, state: MarkState, *, of: Mark | None, by: str, now: datetime
) -> Mark | None:
    before, found = _read(switch)
    if found != of:
        return None
    mark = Mark(state, now.astimezone(UTC), by, uuid4().hex[:16])
    return mark if switch.change(mark.to_text(), of=before) else None
