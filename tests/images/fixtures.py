"""Built images as pytest fixtures; a plugin, to be named once in `pytest_plugins`."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from images.recipes import REPOSITORY
from tests.cluster.access import Access
from tests.cluster.cluster import Cluster
from tests.images.contents import Contents

_OUTSIDE = os.open("/proc/self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
"""The network in which tests are collected: that of the test cluster reaches no package index."""

_NAMES = "MMRLHF_TEST_IMAGES"


@dataclass(frozen=True)
class Image:
    """An image in a folder of its own (see `images.layouts`)."""

    name: str
    layout: Path


@pytest.fixture(scope="session")
def built() -> Callable[[str], Image]:
    """Builds an image by its name, once for all tests."""
    made: dict[str, Image] = {}

    def build(name: str) -> Image:
        if name not in made:
            made[name] = build_image(name)
        return made[name]

    return build


@pytest.fixture(scope="session")
def node(full_cluster: Access) -> Cluster:
    """A cluster into which images can be loaded."""
    if not isinstance(full_cluster, Cluster):
        pytest.skip("images are loaded into the tests' own cluster only")
    return full_cluster


@pytest.fixture(scope="session")
def load(full_cluster: Access, built: Callable[[str], Image]) -> Callable[[str], str]:
    """Builds an image, loads it into the node, and returns its name there.

    Someone's own cluster has its images already, under names that MMRLHF_TEST_IMAGES says.
    """
    if not isinstance(full_cluster, Cluster):
        names = os.environ.get(_NAMES, "")
        if "{}" not in names:
            pytest.skip(f"no images for this cluster: {_NAMES} must be as example.org/{{}}:tag")
        return names.format
    loaded: set[str] = set()

    def bring(name: str) -> str:
        image = built(name)
        if name not in loaded:
            full_cluster.load_image(image.layout)
            loaded.add(name)
        return image.name

    return bring


@pytest.fixture(scope="session")
def operator_contents(built: Callable[[str], Image]) -> Iterator[Contents]:
    """What is in the operator image."""
    with Contents.open(built("operator").layout) as contents:
        yield contents


@pytest.fixture(scope="session")
def train_contents(built: Callable[[str], Image]) -> Iterator[Contents]:
    """What is in the train image."""
    with Contents.open(built("train").layout) as contents:
        yield contents


@pytest.fixture(scope="session")
def sample_contents(built: Callable[[str], Image]) -> Iterator[Contents]:
    """What is in the sample image."""
    with Contents.open(built("sample").layout) as contents:
        yield contents


def build_image(name: str) -> Image:
    """Build an image, or find it built already."""
    done = subprocess.run(
        ["nsenter", f"--net=/proc/{os.getpid()}/fd/{_OUTSIDE}", "--", sys.executable, "-m",
         "images.build", "--image", name, "--revision", "tests"],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
    )  # fmt: skip
    if done.returncode != 0:
        pytest.fail(done.stderr.strip(), pytrace=False)
    print(done.stdout.strip())
    tag, *_, layout = done.stdout.splitlines()[-1].split("  ")
    return Image(tag, Path(layout))
