"""Programs that begin with their imports done: forks of one process that has, say, imported torch.

``python -m mmrlhf_jobs`` imports for six seconds of a core before it does anything, which is most
of what a test's training costs. Here one process imports what all need, and forks for each program;
what is forked is a process like any other: it has a pid, an output and an exit code, and may be
killed. What a program starts by way of a fork server of `multiprocessing` (decoders of media) is
forked from it as well.
"""

from __future__ import annotations

import atexit
import gc
import importlib
import json
import os
import runpy
import selectors
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import weakref
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from multiprocessing import forkserver, resource_tracker
from pathlib import Path
from typing import IO, Any, Final, NoReturn

from tests.parent import end_with_parent
from tests.ports import free_port

__all__ = ["AT_IMPORT", "Program", "Server"]

AT_IMPORT: Final = {"OMP_NUM_THREADS": "1", "DS_ACCELERATOR": "cpu"}
"""Variables that libraries read when they are imported, so that they are the same for all."""
IMPORTS: Final = (
    "mmrlhf_jobs.training.mmdpo.job",
    "mmrlhf_jobs.training.reward.job",
    "mmrlhf_jobs.training.engines.deepspeed_engine",
    "mmrlhf_jobs.training.engines.torch_engine",
    "mmrlhf_jobs.models.families.llava_onevision",
    "mmrlhf_jobs.reporting.trackers.tensorboard_file",
    "mmrlhf_jobs.sampling.job",
    "mmrlhf_jobs.steps.registry",
    "mmrlhf_jobs.components",
    "mmrlhf_jobs.watch.nodes",
    "deepspeed",
    # What its engines import once they are made.
    "deepspeed.module_inject",
    "pandas",
    "peft",
    "s3fs",
    "transformers.models.clip.image_processing_pil_clip",
    "transformers.models.llava_onevision.modeling_llava_onevision",
    "transformers.models.llava_onevision.processing_llava_onevision",
    "transformers.models.qwen2.modeling_qwen2",
    "transformers.models.qwen2_5_vl.modeling_qwen2_5_vl",
    "transformers.models.qwen3.modeling_qwen3",
    "transformers.models.siglip.modeling_siglip",
    "torch.distributed.launcher.api",
)


@dataclass(frozen=True)
class Server:
    """What forks for programs.

    Attributes:
        imports: Modules that it imports.
        at_import: Variables for them, which its programs have too, and their values.
        within: What runs a command in another network, if it and its programs are to be there.
    """

    imports: tuple[str, ...]
    at_import: tuple[tuple[str, str], ...] = ()
    within: tuple[str, ...] = ()


_JOBS: Final = Server(IMPORTS, tuple(AT_IMPORT.items()))


class Program:
    """A running ``python -m MODULE``; its methods are those of `subprocess.Popen`.

    Args:
        module: Module to run.
        arguments: Its arguments.
        env: The whole environment.
        processes: Processes of the gang: more than one as by ``torchrun --standalone``.
        server: What it is forked from.
        folder: Where it runs, if not here.
        stdin: What it may read.
        imports: What the processes of a gang need beside what the server has, imported once.
    """

    def __init__(
        self,
        module: str,
        arguments: Sequence[str],
        env: Mapping[str, str],
        *,
        processes: int = 1,
        server: Server = _JOBS,
        folder: Path | None = None,
        stdin: str = "",
        imports: Sequence[str] = (),
    ) -> None:
        # Held open until its end, when they are read.
        self._files: tuple[IO[bytes], ...] = (
            tempfile.TemporaryFile(),  # noqa: SIM115
            tempfile.TemporaryFile(),  # noqa: SIM115
        )
        self._way = _connect(server)
        request = {
            "module": module,
            "arguments": list(arguments),
            "env": {**env, **dict(server.at_import)},
            "processes": processes,
            "folder": None if folder is None else str(folder),
            "imports": list(imports),
        }
        with tempfile.TemporaryFile() as given:
            given.write(stdin.encode())
            given.seek(0)
            descriptors = [file.fileno() for file in (given, *self._files)]
            socket.send_fds(self._way, [json.dumps(request).encode()], descriptors)
        self._way.shutdown(socket.SHUT_WR)
        self.pid = int(self._line())
        self.returncode: int | None = None
        self._output = self._errors = ""

    def poll(self) -> int | None:
        """Exit code, minus the signal's number after a signal; None while it runs."""
        try:
            return self.wait(timeout=0)
        except subprocess.TimeoutExpired:
            return None

    def has_said(self, words: str) -> bool:
        """Whether it has written these words to its stderr so far."""
        descriptor = self._files[1].fileno()
        return words.encode() in os.pread(descriptor, os.fstat(descriptor).st_size, 0)

    def wait(self, timeout: float | None = None) -> int:
        """Wait for its end."""
        if self.returncode is None:
            self._way.settimeout(None if timeout is None else max(timeout, 1e-3))
            try:
                self.returncode = int(self._line())
            except TimeoutError:
                raise subprocess.TimeoutExpired(str(self.pid), timeout or 0) from None
            self._way.close()
            self._output, self._errors = map(_read, self._files)
        return self.returncode

    def communicate(self, timeout: float | None = None) -> tuple[str, str]:
        """Wait for its end, and return what it wrote: its output, and its standard error."""
        self.wait(timeout)
        return self._output, self._errors

    def send_signal(self, number: signal.Signals) -> None:
        """Send a signal, unless it has ended."""
        if self.poll() is None:
            with suppress(ProcessLookupError):  # it has ended since
                os.kill(self.pid, number)

    def kill(self) -> None:
        """Kill it, unless it has ended."""
        self.send_signal(signal.SIGKILL)

    def _line(self) -> bytes:
        line = b""
        while not line.endswith(b"\n"):
            more = self._way.recv(1)
            if not more:
                raise RuntimeError("the process that programs are forked from has ended")
            line += more
        return line


