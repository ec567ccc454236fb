"""What is in the images: no root, no secrets, our code in a thin layer of its own."""

from __future__ import annotations

import stat
from collections.abc import Callable
from fnmatch import fnmatch
from pathlib import Path

import pytest

from images.package_index import PackageIndex
from images.recipes import REPOSITORY, version
from tests.images.contents import Contents
from tests.images.fixtures import Image, build_image

MIB = 2**20


@pytest.fixture(params=["operator", "train", "sample"])
def contents(request: pytest.FixtureRequest) -> Contents:
    found: Contents = request.getfixturevalue(f"{request.param}_contents")
    return found


def test_containers_are_not_root_and_write_below_tmp(contents: Contents) -> None:
    assert contents.config["User"] == "65532:65532"
    variables = dict(entry.split("=", 1) for entry in contents.config["Env"])
    assert variables["PATH"].startswith("/opt/mmrlhf/bin:")
    for name in ("HOME", "TMPDIR", "XDG_CACHE_HOME", "XDG_CONFIG_HOME"):
        assert variables[name].startswith("/tmp")
    assert b"mmrlhf:x:65532:65532:" in contents.read("etc/passwd")
    assert contents.read("etc/passwd").startswith(b"root:")


def test_labels_say_what_it_was_built_from(contents: Contents) -> None:
    labels = contents.config["Labels"]
    assert labels["org.opencontainers.image.version"] == version()
    assert labels["org.opencontainers.image.revision"] == "tests"
    assert labels["org.opencontainers.image.licenses"] == "Apache-2.0"


def test_only_a_thin_layer_holds_our_code(contents: Contents) -> None:
    *lower, top = contents.layers
    ours = "opt/mmrlhf/lib/python3.11/site-packages/mmrlhf_jobs/launch.py"
    assert ours in top.getnames()
    assert not any("mmrlhf_jobs" in name for layer in lower for name in layer.getnames())
    assert sum(member.size for member in top.getmembers()) < 16 * MIB
    for name in (ours, "opt/mmrlhf/bin/mmrlhfctl", "opt/mmrlhf/bin/kubectl-mmrlhf"):
        assert contents.read(name)
    assert contents.read("opt/mmrlhf/bin/mmrlhfctl").startswith(b"#!/opt/mmrlhf/bin/python")


def test_modules_are_compiled_and_not_compiled_again(contents: Contents) -> None:
    names = set(contents.names())
    prefix = "opt/mmrlhf/lib/python3.11/site-packages"
    for module in ("mmrlhf_api/kinds/__pycache__/registry", "yaml/__pycache__/loader"):
        compiled = f"{prefix}/{module}.cpython-311.pyc"
        assert compiled in names
        # PEP 552: hash-based, and not checked against the source.
        assert contents.read(compiled)[4:8] == b"\x01\x00\x00\x00"


def test_versions_are_those_of_the_constraints(contents: Contents) -> None:
    lines = (REPOSITORY / "constraints.txt").read_text().splitlines()
    pinned = dict(line.split("==") for line in lines)
    pinned = {name.lower().replace("-", "_"): wanted for name, wanted in pinned.items()}
    found = {}
    for name in contents.names():
        path = Path(name)
        if path.match("opt/mmrlhf/lib/*/site-packages/*.dist-info/METADATA"):
            package, _, installed = path.parent.stem.rpartition("-")
            found[package.lower().replace("-", "_")] = installed.partition("+")[0]
    assert {"pydantic", "torchx_nightly"} < found.keys()
    differing = {
        name: (installed, pinned.get(name))
        for name, installed in found.items()
        # pip freeze, which writes the constraints, leaves setuptools out.
        if name not in ("mmrlhf", "setuptools") and installed != pinned.get(name)
    }
    assert not differing


