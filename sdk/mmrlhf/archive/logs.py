"""The logs that a job has in its artifact store.

The store is read as the user who asks: with credentials where the client of the store finds them,
such as ``AWS_PROFILE``.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import groupby, pairwise

from mmrlhf.archive.store import open_store, unreadable
from mmrlhf.errors import NotFoundError
from mmrlhf.telling import Tell, log_line
from mmrlhf_api.run_logs import LogPiece

__all__ = ["ArchivedLine", "ArchivedLogs"]


@dataclass(frozen=True)
class ArchivedLine:
    """One line of a node's log.

    Attributes:
        attempt: Attempt that wrote it.
        node: Node rank.
        time: When it was written, by the clock of the node.
        text: The line, without its line feed.
    """

    attempt: int
    node: int
    time: str
    text: str


class ArchivedLogs:
    """The logs of one run.

    Args:
        uri: Folder of logs: a path, ``file://`` or ``s3://``.
        endpoint: URL of an S3-compatible service; None is AWS itself.
        region: Its region.
        tell: Takes lines for a person, such as that a part of a log is missing.

    Raises:
        MmrlhfError: The store cannot be read.
    """

    def __init__(
        self,
        uri: str,
        *,
        endpoint: str | None = None,
        region: str | None = None,
        tell: Tell = log_line,
    ) -> None:
        self.uri = uri
        self._tell = tell
        try:
            self._fs, self._root = open_store(uri, endpoint=endpoint, region=region)
            found = self._fs.find(self._root)
        except FileNotFoundError:
            found = []
        except Exception as error:
            raise unreadable(uri, error) from error
        keys = (str(path).removeprefix(self._root).strip("/") for path in found)
        self.pieces: Sequence[LogPiece] = sorted(filter(None, map(LogPiece.parse, keys)))
        """Pieces of all attempts and nodes, in order."""

    def lines(
        self,
        *,
        attempt: int,
        nodes: Collection[int],
        since: datetime | None = None,
        tail: int | None = None,
    ) -> Iterator[ArchivedLine]:
        """Yield the lines of an attempt, node by node.

        Args:
            attempt: Attempt, from 0.
            nodes: Node ranks.
            since: Time from which on; by the clocks of the nodes.
            tail: Lines at the end of each log; None takes all.

        Raises:
            NotFoundError: There is no log of that attempt and these nodes.
            MmrlhfError: The store cannot be read.
        """
        chosen = [each for each in self.pieces if each.attempt == attempt and each.node in nodes]
        if not chosen:
            there = sorted({each.attempt for each in self.pieces})
            has = (
                f"it has those of attempts {', '.join(map(str, there))}" if there else "none at all"
            )
            raise NotFoundError(f"{self.uri} has no log of attempt {attempt}: {has}")
        for _, pieces in groupby(chosen, key=lambda piece: piece.node):
            lines = self._of_node(list(pieces), since)
            yield from lines if tail is None else deque(lines, maxlen=tail)

    def _of_node(self, pieces: list[LogPiece], since: datetime | None) -> Iterator[ArchivedLine]:
        for before, piece in pairwise([None, *pieces]):
            assert piece is not None  # only the first of a pair may be
            first = before is None or before.start != piece.start
            due = 0 if first else before.number + 1 if before is not None else 0
            if piece.number > due:
                self._tell(
                    f"node {piece.node}: {piece.number - due} MiB of its log are missing here: too"
                    " long, or not stored"
                )
            for line in self._read(piece).splitlines():
                time, _, text = line.partition(" ")
                if since is None or not _is_before(time, since):
                    yield ArchivedLine(piece.attempt, piece.node, time, text)

    def _read(self, piece: LogPiece) -> str:
        try:
            content: bytes = self._fs.cat_file(f"{self._root}/{piece.key}")
        except Exception as error:
            raise unreadable(f"{self.uri}/{piece.key}", error) from error
        return content.decode(errors="replace")


def _is_before(time: str, since: datetime) -> bool:
    try:
        return datetime.fromisoformat(time).astimezone(UTC) < since
    except ValueError:
        return False