def _read(file: IO[bytes]) -> str:
    with file:
        file.seek(0)
        return file.read().decode()


def _connect(server: Server) -> socket.socket:
    way = socket.socket(socket.AF_UNIX)
    way.connect(_start(server))
    return way


@cache
def _start(server: Server) -> str:
    """Start the process that programs are forked from; return its address."""
    folder = tempfile.TemporaryDirectory(prefix="warm-")
    path = str(Path(folder.name) / "socket")
    process = subprocess.Popen(
        [*server.within, sys.executable, "-m", __name__, path, *server.imports],
        env={**os.environ, **dict(server.at_import)},
        stdin=subprocess.PIPE,
    )

    def end() -> None:
        process.kill()
        process.wait()
        folder.cleanup()

    atexit.register(end)
    while not Path(path).exists():
        if process.poll() is not None:
            raise RuntimeError("the process that programs are forked from does not start")
        time.sleep(0.01)
    return path


def serve(path: str, imports: Sequence[str]) -> NoReturn:
    """Fork for each request; the process that is the program ends in here."""
    for name in imports:
        importlib.import_module(name)
    if kinds := sys.modules.get("mmrlhf_api.kinds"):
        for kind in kinds.KINDS.values():
            assert kind.model  # loads its types, which each program would
    if "transformers" in sys.modules:
        # A thousand patterns, which the first model that a process loads compiles.
        conversion_mapping = importlib.import_module("transformers.conversion_mapping")
        conversion_mapping.get_checkpoint_conversion_mapping("")
    _serve_forks(f"{path}.forks")
    # What is to be undone of them when an interpreter ends, such as torch's tables of operators, is
    # memory that a fork would have to copy first, to drop it.
    for undoing in vars(weakref.finalize)["_registry"]:
        undoing.atexit = False
    # A fork that collects garbage would go through all of that, and write to each page of it.
    gc.collect()
    gc.freeze()
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(f"{path}.new")
    listener.listen()
    Path(f"{path}.new").rename(path)
    # This process itself waits for all programs: each fork costs as much as a program's beginning.
    with selectors.DefaultSelector() as selector:
        selector.register(listener, selectors.EVENT_READ)
        while True:
            for key, _ in selector.select():
                if key.fileobj is listener:
                    _start_program(listener, selector)
                else:
                    selector.unregister(key.fileobj)
                    _tell_end(key.data, key.fd)


@dataclass(frozen=True)
class _Running:
    """A program that has not ended, and the way to who waits for it."""

    pid: int
    way: socket.socket


