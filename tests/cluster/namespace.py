"""The namespaces in which a whole cluster lives: network, mounts and processes.

One holder process owns them. It is process 1 inside, so the kernel ends everything in there with
it: daemons, pods, mounts, links and packet filter rules cannot outlive it.

Processes enter with `nsenter` and never with `ip netns exec`, which remounts /sys and so hides
the cgroups from the kubelet.
"""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from tests.cluster import layout
from tests.cluster.errors import DaemonError
from tests.cluster.wait import wait_until
from tests.patience import PATIENCE

_CLONE_NEWNET = 0x40000000

# The kubelet sets these on its machine. It finds them set here, and so leaves the machine's alone.
_KUBELET_SYSCTLS: Mapping[str, int] = {
    "vm/overcommit_memory": 1,
    "vm/panic_on_oom": 0,
    "kernel/panic": 10,
    "kernel/panic_on_oops": 1,
    "kernel/keys/root_maxkeys": 1000000,
    "kernel/keys/root_maxbytes": 25000000,
}

# Both ends of the veth pair stay inside: it carries the node's address (not every kernel has dummy
# links). There is no default route; the one route makes service addresses reachable from the node.
_INIT = """
set -e
private=$1 address=$2 services=$3 hidden=$4
exec 3>"$private/ready"
mount --make-rshared /
find "$private/sysctl" -type f | while read -r file; do
    mount --bind "$file" "/proc/sys/${file#"$private/sysctl/"}"
done
for folder in $hidden; do
    mount --bind "$private$folder" "$folder"
done
# What etcd stores is in memory: a test cluster has nothing to keep, and no disk to wait for.
mount -t tmpfs etcd /run/etcd
ip link set lo up
ip link add node0 type veth peer name node1
ip address add "$address/24" dev node0
ip link set node0 up
ip link set node1 up
ip route add "$services" dev node0 src "$address"
echo ready >&3
exec 3>&-
while :; do sleep 86400 & wait $!; done
"""


@dataclass(frozen=True)
class Holder:
    """The process that owns the namespaces; its start time tells it from a later namesake."""

    pid: int
    started: int

    @classmethod
    def of(cls, pid: int) -> Holder:
        return cls(pid=pid, started=_start_time(pid))

    def alive(self) -> bool:
        try:
            return _start_time(self.pid) == self.started
        except ProcessLookupError:
            return False