def test_the_operator_has_no_torch_and_train_no_kubernetes(
    operator_contents: Contents, train_contents: Contents
) -> None:
    prefix = "opt/mmrlhf/lib/python3.11/site-packages"
    operator, train = set(operator_contents.names()), set(train_contents.names())
    assert f"{prefix}/kopf/__init__.py" in operator
    assert not any(name.startswith(f"{prefix}/torch/") for name in operator)
    assert f"{prefix}/torch/__init__.py" in train
    assert f"{prefix}/deepspeed/__init__.py" in train
    assert not any(name.startswith((f"{prefix}/kubernetes/", f"{prefix}/kopf/")) for name in train)


def test_the_sample_image_is_the_train_image_and_a_layer_for_the_map(
    train_contents: Contents, sample_contents: Contents
) -> None:
    train, sample = train_contents, sample_contents
    layers = [one.whole["rootfs"]["diff_ids"] for one in (train, sample)]
    assert layers[1][:-2] == layers[0][:-1]
    assert sorted(sample.layers[-1].getnames()) == sorted(train.layers[-1].getnames())
    theirs, ours = dict(train.config), dict(sample.config)
    assert theirs.pop("Labels") != ours.pop("Labels")
    assert set(ours.pop("Env")) - set(theirs.pop("Env")) == {"NUMBA_CACHE_DIR=/tmp/.cache/numba"}
    assert ours == theirs
    members = {member.name: member.size for member in sample.layers[-2].getmembers()}
    prefix = "opt/mmrlhf/lib/python3.11/site-packages"
    assert f"{prefix}/umap/umap_.py" in members
    assert not any(name.startswith((f"{prefix}/numpy/", f"{prefix}/torch/")) for name in members)
    assert any(fnmatch(name, "opt/mmrlhf/share/numba/umap_*/*.nbi") for name in members)
    assert sum(members.values()) < 400 * MIB


def test_nothing_for_compilers_and_no_cache_is_in_it(contents: Contents) -> None:
    for name in contents.names():
        path = f"/{name}"
        assert "/root/.cache/" not in path
        assert "/torch/include/" not in path
        assert not path.startswith(("/tmp/", "/var/lib/apt/lists/", "/opt/build", "/wheels/"))
        assert not path.endswith((".deb", ".whl")) or path.startswith("/usr/share/python-wheels/")


def test_no_trace_of_the_machine_is_in_it(
    contents: Contents, built: Callable[[str], Image]
) -> None:
    index = PackageIndex.of_this_machine()
    secrets = {str(REPOSITORY), str(built("operator").layout.parents[1])}
    secrets |= {value for name, values in index.settings.items() if name != "timeout"
                for value in values.split()}  # fmt: skip
    if index.wheels is not None:
        secrets.add(str(index.wheels))
    if index.certificates is not None:
        theirs = contents.read("etc/ssl/certs/ca-certificates.crt").decode()
        for block in index.certificates.read_text().split("-----BEGIN CERTIFICATE-----")[1:]:
            body = block.partition("-----END")[0].strip()
            if body not in theirs:
                secrets.add(body.splitlines()[2])
    found = {secret for secret in secrets if contents.holds(secret.encode())}
    assert not found
    names = {name.rpartition("/")[2] for name in contents.names()}
    assert not names & {"pip.conf", "ca.crt", ".netrc"}
    assert contents.read("etc/hostname") == b"localhost\n"
    assert contents.read("etc/resolv.conf") == b""


def test_no_program_runs_as_someone_else_unless_debian_says_so(contents: Contents) -> None:
    ours = [layer for layer in contents.layers if "opt/mmrlhf" in layer.getnames()]
    assert ours
    for layer in ours:
        for member in layer.getmembers():
            assert not member.mode & (stat.S_ISUID | stat.S_ISGID), member.name
            assert not (member.isfile() and member.mode & stat.S_IWOTH), member.name


def test_an_image_is_not_built_twice() -> None:
    # Not the session's own: someone may have edited the code since that was built.
    first = build_image("operator")
    before = first.layout.stat()
    assert build_image("operator") == first
    assert first.layout.stat().st_ino == before.st_ino
