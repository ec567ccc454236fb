"""The test cluster for a person: `python -m tests.cluster up`, and so on."""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from tests.cluster import binaries
from tests.cluster.binaries import Level
from tests.cluster.cluster import Cluster
from tests.cluster.errors import ClusterError

_USAGE = """\
The cluster {name!r} ({level}) is up. It has a network of its own, without a way out and without
a way in: what talks to it runs inside that network.

  one command       {python} kubectl get nodes
  a shell inside    {python} shell
  by hand           export KUBECONFIG={kubeconfig}
                    nsenter --target {pid} --net kubectl get nodes
  tests on it       {python} exec env MMRLHF_TEST_CLUSTER=existing pytest -m cluster tests
  load an image     {python} load image.tar
  logs of its parts {logs}
  the end           {end}
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    options = _parser().parse_args(argv)
    try:
        return int(options.run(options))
    except ClusterError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 128 + signal.SIGINT


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tests.cluster",
        description="A real Kubernetes in a network namespace of its own, for tests and for play.",
    )
    parser.add_argument(
        "--name", default="dev", help="which cluster; several can be up (%(default)s)"
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def add(name: str, run: object, text: str) -> argparse.ArgumentParser:
        command = commands.add_parser(name, help=text, description=text)
        command.set_defaults(run=run)
        return command

    levels = [level.value for level in Level]
    install = add("install", _install, "Install what the cluster consists of; minutes, once.")
    up = add("up", _up, "Bring the cluster up and keep it until Ctrl-C.")
    for command in (install, up):
        command.add_argument("--level", choices=levels, default=Level.FULL.value)
    up.add_argument("--background", action="store_true", help="return, and keep it until `down`")
    add("down", _down, "Take the cluster down and remove all that is left of it.")
    add("status", _status, "Say whether the cluster is up, and how to use it.")
    add("shell", _shell, "Open a shell inside the cluster's network.")
    load = add("load", _load, "Load an OCI or docker archive, or an OCI layout, into the node.")
    load.add_argument("image", type=Path)
    for name, text in (("kubectl", "Run kubectl."), ("exec", "Run a command inside.")):
        command = add(name, _kubectl if name == "kubectl" else _exec, text)
        command.add_argument("arguments", nargs=argparse.REMAINDER)
    return parser


def _install(options: argparse.Namespace) -> int:
    binaries.install(Level(options.level))
    print("everything that the cluster consists of is installed")
    return 0


def _up(options: argparse.Namespace) -> int:
    cluster = Cluster(options.name, level=Level(options.level))
    if cluster.is_up(options.name):
        return _status(options)
    # An early end must still run the clean-up.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    started = time.monotonic()
    if options.background:
        cluster.up(keep=True)
        print(f"up after {time.monotonic() - started:.1f} s\n")
        return _status(options)
    with cluster:
        print(f"up after {time.monotonic() - started:.1f} s\n")
        _explain(cluster, end="Ctrl-C")
        while True:  # and not signal.pause(): a signal just before it would be slept over
            time.sleep(1)


def _down(options: argparse.Namespace) -> int:
    Cluster(options.name).down()
    print(f"the cluster {options.name!r} is down")
    return 0


def _status(options: argparse.Namespace) -> int:
    if not Cluster.is_up(options.name):
        print(f"the cluster {options.name!r} is not up")
        return 3
    _explain(Cluster.attach(options.name), end=f"{_command(options.name)} down")
    return 0


def _load(options: argparse.Namespace) -> int:
    Cluster.attach(options.name).load_image(options.image)
    return 0


def _kubectl(options: argparse.Namespace) -> int:
    return _run(options.name, [str(binaries.kubectl()), *_without_dashes(options.arguments)])


def _exec(options: argparse.Namespace) -> int:
    return _run(options.name, _without_dashes(options.arguments))


def _shell(options: argparse.Namespace) -> int:
    return _run(options.name, [os.environ.get("SHELL", "/bin/sh")])


def _run(name: str, argv: list[str]) -> int:
    cluster = Cluster.attach(name)
    return subprocess.run(cluster.command(argv), env=cluster.environment(), check=False).returncode


def _without_dashes(arguments: list[str]) -> list[str]:
    return arguments[1:] if arguments[:1] == ["--"] else arguments


def _command(name: str) -> str:
    return "python -m tests.cluster" + ("" if name == "dev" else f" --name {name}")


def _explain(cluster: Cluster, *, end: str) -> None:
    print(
        _USAGE.format(
            name=cluster.files.name,
            level=cluster.level.value,
            python=_command(cluster.files.name),
            kubeconfig=cluster.kubeconfig,
            pid=cluster.holder_pid,
            logs=cluster.files.logs,
            end=end,
        ),
        end="",
    )


if __name__ == "__main__":
    sys.exit(main())