def _start_program(listener: socket.socket, selector: selectors.BaseSelector) -> None:
    way, _ = listener.accept()
    content, descriptors = b"", list[int]()
    while True:
        more, fds, _, _ = socket.recv_fds(way, 1 << 16, 3)
        descriptors += fds
        if not more:
            break
        content += more
    pid = os.fork()
    if pid == 0:
        others = [key for key in selector.get_map().values() if key.fileobj is not listener]
        selector.close()
        for other in others:
            other.data.way.close()
            os.close(other.fd)
        listener.close()
        way.close()
        _run(json.loads(content), descriptors)
    for descriptor in descriptors:
        os.close(descriptor)
    selector.register(os.pidfd_open(pid), selectors.EVENT_READ, _Running(pid, way))
    _tell(way, pid)


def _tell_end(program: _Running, descriptor: int) -> None:
    os.close(descriptor)
    _, status = os.waitpid(program.pid, 0)
    _tell(program.way, os.waitstatus_to_exitcode(status))
    program.way.close()


def _tell(way: socket.socket, number: int) -> None:
    with suppress(OSError):  # who has started it may be gone
        way.sendall(b"%d\n" % number)


def _serve_forks(address: str) -> None:
    """Start what `multiprocessing` calls a fork server, for all that is forked from here on.

    Each program would start one of its own otherwise, which imports for seconds. It ends with the
    last of those that hold its pipe. Only its parent could wait for it, so none asks if it runs.
    """
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(address)
    listener.listen()
    alive, held = os.pipe()
    resource_tracker.ensure_running()  # all share this one too
    if os.fork() == 0:
        os.close(held)
        try:
            forkserver.main(listener.detach(), alive, preload=())
        finally:
            os._exit(0)
    listener.close()
    os.close(alive)
    server: Any = forkserver._forkserver
    server._forkserver_address, server._forkserver_alive_fd = address, held
    server.ensure_running = resource_tracker.ensure_running


def _run(request: dict[str, Any], descriptors: Sequence[int]) -> NoReturn:
    os.environ.clear()
    os.environ.update(request["env"])
    for number, descriptor in enumerate(descriptors):
        os.dup2(descriptor, number)
        os.close(descriptor)
    if (folder := request["folder"]) is not None:
        os.chdir(folder)
        sys.path[0] = folder
    if request["processes"] > 1:
        _run_gang(request)
    _run_module(request)


def _run_module(request: dict[str, Any]) -> NoReturn:
    sys.argv = [request["module"], *request["arguments"]]
    code: Any = 0
    try:
        runpy.run_module(request["module"], run_name="__main__", alter_sys=True)
    except SystemExit as end:
        if not isinstance(end.code, int | None):
            raise
        code = end.code or 0
    _end(code)


def _end(code: int) -> NoReturn:
    """End as the interpreter does, but leave its modules and objects to the system.

    What it does first comes first: it waits for threads, calls what is to be called at exit, and
    writes out. To take the imported modules apart, which are memory shared with the server, costs
    a fork as much as to train three steps.
    """
    vars(threading)["_shutdown"]()
    vars(atexit)["_run_exitfuncs"]()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code & 0xFF)


def _run_gang(request: dict[str, Any]) -> NoReturn:
    """As many forks as there are processes, which find each other as those of ``torchrun`` do.

    All are killed as soon as one has failed, whose exit code is that of the gang, and with this
    process. Nothing here goes by seconds, and no thread is there when they are forked; torchrun's
    agent is another matter, see `tests.jobs.launched`.
    """
    port = str(free_port())
    for name in request["imports"]:
        importlib.import_module(name)
    size = str(request["processes"])
    ranks: set[int] = set()
    for number in map(str, range(request["processes"])):
        pid = os.fork()
        if pid == 0:
            end_with_parent()
            own = {"RANK": number, "LOCAL_RANK": number, "MASTER_PORT": port}
            common = {"WORLD_SIZE": size, "LOCAL_WORLD_SIZE": size, "GROUP_RANK": "0"}
            os.environ.update({**own, **common, "MASTER_ADDR": "127.0.0.1"})
            _run_module(request)
        ranks.add(pid)
    failed = 0
    while ranks:
        pid, status = os.wait()
        ranks.remove(pid)
        if status and not failed:
            failed = os.waitstatus_to_exitcode(status)
            for other in ranks:
                os.kill(other, signal.SIGKILL)
    os._exit(failed if failed >= 0 else 128 - failed)


if __name__ == "__main__":
    serve(sys.argv[1], sys.argv[2:])
