from __future__ import annotations

import errno
from collections.abc import Callable
from pathlib import Path

import pytest
from botocore.exceptions import (  # type: ignore[import-untyped]
    ClientError,
    EndpointConnectionError,
    SSLError,
)
from s3fs.errors import translate_boto_error

from mmrlhf_jobs.errors import (
    DataError,
    InputError,
    JobError,
    StorageError,
    StorageFullError,
    StorageUnavailableError,
)
from mmrlhf_jobs.storage.uris import (
    StorageOptions,
    join_uri,
    locate,
    parent_uri,
    storage_errors,
)


def test_paths_and_file_uris_are_local(tmp_path: Path) -> None:
    for uri in (str(tmp_path), f"file://{tmp_path}"):
        location = locate(uri)
        assert location.is_local
        assert location.path == str(tmp_path)
    assert not locate("memory://x").is_local


def test_s3_takes_endpoint_and_region_and_caches_no_listing() -> None:
    location = locate("s3://bucket/key", StorageOptions("http://127.0.0.1:1", "r1"))
    assert location.path == "bucket/key"
    assert location.fs.client_kwargs == {"region_name": "r1", "endpoint_url": "http://127.0.0.1:1"}
    assert location.fs.config_kwargs["s3"] == {"addressing_style": "path"}
    assert location.fs.dircache.use_listings_cache is False
    assert not locate("s3://bucket").fs.client_kwargs


def test_an_unknown_scheme_is_the_users_error() -> None:
    with pytest.raises(InputError, match="use a path, file:// or s3://"):
        locate("nosuch://x")


@pytest.mark.parametrize(
    ("base", "relative", "expected"),
    [
        ("/data", "a/b.png", "/data/a/b.png"),
        ("/data/", "./a//b.png", "/data/a/b.png"),
        ("s3://bucket/x", "a/../b.png", "s3://bucket/x/b.png"),
        ("/data", "/other/a.png", "/other/a.png"),
        ("/data", "s3://bucket/a.png", "s3://bucket/a.png"),
    ],
)
def test_relative_uris_are_joined_and_absolute_ones_kept(
    base: str, relative: str, expected: str
) -> None:
    assert join_uri(base, relative) == expected


@pytest.mark.parametrize("relative", ["..", "../x", "a/../../x"])
def test_relative_uris_stay_inside(relative: str) -> None:
    with pytest.raises(InputError, match="leads out of /data"):
        join_uri("/data", relative)


@pytest.mark.parametrize(
    ("uri", "parent"),
    [
        ("/a/b.jsonl", "/a"),
        ("a/b.jsonl", "a"),
        ("b.jsonl", "."),
        ("s3://bucket/a/b.jsonl", "s3://bucket/a"),
        ("s3://bucket/b.jsonl", "s3://bucket"),
        ("file:///a/b.jsonl", "file:///a"),
        ("file:///b.jsonl", "file:///"),
    ],
)
def test_parents(uri: str, parent: str) -> None:
    assert parent_uri(uri) == parent


def _busy() -> Exception:
    response = {
        "Error": {"Code": "SlowDown", "Message": "please slow down"},
        "ResponseMetadata": {"HTTPStatusCode": 503},
    }
    translated: Exception = translate_boto_error(ClientError(response, "PutObject"))
    return translated


def os_error(number: int) -> Callable[[], Exception]:
    return lambda: OSError(number, "reason")


@pytest.mark.parametrize(
    ("make", "kind", "message"),
    [
        (os_error(errno.ENOSPC), StorageFullError, "disk full: cannot write x"),
        (os_error(errno.EDQUOT), StorageFullError, "disk full: cannot write x"),
        (os_error(errno.EACCES), InputError, "x: no permission to write it"),
        (os_error(errno.EROFS), InputError, "x: no permission to write it"),
        (lambda: PermissionError("Access Denied"), InputError, "check its owner, mount and cred"),
        (os_error(errno.ENOENT), StorageError, "x: does not exist"),
        (os_error(errno.EIO), StorageError, "cannot write x: .*reason"),
        (
            lambda: EndpointConnectionError(endpoint_url="http://e"),
            StorageUnavailableError,
            "the store is away: check the endpoint",
        ),
        (
            lambda: SSLError(endpoint_url="https://e", error="self-signed"),
            StorageError,
            "check the endpoint, region and credentials",
        ),
        (_busy, StorageUnavailableError, "please slow down; the store is away"),
        (lambda: DataError("as it was"), DataError, "^as it was$"),
        (lambda: KeyError("a bug"), KeyError, "a bug"),
    ],
)
def test_errors_of_stores_become_ours(
    make: Callable[[], Exception], kind: type[Exception], message: str
) -> None:
    with pytest.raises(kind, match=message) as caught, storage_errors("x", "write"):
        raise make()
    assert type(caught.value) is kind
    assert isinstance(caught.value, JobError | KeyError)


def test_a_server_that_does_not_answer_is_a_storage_error() -> None:
    options = StorageOptions("http://127.0.0.1:9", "r1", patience=0)
    location = locate("s3://bucket/key", options)
    location.fs.key, location.fs.secret = "k", "s"
    with (
        pytest.raises(StorageUnavailableError, match="cannot read"),
        storage_errors("s3://bucket/key", "read"),
    ):
        location.fs.cat_file(location.path)
