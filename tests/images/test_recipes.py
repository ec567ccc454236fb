"""The Dockerfiles, and the parts of the build that need no buildah."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from packaging.utils import canonicalize_name

from images import recipes
from images.commands import run
from images.errors import BuildError
from images.package_index import PackageIndex
from images.recipes import DOCKERFILE, IMAGES, OPTIONAL, REPOSITORY, source_digest
from images.requirements import requirements
from images.trim import compile_all, trim
from mmrlhf_api.steps.lmms_eval import PROGRAM as LMMS_EVAL
from tools.hashes import TOGETHER, read_pins

PINS = "constraints-lmms-eval.txt"


def test_hadolint_finds_nothing() -> None:
    program = Path(sys.executable).parent / "hadolint"
    done = subprocess.run(
        [program, "--config", ".hadolint.yaml", DOCKERFILE],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def stages() -> dict[str, tuple[str, str]]:
    """What each stage of the Dockerfile is built on, and its text without comments."""
    text = re.sub(r"(?m)^ *#.*\n", "", (REPOSITORY / DOCKERFILE).read_text())
    parts = re.split(r"(?m)^FROM (\S+) AS (\S+)\n", text)[1:]
    return {
        name: (base, body.strip())
        for base, name, body in zip(parts[::3], parts[1::3], parts[2::3], strict=True)
    }


def below(stage: str) -> list[str]:
    """The stage and all that it is built on, the last one from outside."""
    return [stage, *below(stages()[stage][0])] if stage in stages() else [stage]


def test_every_image_is_a_stage_and_the_operator_is_the_last() -> None:
    assert {*IMAGES, *OPTIONAL} <= set(stages())
    assert list(stages())[-1] == "operator"


def test_the_images_of_jobs_share_all_packages_but_those_of_the_map() -> None:
    assert below("train")[1:] == below("sample")[1:]
    found = stages()
    assert "COPY --from=sample-compiled /out/ /" in found["sample"][1]
    assert below("sample-compiled")[1] == "sample-installed"
    assert below("sample-installed")[1:] == below("train")[2:]


def test_lmms_eval_has_an_environment_of_its_own_before_that_of_jobs_in_no_other_image() -> None:
    found = stages()
    assert below("lmms-eval")[1:] == below("train")[1:]
    assert "COPY --from=lmms-eval-installed /opt/lmms-eval /opt/lmms-eval" in found["lmms-eval"][1]
    assert LMMS_EVAL == "/opt/lmms-eval/bin/python"
    using = {name for name, (base, body) in found.items() if "lmms-eval" in base + body}
    assert using == {"lmms-eval", "lmms-eval-installed"}


def test_lmms_eval_is_pinned_whole_and_never_takes_the_place_of_torch() -> None:
    def found(*names: str) -> dict[str, str]:
        return {str(canonicalize_name(one)): v for one, v in read_pins(REPOSITORY, names).items()}

    pins, ours = found(PINS), found(*TOGETHER)
    assert {"lmms-eval", "torchvision", "decord"} <= pins.keys()
    assert pins["torchvision"] == ours["torchvision"], "it belongs to the release of torch"
    assert not pins.keys() & {"torch", "transformers", "accelerate", "tokenizers", "numpy"}


def test_the_base_is_an_argument_with_a_pinned_default() -> None:
    text = (REPOSITORY / DOCKERFILE).read_text()
    (default,) = re.findall(r"(?m)^ARG BASE=(\S+)$", text)
    # A tag says which one is meant; the digest says which one it is.
    assert re.fullmatch(r"docker\.io/\S+:\d[^@\s]+@sha256:[0-9a-f]{64}", default)
    assert {base for base, _ in stages().values()} - set(stages()) == {"scratch", "${BASE}"}


@pytest.mark.parametrize("image", [*IMAGES, *OPTIONAL])
def test_the_last_stage_runs_nothing_and_is_not_root(image: str) -> None:
    last = stages()[image][1]
    assert "\nUSER 65532:65532" in last
    assert not re.search(r"(?m)^(RUN|ADD) ", last)


def test_the_context_is_what_the_digest_covers() -> None:
    ignore = (REPOSITORY / ".dockerignore").read_text().splitlines()
    allowed = {line.removeprefix("!") for line in ignore if line.startswith("!")}
    assert allowed == set(recipes._COPIED) - {".dockerignore"}


def test_the_digest_follows_what_is_copied_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in (*recipes._COPIED, "images/build.py", str(DOCKERFILE)):
        source, target = REPOSITORY / name, tmp_path / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, target)
        else:
            shutil.copyfile(source, target)
    monkeypatch.setattr(recipes, "REPOSITORY", tmp_path)

    def digests() -> list[str]:
        return [source_digest(name, base="b", revision="r") for name in IMAGES]

    first = digests()
    assert len(set(first)) == 3
    assert source_digest("train", base="other", revision="r") not in first
    assert source_digest("train", base="b", revision="other") not in first
    (tmp_path / "jobs/mmrlhf_jobs/__pycache__").mkdir(exist_ok=True)
    (tmp_path / "jobs/mmrlhf_jobs/__pycache__/x.pyc").write_bytes(b"x")
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs/new.md").write_text("x")
    assert digests() == first
    (tmp_path / "Dockerfile").write_text("FROM scratch\n")
    assert not set(digests()) & set(first)
    shutil.copyfile(REPOSITORY / "Dockerfile", tmp_path / "Dockerfile")
    assert digests() == first
    (tmp_path / "jobs/mmrlhf_jobs/new.py").write_text("x")
    assert not set(digests()) & set(first)


def test_all_that_is_installed_has_a_digest_and_comes_from_one_index() -> None:
    """Dockerfile, its scripts and the Makefile, command by command."""
    names = (DOCKERFILE, "images/install.sh", "images/beside.sh", "Makefile")
    texts = [(REPOSITORY / name).read_text() for name in names]
    commands = [
        line
        for text in texts
        for line in re.sub(r"\\\n *", "", re.sub(r"(?m)^\s*@?#.*\n", "", text)).splitlines()
        for line in re.split(r"&&|;", line)
        if re.search(r"\bpip\b.* install\b", line)
    ]
    assert len(commands) >= 9
    for command in commands:
        assert "extra-index" not in command
        # What is ours has no digest, and brings nothing with it; `make lowest` is for tests alone.
        hashed = "--require-hashes" in command or "$(HASHED)" in command
        assert hashed or "--no-deps" in command or "$(LOWEST)" in command, command


def test_requirements_are_those_of_the_extras() -> None:
    text = """
        [project]
        name = "ours"
        dependencies = ["base>=1"]
        [project.optional-dependencies]
        jobs = ["torch>=2", "base>=1"]
        cli = ["typer"]
        dev = ["ours[jobs]", "ruff"]
    """
    assert requirements(text, ["jobs", "dev"]) == ["base>=1", "ruff", "torch>=2"]
    assert requirements(text, ["jobs", "cli"]) == ["base>=1", "torch>=2", "typer"]
    assert requirements(text, []) == ["base>=1"]
    with pytest.raises(KeyError):
        requirements(text, ["nothing"])


def test_pip_settings_are_carried_and_local_indexes_are_not(tmp_path: Path) -> None:
    bundle = tmp_path / "bundle.pem"
    bundle.write_text("certificate")
    listed = "\n".join(
        [
            ":env:.timeout='30'",
            f"global.cert='{bundle}'",
            "global.extra-index-url='file:///somewhere/simple https://index.test/simple'",
            f"global.find-links='{tmp_path}/missing {tmp_path}'",
            "global.index-url='https://user:word%20@index.test/simple'",
            "global.no-cache-dir='true'",
        ]
    )
    index = PackageIndex.parse(listed, {})
    assert index == PackageIndex(
        settings={
            "index-url": "https://user:word%20@index.test/simple",
            "timeout": "30",
        },
        certificates=bundle,
        wheels=tmp_path,
    )
    secrets = index.write(tmp_path)
    assert secrets == {"pip": tmp_path / "pip.conf", "ca": bundle}
    text = secrets["pip"].read_text()
    assert "index-url = https://user:word%20@index.test/simple\n" in text
    assert "cert = /run/secrets/ca.crt\n" in text
    assert str(tmp_path) not in text


def test_without_pip_settings_nothing_is_carried(tmp_path: Path) -> None:
    index = PackageIndex.parse("", {"SSL_CERT_FILE": str(tmp_path / "missing")})
    assert index == PackageIndex({}, None, None)
    assert index.write(tmp_path)["pip"].read_text().strip() == "[global]"


def test_trimming_keeps_what_runs(tmp_path: Path) -> None:
    kept = ("torch/nn/a.py", "torch/bin/torch_shm_manager", "numpy/testing/a.py", "torch/lib/a.so")
    gone = ("torch/test/a.py", "torch/include/a.h", "torch/bin/test_jit", "numpy/linalg/tests/a.py",
            "pyarrow/tests/a.py", "pyarrow/lib.pxd")  # fmt: skip
    for name in (*kept, *gone):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("x = 1\n")
    trim(tmp_path)
    assert all((tmp_path / name).exists() for name in kept)
    assert not any((tmp_path / name).exists() for name in gone)
    assert compile_all(tmp_path)
    (compiled,) = (tmp_path / "torch/nn/__pycache__").iterdir()
    assert compiled.read_bytes()[4:8] == b"\x01\x00\x00\x00"


def test_a_command_that_fails_shows_the_end_of_what_it_said(tmp_path: Path) -> None:
    script = "for i in $(seq 100); do echo line $i; done; exit 3"
    log = tmp_path / "log"
    log.write_text("earlier\n")
    with pytest.raises(BuildError, match=r"could not count \(sh ended with 3\)") as caught:
        run(["sh", "-c", script], what="count", log=log)
    assert "line 100" in str(caught.value)
    assert "line 1\n" not in str(caught.value)
    assert str(log) in str(caught.value)
    assert log.read_text().startswith("earlier\nline 1\n")
    with pytest.raises(BuildError, match="no-such-program is not installed"):
        run(["no-such-program"], what="begin")
