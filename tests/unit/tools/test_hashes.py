"""hashes/: digests of what may be installed, for exactly the versions that are pinned."""

from __future__ import annotations

import hashlib
import re
import shutil
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

from tools.hashes import (
    APART,
    FILES,
    TOGETHER,
    File,
    Index,
    Maker,
    closure,
    read_hashes,
    read_pins,
    render,
    usable,
)
from tools.lowest import lowest, pinned

ROOT = Path(__file__).resolve().parents[3]
PYTHONS = SpecifierSet(">=3.11,<3.14")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())


def test_each_pin_has_its_digests_in_one_file_and_nothing_else_has() -> None:
    texts = {name: (ROOT / name).read_text() for name in FILES}
    pins = {
        "together": read_pins(ROOT),
        **{to: read_pins(ROOT, [one]) for one, to in APART.items()},
    }
    listed: dict[str, list[str]] = {name: [] for name in pins}
    for name, text in texts.items():
        listed[name if name in pins else "together"] += read_hashes(text)
    for name, some in pins.items():
        assert sorted(listed[name]) == sorted(f"{one}=={some[one]}" for one in some), (
            "constraints have changed: `make hashes`"
        )
    for text in texts.values():
        for pin, digests in read_hashes(text).items():
            assert digests, pin
            assert all(re.fullmatch("[0-9a-f]{64}", one) for one in digests), pin
        some = dict(pin.split("==") for pin in read_hashes(text))
        assert text == render(some, read_hashes(text)), "it is written by `make hashes` alone"


def test_pins_are_within_the_bounds_that_are_claimed() -> None:
    project = PROJECT["project"]
    extras = project["optional-dependencies"].values()
    lines = {line for extra in extras for line in extra} | {*project["dependencies"]}
    lines |= {*PROJECT["build-system"]["requires"]}
    found = read_pins(ROOT, [*TOGETHER, "constraints-trackers.txt"])
    pins = {canonicalize_name(name): version for name, version in found.items()}
    assert len(lines) > 40
    for line in lines:
        requirement = Requirement(line)
        name = canonicalize_name(requirement.name)
        if name != "mmrlhf":
            assert requirement.specifier.contains(pins[name]), f"{line}, but {pins[name]} is pinned"


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("a_b-1.0-py3-none-any.whl", True),
        ("a_b-1.0-py2.py3-none-any.whl", True),
        ("a_b-1.0-cp311-cp311-manylinux_2_28_x86_64.whl", True),
        ("a_b-1.0-cp313-cp313-macosx_14_0_arm64.whl", True),
        ("a_b-1.0-cp39-abi3-win_amd64.whl", True),
        ("a_b-1.0+cpu-cp311-cp311-manylinux_2_28_x86_64.whl", True),
        ("a_b-1.0.tar.gz", True),
        ("a-b-1.0.tar.gz", True),
        ("a_b-1.0-cp310-cp310-manylinux_2_28_x86_64.whl", False),
        ("a_b-1.0-cp314-abi3-manylinux_2_28_x86_64.whl", False),
        ("a_b-1.0-pp311-pypy311_pp73-win_amd64.whl", False),
        ("a_b-1.0.1-py3-none-any.whl", False),
        ("a_b-1.0.post1.tar.gz", False),
        ("a_b-1.0-py3.11.egg", False),
        ("a_b-1.0.win-amd64.exe", False),
    ],
)
def test_files_of_the_version_for_every_supported_python(name: str, expected: bool) -> None:
    assert usable(name, "1.0", PYTHONS) is expected


def test_what_packages_need_on_any_machine() -> None:
    needs = {
        "a": ["B_c>=1; sys_platform == 'win32'", "d[x]; extra == 'more'"],
        "b-c": ["e", "a"],
        "e": [],
    }
    assert closure(["a>=2"], needs.__getitem__) == {"a", "b-c", "e"}


