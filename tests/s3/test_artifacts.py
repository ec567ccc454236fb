"""Artifacts in a real object store: whole or not there, whatever happens on the way."""

from __future__ import annotations

import json
import random
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from functools import partial
from itertools import count
from pathlib import Path

import pytest

from mmrlhf_jobs.errors import InputError, JobError, StorageError, StorageUnavailableError
from mmrlhf_jobs.storage.artifacts import ArtifactStore
from mmrlhf_jobs.storage.files import new_file
from mmrlhf_jobs.storage.folders import FileEntry
from mmrlhf_jobs.storage.marker import MARKER
from mmrlhf_jobs.storage.uris import StorageOptions
from tests.cluster.certificates import Authority
from tests.patience import PATIENCE
from tests.s3.conftest import Bucket
from tests.s3.server import S3Server, TlsFiles, run_server

MULTIPART_BYTES = 101 * 2**20
"""s3fs uploads files of 100 MiB and more in parts of 50 MiB."""

PUBLISH = """
import sys
from mmrlhf_jobs.storage.artifacts import ArtifactStore
from mmrlhf_jobs.storage.folders import FileEntry
from mmrlhf_jobs.storage.uris import StorageOptions
folder, uri, endpoint, region, key = sys.argv[1:]
ArtifactStore(uri, StorageOptions(endpoint, region, patience=1)).publish(folder, key)
"""

HELD = """
import sys
from mmrlhf_jobs.storage.s3 import PatientS3
call, parts = PatientS3._call_s3, []
async def held(self, method, *arguments, **named):
    parts.extend([method] * (method == "upload_part"))
    if len(parts) == 2:
        print("in the middle", flush=True)
        sys.stdin.readline()
        parts.append("gone on")
    return await call(self, method, *arguments, **named)
PatientS3._call_s3 = held
"""
"""Stays before the second part of a file, until it is told to go on."""

REPLACE = """
import sys, pathlib
from mmrlhf_jobs.storage.artifacts import ArtifactStore
from mmrlhf_jobs.storage.folders import FileEntry
from mmrlhf_jobs.storage.uris import StorageOptions
folder, uri, endpoint, region, key = sys.argv[1:]
store = ArtifactStore(uri, StorageOptions(endpoint, region))
version = 0
while True:
    for name in ("a", "b", "sub/c"):
        path = pathlib.Path(folder, name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"version {version}")
    store.remove(key)
    store.publish(folder, key)
    version += 1
    print(version, flush=True)
"""


def make_folder(folder: Path, *, big: int = 0) -> Path:
    (folder / "sub").mkdir(parents=True)
    (folder / "config.json").write_text("{}")
    (folder / "empty").write_bytes(b"")
    (folder / "sub" / "name with spaces + \u00fc%.bin").write_bytes(bytes(range(256)))
    if big:
        (folder / "weights.bin").write_bytes(random.Random(1).randbytes(big))
    return folder


