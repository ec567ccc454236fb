"""Fixtures of the tests that need an S3 server."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from uuid import uuid4

import pytest

from mmrlhf_jobs.storage.artifacts import ArtifactStore
from mmrlhf_jobs.storage.s3 import PatientS3
from mmrlhf_jobs.storage.uris import StorageOptions
from tests.jobs.training.world import World
from tests.s3.server import S3Server, run_server


@dataclass(frozen=True)
class Bucket:
    """A bucket of a test's own.

    Attributes:
        name: Its name.
        server: The server it is on.
    """

    name: str
    server: S3Server

    @property
    def uri(self) -> str:
        return f"s3://{self.name}"

    @property
    def options(self) -> StorageOptions:
        return StorageOptions(endpoint=self.server.endpoint, region=self.server.region)

    def store(self, prefix: str = "artifacts") -> ArtifactStore:
        return ArtifactStore(f"{self.uri}/{prefix}", self.options)


@pytest.fixture(scope="session")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    """One server for all tests."""
    with run_server(tmp_path_factory.mktemp("s3")) as server:
        yield server


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> World:
    """Inputs of a tiny training that nobody changes."""
    return World.make(tmp_path_factory.mktemp("template"))


@pytest.fixture(autouse=True)
def environment(s3: S3Server, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The server's credentials, and no client left over from a test with other ones."""
    for name in ("AWS_PROFILE", "AWS_SESSION_TOKEN", "AWS_CA_BUNDLE", "AWS_ENDPOINT_URL"):
        monkeypatch.delenv(name, raising=False)
    for name, value in s3.environment().items():
        monkeypatch.setenv(name, value)
    PatientS3.clear_instance_cache()
    yield
    PatientS3.clear_instance_cache()


@pytest.fixture
def bucket(s3: S3Server) -> Bucket:
    """An empty bucket."""
    name = f"test-{uuid4().hex[:12]}"
    s3.create_bucket(name)
    return Bucket(name, s3)
