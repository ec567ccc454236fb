"""Rules of the repository that no other tool holds."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from mmrlhf_api.kinds import KINDS, Kind

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = (
    "crds/mmrlhf_api",
    "jobs/mmrlhf_jobs",
    "operator/mmrlhf_operator",
    "sdk/mmrlhf",
    "cli/mmrlhfctl",
)


def test_operator_folder_never_shadows_the_standard_library() -> None:
    assert not (ROOT / "operator" / "__init__.py").exists()
    found = subprocess.run(
        [sys.executable, "-c", "import operator; print(operator.__file__)"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert str(ROOT / "operator") not in found.stdout


@pytest.mark.parametrize("package", PACKAGES)
def test_packages_are_typed_and_have_no_junk_drawer(package: str) -> None:
    folder = ROOT / package
    assert (folder / "py.typed").is_file()
    names = {path.stem for path in folder.rglob("*.py")}
    assert not names & {"utils", "util", "helpers", "common", "misc"}


def test_nothing_outside_their_files_asks_what_kind_a_job_is() -> None:
    """They go by the registry, so that a new kind is one file."""
    models = "|".join(kind.model.__name__ for kind in KINDS.values())
    asks = re.compile(
        rf"(isinstance|issubclass)\([^)]*\b({models})\b|\.kind [!=]= [\"']\w+Job[\"']"
    )
    found = {
        str(path.relative_to(ROOT))
        for package in PACKAGES
        for path in (ROOT / package).rglob("*.py")
        if asks.search(path.read_text())
    }
    assert not {path for path in found if not path.startswith("crds/mmrlhf_api/kinds/")}


def _map() -> dict[str, str]:
    """Folder or file of each row of the repo map, and what the row says may be imported."""
    rows = re.findall(
        r"^\| (`[^|]+) \|[^|]+\|([^|\n]*)\|$", (ROOT / "AGENTS.md").read_text(), re.MULTILINE
    )
    return {name: allowed for names, allowed in rows for name in re.findall(r"`([^`]+)`", names)}


def _rooms_without_torch() -> dict[str, frozenset[str]]:
    """Each room that claims to be without torch, and its modules that are excepted."""
    return {
        name.removeprefix("jobs/").rstrip("/").replace("/", "."): frozenset(
            re.findall(r"`(\w+)`", allowed)
        )
        for name, allowed in _map().items()
        if re.search(r"no torch|torch in .* alone", allowed)
    }


ROOMS = {
    "mmrlhf_jobs.components": frozenset[str](),
    "mmrlhf_jobs.errors": frozenset[str](),
    **dict(sorted(_rooms_without_torch().items())),
}
"""The operator and the CLI import the first; the others run where torch need not be."""
IMPORT_EACH = """
import importlib, json, os, pkgutil, sys, traceback

def load(name, excepted):
    room = importlib.import_module(name)
    for module in pkgutil.iter_modules(getattr(room, "__path__", ())):
        if not module.ispkg and module.name not in {"__main__", *excepted}:
            importlib.import_module(f"{room.__name__}.{module.name}")
    return "torch was imported" if "torch" in sys.modules else ""

found = {}
for name, excepted in json.loads(sys.argv[1]).items():
    answer, tell = os.pipe()
    if (child := os.fork()) == 0:
        try:
            word = load(name, excepted)
        except BaseException:
            word = traceback.format_exc()
        os.write(tell, word.encode()[-60000:])
        os._exit(0)
    os.close(tell)
    with open(answer) as said:
        found[name] = said.read()
    if code := os.waitpid(child, 0)[1]:
        found[name] = f"ended with {code}"
    if not found[name]:
        load(name, excepted)