def content(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def start(program: str, folder: Path, bucket: Bucket, key: str) -> subprocess.Popen[str]:
    arguments = (f"{bucket.uri}/artifacts", bucket.server.endpoint, bucket.server.region, key)
    return subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(program), str(folder), *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def start_upload(folder: Path, bucket: Bucket) -> subprocess.Popen[str]:
    """Publish a folder as `one`; it stays in the middle of its large file."""
    process = start(HELD + PUBLISH, folder, bucket, "one")
    assert process.stdout is not None
    assert process.stdout.readline() == "in the middle\n", process.communicate()
    return process


def test_files_that_are_made_on_their_way_are_uploaded_some_at_once(
    bucket: Bucket, tmp_path: Path
) -> None:
    """The first one in parts, as s3fs uploads what is larger than 100 MiB."""
    store = bucket.store()
    sizes = {"a": 101 * 2**20, "b": 5, "c": 2**20, "d/e": 0}
    made = {name: partial(bytes, size) for name, size in sizes.items()}
    entries = store.publish_made(made, "run/rank-0")
    assert {entry.path: entry.size for entry in entries} == sizes
    store.fetch("run/rank-0", tmp_path / "fetched")
    assert (tmp_path / "fetched/a").read_bytes() == bytes(sizes["a"])
    assert store.publish_made(made, "run/rank-0") == entries

    def fail() -> bytes:
        raise StorageError("it cannot be made")

    with pytest.raises(StorageError, match="it cannot be made"):
        store.publish_made({**made, "c": fail, "a": partial(bytes, 1)}, "run/rank-1")
    assert {key.split("/")[1] for key in store.sizes()} == {"rank-0"}


def test_what_is_published_is_listed_fetched_and_removed(bucket: Bucket, tmp_path: Path) -> None:
    store = bucket.store()
    folder = make_folder(tmp_path / "made")
    store.check_writable()
    assert bucket.server.keys(bucket.name) == [], "the check leaves nothing"
    store.publish(folder, "runs/one/model")
    store.publish(folder, "runs/two")
    assert store.list_committed() == ["runs/one/model", "runs/two"]
    assert store.list_committed("runs/one") == ["runs/one/model"]
    assert store.list_committed("run") == [], "a prefix is a folder"
    assert not store.is_committed("runs/one")
    store.fetch("runs/one/model", tmp_path / "fetched")
    assert content(tmp_path / "fetched") == content(folder)
    store.remove("runs/one")
    assert store.list_committed() == ["runs/two"]
    store.remove("runs")
    assert bucket.server.keys(bucket.name) == []


def test_large_files_are_uploaded_in_parts_and_the_marker_last(
    bucket: Bucket, tmp_path: Path
) -> None:
    folder = make_folder(tmp_path / "made", big=MULTIPART_BYTES)
    names = {f"artifacts/one/{name}" for name in content(folder)}
    marker = f"artifacts/one/{MARKER}"
    process = start_upload(folder, bucket)
    try:
        keys = set(bucket.server.keys(bucket.name))
        assert keys == names - {"artifacts/one/weights.bin"}
        assert process.stdin is not None
        process.stdin.write("go on\n")
        process.stdin.flush()
        while process.poll() is None:
            keys = set(bucket.server.keys(bucket.name))
            assert marker not in keys or names < keys
        assert process.returncode == 0, process.communicate()
    finally:
        process.kill()
        process.communicate()
    assert set(bucket.server.keys(bucket.name)) == names | {marker}
    assert bucket.server.parts(bucket.name, "artifacts/one/weights.bin") == 3
    assert bucket.server.parts(bucket.name, "artifacts/one/config.json") == 0
    assert bucket.server.unfinished_uploads(bucket.name) == []
    bucket.store().fetch("one", tmp_path / "fetched")
    assert content(tmp_path / "fetched") == content(folder)


def test_kill_in_the_middle_of_an_upload_leaves_nothing_visible(
    bucket: Bucket, tmp_path: Path
) -> None:
    store = bucket.store()
    folder = make_folder(tmp_path / "made", big=MULTIPART_BYTES)
    process = start_upload(folder, bucket)
    process.kill()
    process.communicate()
    keys = bucket.server.keys(bucket.name)
    assert "artifacts/one/config.json" in keys
    assert "artifacts/one/weights.bin" not in keys
    assert bucket.server.unfinished_uploads(bucket.name) == ["artifacts/one/weights.bin"]
    assert store.list_committed() == []
    assert not store.is_committed("one")
    with pytest.raises(StorageError, match="no complete artifact is there"):
        store.fetch("one", tmp_path / "fetched")
    assert not (tmp_path / "fetched").exists()
    # The next attempt takes the place of the remains.
    other = make_folder(tmp_path / "other")
    store.publish(other, "one")
    store.fetch("one", tmp_path / "fetched")
    assert content(tmp_path / "fetched") == content(other)


def test_a_reader_beside_a_writer_never_sees_half_an_artifact(
    bucket: Bucket, tmp_path: Path
) -> None:
    """The writer replaces an artifact of three files over and over."""
    store = bucket.store()
    process = start(REPLACE, tmp_path / "made", bucket, "shared")
    assert process.stdout is not None
    seen: set[str] = set()
    refused = 0
    try:
        assert process.stdout.readline() == "1\n", process.communicate()
        deadline = time.monotonic() + 60 * PATIENCE
        for visit in count():
            if len(seen) >= 5 and refused >= 5:
                break
            assert process.poll() is None, process.communicate()
            assert time.monotonic() < deadline, (seen, refused)
            target = tmp_path / f"fetched-{visit}"
            try:
                store.fetch("shared", target)
            except StorageError:
                refused += 1
                assert not target.exists()
                continue
            found = content(target)
            assert found.keys() == {"a", "b", "sub/c"}
            assert len(set(found.values())) == 1, "files of different artifacts"
            seen.add(found["a"].decode())
    finally:
        process.kill()
        process.communicate()


def test_an_artifact_that_is_replaced_during_a_fetch_is_refused(
    bucket: Bucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The worst moment for it: after the first file of the old one has been read."""
    store = bucket.store()
    for version in ("old", "new"):
        folder = tmp_path / version
        folder.mkdir()
        for name in ("a", "b"):
            (folder / name).write_text(f"{version} {name}")
    store.publish(tmp_path / "old", "one")
    fetch_file = store._fetch_file

    def fetch_and_replace(key: str, entry: FileEntry, target: Path) -> None:
        fetch_file(key, entry, target)
        if entry.path == "a":
            store.remove("one")
            store.publish(tmp_path / "new", "one")

    monkeypatch.setattr(store, "_fetch_file", fetch_and_replace)
    with pytest.raises(StorageError, match="b is damaged"):
        store.fetch("one", tmp_path / "fetched")
    assert not (tmp_path / "fetched").exists()
    bucket.store().fetch("one", tmp_path / "fetched")
    assert content(tmp_path / "fetched") == content(tmp_path / "new")


def test_a_damaged_object_is_noticed(bucket: Bucket, tmp_path: Path) -> None:
    store = bucket.store()
    store.publish(make_folder(tmp_path / "made"), "one")
    bucket.server.client.put_object(Bucket=bucket.name, Key="artifacts/one/config.json", Body=b"[]")
    with pytest.raises(StorageError, match=r"config\.json is damaged"):
        store.fetch("one", tmp_path / "fetched")
    assert not (tmp_path / "fetched").exists()


def test_text_is_replaced_at_once(bucket: Bucket) -> None:
    store = bucket.store()
    assert store.read_text("attempts.json") is None
    store.write_text("attempts.json", json.dumps([1]))
    store.write_text("attempts.json", json.dumps([1, 2]))
    assert store.read_text("attempts.json") == "[1, 2]"


def test_a_file_that_fails_to_be_written_leaves_nothing(bucket: Bucket) -> None:
    uri = f"{bucket.uri}/scores.parquet"
    with pytest.raises(ZeroDivisionError), new_file(uri, bucket.options) as path:
        path.write_bytes(bytes([1 // (path.write_text("half") - 4)]))
    assert bucket.server.keys(bucket.name) == []
    with new_file(uri, bucket.options) as path:
        path.write_text("whole")
    assert bucket.server.read(bucket.name, "scores.parquet") == b"whole"


def use_everything(store: ArtifactStore, folder: Path) -> dict[str, Callable[[], object]]:
    return {
        "check": store.check_writable,
        "list": store.list_committed,
        "committed": lambda: store.is_committed("one"),
        "read": lambda: store.read_text("one"),
        "write": lambda: store.write_text("one", "text"),
        "publish": lambda: store.publish(folder, "one"),
        "fetch": lambda: store.fetch("one", folder.parent / "fetched"),
        "remove": lambda: store.remove("one"),
    }


def one_line(error: JobError, uri: str) -> str:
    text = str(error)
    assert uri in text
    assert "\n" not in text
    return text


@pytest.mark.parametrize("action", use_everything(ArtifactStore("memory://x"), Path()))
@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"AWS_SECRET_ACCESS_KEY": "wrong"}, "no permission to .* credentials"),
        ({"AWS_ACCESS_KEY_ID": "nobody"}, "no permission to .* credentials"),
        (
            {"AWS_SECRET_ACCESS_KEY": None, "AWS_ACCESS_KEY_ID": None},
            "without credentials .* set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY",
        ),
    ],
    ids=["wrong-secret", "unknown-key", "none"],
)
def test_credentials_that_do_not_fit_are_the_users_error(
    bucket: Bucket,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    changes: dict[str, str | None],
    says: str,
    action: str,
) -> None:
    # Or the client asks the metadata service of the cloud, and waits for it.
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    for name, value in changes.items():
        if value is None:
            monkeypatch.delenv(name)
        else:
            monkeypatch.setenv(name, value)
    act = use_everything(bucket.store(), make_folder(tmp_path / "made"))[action]
    with pytest.raises(InputError, match=says) as caught:
        act()
    one_line(caught.value, f"{bucket.uri}/artifacts")
    assert bucket.server.keys(bucket.name) == []


def test_a_missing_bucket_is_found_before_any_work(s3: S3Server, tmp_path: Path) -> None:
    store = ArtifactStore("s3://no-such-bucket/a", StorageOptions(s3.endpoint, s3.region))
    with pytest.raises(InputError, match=r"create it, or choose another artifacts\.uri") as caught:
        store.check_writable()
    one_line(caught.value, "s3://no-such-bucket/a")
    with pytest.raises(StorageError, match="bucket does not exist"):
        store.publish(make_folder(tmp_path / "made"), "one")
    with pytest.raises(StorageError, match="no complete artifact"):
        store.fetch("one", tmp_path / "fetched")


def test_an_endpoint_that_does_not_answer_is_a_failed_run(
    tmp_path: Path,
) -> None:
    folder = make_folder(tmp_path / "made")
    with run_server(tmp_path / "server") as server:
        options = StorageOptions(server.endpoint, server.region, patience=0.5)
    for act in use_everything(ArtifactStore("s3://bucket/a", options), folder).values():
        with pytest.raises(StorageUnavailableError, match="check the endpoint") as caught:
            act()
        assert server.endpoint in one_line(caught.value, "s3://bucket/a")


def test_a_server_that_dies_during_an_upload_is_named_and_nothing_is_visible(
    tmp_path: Path,
) -> None:
    folder = make_folder(tmp_path / "made", big=MULTIPART_BYTES)
    with run_server(tmp_path / "server") as server:
        bucket = Bucket("bucket", server)
        server.create_bucket("bucket")
        process = start_upload(folder, bucket)
        try:
            server.stop()
            _, stderr = process.communicate("go on\n", timeout=60 * PATIENCE)
        finally:
            process.kill()
    assert process.returncode == 1
    last = stderr.splitlines()[-1]
    assert last.startswith(
        "mmrlhf_jobs.errors.StorageUnavailableError: cannot write s3://bucket/artifacts/one"
    )


def test_https_needs_the_authority_of_the_server(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "ca").mkdir()
    authority = Authority(tmp_path / "ca")
    authority.create()
    pair = authority.server("s3", names=["localhost"], addresses=["127.0.0.1"])
    tls = TlsFiles(pair.certificate, pair.key, authority.pair.certificate)
    folder = make_folder(tmp_path / "made")
    with run_server(tmp_path / "server", tls=tls) as server:
        server.create_bucket("bucket")
        options = StorageOptions(server.endpoint, server.region)
        assert server.endpoint.startswith("https://")
        with pytest.raises(StorageError, match="certificate is trusted") as caught:
            ArtifactStore("s3://bucket/a", options).check_writable()
        one_line(caught.value, "s3://bucket/a")
        monkeypatch.setenv("AWS_CA_BUNDLE", str(tls.authority))
        # The client that failed is kept for its URI; a process has one environment.
        store = ArtifactStore("s3://bucket/b", StorageOptions(server.endpoint, "eu-west-1"))
        store.publish(folder, "one")
        store.fetch("one", tmp_path / "fetched")
    assert content(tmp_path / "fetched") == content(folder)


def test_the_server_leaves_nothing_behind(tmp_path: Path) -> None:
    before = set(Path("/tmp").glob("seaweedfs-*.sock"))
    with run_server(tmp_path / "server") as server:
        server.create_bucket("bucket")
        pid = server._process.pid
        assert Path(f"/proc/{pid}").exists()
    assert not Path(f"/proc/{pid}").exists()
    ours = [
        path
        for path in set(Path("/tmp").glob("seaweedfs-*.sock")) - before
        if any(path.name.endswith(f"-{port}.sock") for port in server._ports)
    ]
    assert ours == []
    assert sorted(path.name for path in (tmp_path / "server").iterdir()) == ["log", "users.json"]