class Namespace:
    """The namespaces of one cluster."""

    def __init__(self, holder: Holder, *, outer: subprocess.Popen[bytes] | None = None) -> None:
        self.holder = holder
        self._outer = outer  # the holder's parent, where it is a child of this process

    @classmethod
    def create(cls, files: layout.Layout, *, die_with_parent: bool) -> Namespace:
        """Make the namespaces and their links.

        Args:
            files: where the cluster keeps its files.
            die_with_parent: end everything when the calling process ends, however it ends.
        """
        _lay_out_private_folders(files.private)
        argv = [
            *(["setpriv", "--pdeathsig", "KILL"] if die_with_parent else []),
            *("unshare", "--net", "--mount", "--pid", "--fork", "--kill-child=KILL"),
            *("--mount-proc", "--propagation", "private", "sh", "-c", _INIT, "init"),
            *(str(files.private), layout.NODE_ADDRESS, layout.SERVICE_RANGE),
            " ".join(map(str, layout.HIDDEN)),
        ]
        log_path = files.logs / "namespace.log"
        with log_path.open("w") as log:
            # Its own session: Ctrl-C must reach the caller alone, who then takes the cluster down.
            outer = subprocess.Popen(
                argv,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        ready = files.private / "ready"

        def settled() -> bool:
            if outer.poll() is not None:
                raise DaemonError(
                    "the cluster's namespaces could not be made (this needs root, and a kernel"
                    f" with veth): {log_path.read_text().strip()}"
                )
            return ready.exists() and bool(ready.read_text())

        wait_until(settled, timeout=60, what="the namespaces")
        return cls(Holder.of(_only_child(outer.pid)), outer=outer)

    def destroy(self) -> None:
        """End every process inside, and with them the namespaces."""
        if self.holder.alive():
            self._kill_all()
        if self._outer is not None:
            self._outer.wait(timeout=60 * PATIENCE)

    def command(self, argv: Sequence[str]) -> list[str]:
        """The command line that runs `argv` in the network, with the machine's own files."""
        return ["nsenter", "--target", str(self.holder.pid), "--net", "--", *argv]

    def daemon_command(self, argv: Sequence[str], *, private_files: bool = True) -> list[str]:
        """The command line that runs `argv` as a part of the cluster, which ends with it.

        Args:
            argv: the command.
            private_files: see the cluster's version of the folders in `layout.HIDDEN`.
        """
        mount = ["--mount"] if private_files else []
        target = ["--target", str(self.holder.pid), "--net", "--pid", *mount]
        return ["nsenter", *target, "--", *argv]

    @contextmanager
    def entered(self) -> Iterator[None]:
        """Move the calling thread into the network, and back at the end.

        Sockets that the thread opens, and threads and processes that it starts meanwhile, live in
        the cluster's network, also after the end. Event loops and sockets made before do not.
        """
        with Path("/proc/thread-self/ns/net").open() as outside:
            with Path(f"/proc/{self.holder.pid}/ns/net").open() as inside:
                _setns(inside.fileno())
            try:
                yield
            finally:
                _setns(outside.fileno())

    def _kill_all(self) -> None:
        # Commands that shared only the network live outside process 1's reach.
        try:
            guests = self._processes_in_network()
        except ProcessLookupError:  # process 1 has ended meanwhile, and what it held with it
            return
        _kill(self.holder)
        wait_until(lambda: not self.holder.alive(), timeout=60, what="the end of the namespaces")
        for guest in guests:
            _kill(guest)

    def _processes_in_network(self) -> list[Holder]:
        """Raises ProcessLookupError when process 1 has ended."""
        network = _network(self.holder.pid)
        spared = set(_ancestry(os.getpid()))
        found = []
        for pid in _all_processes():
            with suppress(ProcessLookupError):
                if pid not in spared and _network(pid) == network:
                    found.append(Holder.of(pid))
        return found


def _kill(process: Holder) -> None:
    with suppress(ProcessLookupError):
        if process.alive():
            os.kill(process.pid, signal.SIGKILL)


def _setns(descriptor: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.setns(descriptor, _CLONE_NEWNET) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"cannot enter the cluster's network: {os.strerror(number)}")


def _lay_out_private_folders(private: Path) -> None:
    hidden = [str(folder.relative_to("/")) for folder in layout.HIDDEN]
    for folder in (*hidden, "run/lock", "run/etcd"):
        (private / folder).mkdir(parents=True, exist_ok=True)
    for setting, value in _KUBELET_SYSCTLS.items():
        if not Path("/proc/sys", setting).exists():
            continue
        file = private / "sysctl" / setting
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"{value}\n")


def _stat(pid: int) -> list[str]:
    """The fields of /proc/<pid>/stat from the third on (the second may hold spaces)."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        raise ProcessLookupError(pid) from None
    fields = text.rpartition(")")[2].split()
    if fields[0] in ("Z", "X"):
        raise ProcessLookupError(pid)
    return fields


def _start_time(pid: int) -> int:
    return int(_stat(pid)[19])


def _only_child(parent: int) -> int:
    for pid in _all_processes():
        with suppress(ProcessLookupError):
            if _parent(pid) == parent:
                return pid
    raise DaemonError(f"process {parent} has no child: the cluster's namespaces are gone")


def _all_processes() -> Iterator[int]:
    return (int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit())


def _parent(pid: int) -> int:
    return int(_stat(pid)[1])


def _ancestry(pid: int) -> Iterator[int]:
    while pid > 0:
        yield pid
        pid = _parent(pid)


def _network(pid: int) -> str:
    try:
        return str(Path(f"/proc/{pid}/ns/net").readlink())
    except OSError:
        raise ProcessLookupError(pid) from None