print(json.dumps(found))
"""
"""Each room in a fork of a process that has imported the rooms before it that are without torch."""


@pytest.fixture(scope="module")
def complaints() -> dict[str, str]:
    """What is wrong with the import of each room, or nothing."""
    rooms = {room: sorted(excepted) for room, excepted in ROOMS.items()}
    done = subprocess.run(
        [sys.executable, "-c", IMPORT_EACH, json.dumps(rooms)],
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    )
    found: dict[str, str] = json.loads(done.stdout.splitlines()[-1])
    return found


@pytest.mark.parametrize("room", ROOMS)
def test_rooms_that_claim_it_import_without_torch(complaints: dict[str, str], room: str) -> None:
    """All modules of the room but those of its inner rooms, which speak for themselves."""
    assert complaints[room] == ""


def test_rooms_without_torch_are_read_from_the_map() -> None:
    rooms = _rooms_without_torch()
    assert rooms["mmrlhf_jobs.data"] == set()
    assert rooms["mmrlhf_jobs.scores"] == {"cache", "passes"}


def test_the_map_names_every_room_and_nothing_else() -> None:
    packages = {
        f"{path.parent.relative_to(ROOT)}/"
        for package in PACKAGES
        for path in (ROOT / package).rglob("__init__.py")
    }
    named = {name for name in _map() if name.startswith(tuple(PACKAGES))}
    assert not packages - named, "rooms that the map of AGENTS.md does not name"
    assert {name for name in _map() if not (ROOT / name).exists()} == set()


def test_every_decision_is_listed() -> None:
    folder = ROOT / "docs" / "adr"
    listed = set(re.findall(r"\((\d{4}-[a-z0-9-]+\.md)\)", (folder / "README.md").read_text()))
    assert listed == {path.name for path in folder.glob("[0-9]*.md")}


def test_changelog_has_the_version_of_the_package() -> None:
    version = re.search(r'^version = "(.+)"', (ROOT / "pyproject.toml").read_text(), re.MULTILINE)
    assert version
    assert f"[{version.group(1)}]" in (ROOT / "CHANGELOG.md").read_text()


def test_the_workflow_runs_targets_of_the_makefile() -> None:
    targets = set(re.findall(r"^([a-z0-9-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    workflow = yaml.safe_load((ROOT / ".github/workflows/test.yaml").read_text())
    used = set(workflow["jobs"]["quick"]["strategy"]["matrix"]["target"])
    for job in workflow["jobs"].values():
        runs = "\n".join(step.get("run", "") for step in job["steps"])
        used |= set(re.findall(r"\bmake ([a-z0-9-]+)", runs))
    assert len(used) >= 7
    assert used <= targets


def test_actions_are_named_by_commit_and_release() -> None:
    for path in (ROOT / ".github").rglob("*.y*ml"):
        used = re.findall(r"\buses:\s*(.*)", path.read_text())
        named = [one for one in used if not one.startswith("./")]
        pinned = re.compile(r"[\w.-]+/[\w./-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+")
        assert named, path
        assert [one for one in named if pinned.fullmatch(one) is None] == []
        releases = {tuple(one.split("@")) for one in named}
        assert len({name for name, _ in releases}) == len(releases), "one action, two releases"


def test_repo_map_names_every_top_level_folder() -> None:
    tracked = subprocess.run(
        ["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.splitlines()
    folders = {name.split("/")[0] for name in tracked if "/" in name}
    agents = (ROOT / "AGENTS.md").read_text()
    assert not {folder for folder in folders if f"`{folder}/" not in agents}


@pytest.mark.parametrize("kind", KINDS.values(), ids=lambda kind: kind.name)
def test_what_runs_a_kind_is_there(kind: Kind) -> None:
    """By its text: to import it is to import torch."""
    module, _, function = kind.runner.partition(":")
    path = ROOT / "jobs" / f"{module.replace('.', '/')}.py"
    assert re.search(rf"^def {function}\(", path.read_text(), re.MULTILINE)


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP"])
def test_programs_of_tests_hear_a_signal_where_the_tests_are_to_ignore_it(name: str) -> None:
    """As ``pytest &`` in a script (SIGINT) and ``nohup pytest`` (SIGHUP) start them."""
    code = """
import signal, subprocess, sys
number = getattr(signal, sys.argv[1])
signal.signal(number, signal.SIG_IGN)
import tests.conftest
if number != signal.SIGINT:
    signal.raise_signal(number)
ask = "import signal, sys; print(signal.getsignal(getattr(signal, sys.argv[1])) != signal.SIG_IGN)"
subprocess.run([sys.executable, "-c", ask, sys.argv[1]], check=True)
"""
    asked = subprocess.run(
        [sys.executable, "-c", code, name], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert asked.stdout.strip() == "True"