class Known(Index):
    """An index that has what it is told."""

    def files(self, name: str) -> list[File]:
        return {
            "packaging": [
                File("packaging-1.0-py3-none-any.whl", "a" * 64),
                File("packaging-2.0-py3-none-any.whl", "b" * 64),
                File("packaging-3.0-py3-none-any.whl", "9" * 64),
            ],
            "pip": [File("pip-3-py3-none-any.whl", "c" * 64)],
            "iniconfig": [File("iniconfig-4.tar.gz", "d" * 64)],
            "not-here": [File("not_here-5-py3-none-any.whl", "e" * 64)],
            "weights": [File("weights-6-py3-none-any.whl", "f" * 64)],
            "scribe": [File("scribe-7-py3-none-any.whl", "0" * 64)],
        }[name]


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    (tmp_path / "pyproject.toml").write_text(
        """
        [build-system]
        requires = []
        [project]
        requires-python = ">=3.11"
        dependencies = ["packaging"]
        optional-dependencies = {operator = [], cli = [], jobs = [], sample = []}
        """
    )
    (tmp_path / "constraints.txt").write_text("iniconfig==4\npackaging==1.0\n")
    (tmp_path / "constraints-beside.txt").write_text("# more\nnot-here==5\npip==3\n")
    (tmp_path / "constraints-examples.txt").write_text("# read\nweights==6\n")
    (tmp_path / "constraints-trackers.txt").write_text("# alone\nscribe==7\n")
    (tmp_path / "constraints-lmms-eval.txt").write_text("# other versions\npackaging==3.0\n")
    return tmp_path


def read(repository: Path) -> list[dict[str, set[str]]]:
    return [read_hashes((repository / name).read_text()) for name in FILES]


def test_files_are_written_by_what_needs_them(repository: Path) -> None:
    Maker(Known(), root=repository).write()
    assert read(repository) == [
        {"pip==3": {"c" * 64}},
        # What is not installed here comes with what images hold.
        {"packaging==1.0": {"a" * 64}, "not-here==5": {"e" * 64}},
        {"iniconfig==4": {"d" * 64}},
        # What examples read is not installed either, and is in no image.
        {"weights==6": {"f" * 64}},
        # Nor is what `make trackers` alone installs.
        {"scribe==7": {"0" * 64}},
        # An environment of its own may have another version of the same.
        {"packaging==3.0": {"9" * 64}},
    ]


def test_wheels_of_this_machine_are_listed_and_stay_where_there_are_none(repository: Path) -> None:
    wheels = repository / "wheels"
    wheels.mkdir()
    for version in ("1.0+cpu", "2.0+cpu"):
        (wheels / f"packaging-{version}-py3-none-any.whl").write_text(version)
    Maker(Known(), wheels, root=repository).write()
    local = hashlib.sha256(b"1.0+cpu").hexdigest()
    assert read(repository)[1]["packaging==1.0"] == {"a" * 64, local}
    shutil.rmtree(wheels)
    Maker(Known(), root=repository).write()
    assert read(repository)[1]["packaging==1.0"] == {"a" * 64, local}
    (repository / "constraints.txt").write_text("iniconfig==4\npackaging==2.0\n")
    Maker(Known(), root=repository).write()
    assert "packaging==1.0" not in read(repository)[1]
    assert read(repository)[1]["packaging==2.0"] == {"b" * 64}


def test_a_version_that_the_index_has_not_is_told(repository: Path) -> None:
    (repository / "constraints.txt").write_text("packaging==9\n")
    with pytest.raises(ValueError, match="has no file of packaging==9"):
        Maker(Known(), root=repository).write()


def test_the_lowest_versions_are_those_of_the_bounds() -> None:
    lines = ["a>=1.2,!=1.3", "b[x]==2.0", "c>=3,<4; python_version > '3'"]
    assert lowest(lines) == ["a==1.2", "b==2.0", "c==3"]
    for line in ("a", "a<2", "a>1"):
        with pytest.raises(ValueError, match="give the lowest version"):
            lowest([line])
    assert pinned(["A_b>=1"], {"a-b": "7"}) == ["A_b==7"]
