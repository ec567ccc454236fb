"""Decoding in processes of their own: what kills or stops a decoder costs one medium."""

from __future__ import annotations

import multiprocessing
import queue
import signal
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from types import TracebackType
from typing import Any, Final, Self

import numpy as np
import numpy.typing as npt
from PIL import Image

from mmrlhf_jobs.sampling.corpora.media import DroppedMedia, MediaKind
from mmrlhf_jobs.sampling.images.pictures import open_picture

__all__ = ["Decoders", "Preparation", "PreparedPicture"]

_PATIENCE: Final = 60.0
_START_PATIENCE: Final = 300.0


@dataclass(frozen=True)
class Preparation:
    """What is done to a picture once it is decoded.

    Attributes:
        pixels: Makes the array of pixels that an encoder takes; it goes to other processes, so it
            must be picklable.
        edge: The shorter edge that it scales to, if it does.
        modules: What `pixels` imports, for a decoder's process to find imported.
    """

    pixels: Callable[[Image.Image], npt.NDArray[np.uint8]]
    edge: int | None = None
    modules: tuple[str, ...] = ()


@dataclass(frozen=True)
class PreparedPicture:
    """A picture as an encoder takes it.

    Attributes:
        pixels: uint8[...], of the shape that the preparation gives.
        width: Width in the file, of the upright picture.
        height: Height of it.
        pts_ms: Presentation time of a video's frame, in milliseconds.
        black_start: Whether a video begins in black.
    """

    pixels: npt.NDArray[np.uint8]
    width: int
    height: int
    pts_ms: float | None = None
    black_start: bool = False


@dataclass
class Decoders:
    """Some processes that decode; use it in a ``with`` block, from any number of threads.

    Args:
        preparation: What is done to each picture.
        processes: How many.
        patience: Seconds that one medium may take.
    """

    preparation: Preparation
    processes: int
    patience: float = _PATIENCE
    _idle: queue.SimpleQueue[_Process | None] = field(default_factory=queue.SimpleQueue)

    def __enter__(self) -> Self:
        # Forked from a process without threads, unlike this one; its imports are shared.
        self._context = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload([__name__, *self.preparation.modules])
        for _ in range(self.processes):
            self._idle.put(None)  # started when it is needed
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for _ in range(self.processes):
            if (process := self._idle.get()) is not None:
                process.end()

    def decode(self, content: bytes, kind: MediaKind) -> PreparedPicture:
        """Decode a medium; waits for a free process.

        Raises:
            DroppedMedia: There is no picture in it, or its decoder crashed or took too long.
        """
        process = self._idle.get()
        try:
            if process is None:
                process = _Process(self._context, self.preparation)
            outcome = process.ask((content, kind), self.patience)
        except _Ended as error:
            assert process is not None
            process.end()
            process = None
            raise DroppedMedia(error.reason, str(error)) from error
        finally:
            self._idle.put(process)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome


class _Ended(Exception):  # noqa: N818 - it never leaves this module
    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class _Process:
    """One process, and the way to it."""

    def __init__(self, context: Any, preparation: Preparation) -> None:  # noqa: ANN401 - its class is private
        self._here, there = context.Pipe()
        self._process = context.Process(target=_serve, args=(there, preparation), daemon=True)
        self._process.start()
        there.close()
        # Imports take long on a busy machine, and are no medium's fault.
        if not self._here.poll(_START_PATIENCE) or self._here.recv() != "ready":
            raise RuntimeError("a decoder process does not start")

    def ask(
        self, question: tuple[bytes, MediaKind], patience: float
    ) -> PreparedPicture | Exception:
        """Send a medium and wait for what becomes of it."""
        try:
            self._here.send(question)
            if not self._here.poll(patience):
                raise _Ended("decoder-timeout", f"was not decoded within {patience:g} s")
            outcome: PreparedPicture | Exception = self._here.recv()
        except (EOFError, ConnectionError) as error:
            self._process.join(1)
            code = self._process.exitcode
            raise _Ended("decoder-crashed", f"made its decoder end with {_ending(code)}") from error
        return outcome

    def end(self) -> None:
        """End the process, whatever it does."""
        self._here.close()
        self._process.kill()
        self._process.join()
        self._process.close()


def _ending(code: int | None) -> str:
    if code is not None and code < 0:
        return f"signal {signal.Signals(-code).name}"
    return f"exit code {code}"


def _serve(way: Connection, preparation: Preparation) -> None:
    """Work of one process: media in, pictures or reasons out, until nobody asks any more."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with suppress(EOFError, ConnectionError):
        way.send("ready")
        while True:
            content, kind = way.recv()
            way.send(_outcome(content, kind, preparation))


def _outcome(
    content: bytes, kind: MediaKind, preparation: Preparation
) -> PreparedPicture | Exception:
    try:
        picture = open_picture(content, kind, edge=preparation.edge)
    except DroppedMedia as error:
        return DroppedMedia(error.reason, error.message)  # without its causes: not all can travel
    try:
        pixels = preparation.pixels(picture.pixels)
    except Exception as error:  # noqa: BLE001 - a fault of ours, raised where the job can end by it
        return error
    return PreparedPicture(
        pixels, picture.width, picture.height, picture.pts_ms, picture.black_start
    )
