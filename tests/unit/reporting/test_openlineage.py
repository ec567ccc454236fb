"""Attempts told to a real HTTP server, and read back by OpenLineage's own classes."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from mmrlhf_api import StepJob, parse_job
from mmrlhf_api.origins import Origin, make_lineage
from mmrlhf_jobs.errors import JobError, SpecError, StorageError, SupersededError
from mmrlhf_jobs.reporting.manifest import Attempts
from mmrlhf_jobs.reporting.openlineage.receiver import ReceiverSettings, read_settings
from mmrlhf_jobs.reporting.openlineage.run_events import Parent, dataset_name
from mmrlhf_jobs.reporting.openlineage.telling import NobodyTold, OpenLineage, attempt_told_by
from mmrlhf_jobs.storage.artifacts import ArtifactStore
from mmrlhf_jobs.storage.folders import FileEntry
from tests.cluster.wait import wait_until
from tests.patience import PATIENCE
from tests.unit.reporting.lineage_server import LineageServer, lineage_server
from tests.unit.reporting.official_events import read_event, send_officially

RUN = "s3://bucket/artifacts/team/vqa-47-to-rank/uid-1"
KEY = "word-of-the-admin"
PARENT = Parent("vision", "team.vqa", "2f1f6cb2-6a5a-4a55-8a0c-0d5b1f6f5a10")
DIGEST = "5" * 64
LINEAGE = make_lineage(
    [
        Origin("annotateImport.answers", "s3://in/a.json", "data", DIGEST, "content", 1, 10),
        Origin("annotateImport.key", "/data/../keys", "data", why="nothing is there"),
        Origin("annotateImport.again", "s3://in/a.json", "data", DIGEST, "content", 1, 10),
    ],
    attempt=0,
)
LEFT = {"records.jsonl": FileEntry("records.jsonl", 7, "6" * 64)}


def job() -> StepJob:
    found = parse_job(
        {
            "apiVersion": "mmrlhf.io/v1alpha1",
            "kind": "StepJob",
            "metadata": {
                "name": "vqa-47-to-rank",
                "namespace": "team",
                "uid": "uid-1",
                "labels": {"mmrlhf.io/pipeline": "vqa", "mmrlhf.io/step": "to-rank"},
            },
            "spec": {
                "artifacts": {"uri": "s3://bucket/artifacts"},
                "step": "import",
                "importData": {"format": "trl", "source": "s3://in/a.json"},
            },
        },
        source="job.yaml",
    )
    assert isinstance(found, StepJob)
    return found


@pytest.fixture
def server() -> Iterator[LineageServer]:
    with lineage_server() as found:
        yield found


class Told:
    """One run in a folder, whose attempts are told to a server."""

    def __init__(self, folder: Path, server: LineageServer, *, patience: float = 30.0) -> None:
        self.store = ArtifactStore(str(folder))
        self.words: list[str] = []
        self.settings = ReceiverSettings(
            f"{server.url}/api/v1/lineage", KEY, namespace="vision", parent=PARENT
        )
        self.patience = patience * PATIENCE

    def begin(self, *, hour: int = 0) -> tuple[Attempts, OpenLineage]:
        start = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(hours=hour)
        attempts = Attempts(self.store, "attempts.json", lambda: start)
        attempts.begin(processes=2)
        told = OpenLineage(
            self.settings, tell=self.words.append, clock=lambda: start, patience=self.patience
        )
        told.begin(job(), run=RUN, attempts=attempts, lineage=LINEAGE)
        return attempts, told

    def wait_for_words(self) -> None:
        """Wait until the first event was tried."""
        wait_until(lambda: bool(self.words), timeout=60, what="words")

    def record(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = json.loads(self.store.read_text("attempts.json") or "")
        return found


def complete(attempts: Attempts, told: OpenLineage) -> None:
    attempts.end(exit_name="Succeeded", step=0)
    told.complete(LEFT)
    told.close()


def test_a_complete_attempt_by_the_classes_of_openlineage(
    tmp_path: Path, server: LineageServer
) -> None:
    run = Told(tmp_path, server)
    complete(*run.begin())
    assert server.heard == [("/api/v1/lineage", f"Bearer {KEY}")] * 2
    start, end = (read_event(event) for event in server.events)
    assert [start.eventType.value, end.eventType.value] == ["START", "COMPLETE"]
    assert start.run.runId == end.run.runId
    assert start.eventTime == "2026-01-01T00:00:00+00:00" == run.record()[0]["startedAt"]
    assert (end.job.namespace, end.job.name) == ("vision", "team.vqa.to-rank")
    assert end.job.facets["jobType"].jobType == "StepJob/import"
    parent = end.run.facets["parent"]
    assert (parent.run.runId, parent.job.name) == (PARENT.run_id, PARENT.name)
    tags = {one.key: one.value for one in end.run.facets["tags"].tags}
    assert tags["uid"] == "uid-1"
    assert tags["processes"] == "2"
    assert tags["mmrlhf"] == end.run.facets["processing_engine"].version
    assert len(tags["specDigest"]) == 64
    assert start.outputs == []
    first, other = end.inputs
    assert (first.namespace, first.name) == ("s3://in", "a.json"), "one data set for two fields"
    assert first.facets["version"].datasetVersion == DIGEST
    assert first.inputFacets["inputStatistics"].size == 10
    fields = [one.value for one in first.facets["tags"].tags if one.key == "field"]
    assert fields == ["annotateImport.answers", "annotateImport.again"]
    assert (other.namespace, other.name) == ("file", "/keys")
    assert "version" not in other.facets
    (made,) = end.outputs
    assert (made.namespace, made.name) == (
        "s3://bucket",
        "artifacts/team/vqa-47-to-rank/uid-1/records.jsonl",
    )
    assert made.facets["version"].datasetVersion == "6" * 64
    assert made.outputFacets["outputStatistics"].size == 7
    assert run.words == []
    assert "openLineage" not in run.record()[0]


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("eventTime",), "2026-01-01T00:00:00"),
        (("producer",), "mmrlhf/0.1.0"),
        (("schemaURL",), None),
        (("run", "runId"), "uid-1"),
        (("run", "facets", "parent", "run", "runId"), "uid-1"),
        (("run", "facets", "tags", "_producer"), None),
        (("run", "facets", "tags", "_producer"), "mmrlhf 0.1.0"),
        (("run", "facets", "labels"), ("tags",)),
        (("job", "facets", "jobType", "integration"), None),
        (("inputs", 0, "inputFacets", "inputStatistics", "size"), 1.5),
        (("outputs", 0, "facets", "version", "digest"), "5"),
    ],
)
def test_the_reader_is_as_strict_as_the_schemas(
    path: tuple[Any, ...], value: Any, tmp_path: Path, server: LineageServer
) -> None:
    complete(*Told(tmp_path, server).begin())
    event: Any = server.events[-1]
    read_event(event)
    *where, last = path
    place = event
    for name in where:
        place = place[name]
    if value is None:
        del place[last]
    else:
        place[last] = place[value[0]] if isinstance(value, tuple) else value
    with pytest.raises((AssertionError, ValueError)):
        read_event(event)


def test_the_official_client_sends_the_same_to_the_same_place(
    tmp_path: Path, server: LineageServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENLINEAGE_URL", server.url)
    monkeypatch.setenv("OPENLINEAGE_ENDPOINT", "events")
    monkeypatch.setenv("OPENLINEAGE_API_KEY", KEY)
    attempts = Attempts(ArtifactStore(str(tmp_path)), "attempts.json", lambda: datetime.now(UTC))
    attempts.begin(processes=1)
    told = attempt_told_by(tell=pytest.fail)
    told.begin(job(), run=RUN, attempts=attempts, lineage=LINEAGE)
    told.fail(JobError("no"), stopped=False)
    told.close()
    ours, heard = list(server.events), list(server.heard)
    server.events.clear()
    server.heard.clear()
    for event in ours:
        send_officially(event)
    assert server.heard == heard == [("/events", f"Bearer {KEY}")] * 2
    assert [_full(event) for event in server.events] == [_full(event) for event in ours]


def _full(value: Any) -> Any:
    """Without what is empty, which the client leaves out, and the tag by which it names itself."""
    if isinstance(value, Mapping):
        return {key: _full(one) for key, one in value.items() if one not in ({}, [], None)}
    if isinstance(value, list):
        return [_full(one) for one in value if "openlineage_client_version" not in str(one)[:60]]
    return value


@pytest.mark.parametrize(
    ("error", "stopped", "kind"),
    [
        (JobError("row 3 of s3://user:pass@in/a is bad\x1b[0m"), False, "FAIL"),
        (ZeroDivisionError(), False, "FAIL"),
        (JobError("stopped as asked"), True, "ABORT"),
        (SupersededError("another attempt"), False, "ABORT"),
    ],
)
def test_other_ends_say_why(
    error: Exception, stopped: bool, kind: str, tmp_path: Path, server: LineageServer
) -> None:
    _, told = Told(tmp_path, server).begin()
    told.fail(error, stopped=stopped)
    told.close()
    end = read_event(server.events[-1])
    assert end.eventType.value == kind
    said = end.run.facets["errorMessage"].message
    assert said
    assert "pass" not in said
    assert "\x1b" not in said
    assert end.outputs == []


def test_a_gate_that_fails_its_job_after_its_record_has_been_complete(
    tmp_path: Path, server: LineageServer
) -> None:
    attempts, told = Told(tmp_path, server).begin()
    attempts.end(exit_name="Rejected", step=0)
    told.complete(LEFT)
    told.fail(JobError("Rejected"), stopped=False)
    told.close()
    assert server.kinds == ["START", "COMPLETE"]


def test_the_next_attempt_speaks_for_one_that_was_killed(
    tmp_path: Path, server: LineageServer
) -> None:
    run = Told(tmp_path, server)
    _, killed = run.begin()
    killed.close()  # as far as the server is concerned: it has START alone
    complete(*run.begin(hour=1))
    complete(*run.begin(hour=2))
    assert server.kinds == ["START", "ABORT", "START", "COMPLETE", "START", "COMPLETE"]
    ids = [event["run"]["runId"] for event in server.events]
    assert ids[0] == ids[1]
    assert len(set(ids)) == 3
    assert (
        "nothing has written down"
        in read_event(server.events[1]).run.facets["errorMessage"].message
    )


def test_a_server_that_is_away_for_a_while_gets_all_in_order(
    tmp_path: Path, server: LineageServer
) -> None:
    server.codes = [503]
    run = Told(tmp_path, server)
    complete(*run.begin())
    assert server.kinds == ["START", "COMPLETE"]
    assert len(server.heard) == 3
    assert "answers 503" in run.words[0]
    assert run.words[1:] == ["OpenLineage takes the events again"]


@pytest.mark.parametrize("trouble", ["silent", "refuses", "gone"])
def test_what_is_not_taken_is_told_and_counted_and_holds_nothing_up(
    trouble: str, tmp_path: Path, server: LineageServer
) -> None:
    run = Told(tmp_path, server, patience=0.02)
    server.silent = trouble == "silent"
    server.codes = [401] * 1000 if trouble == "refuses" else []
    server.said = f"who is {KEY}?"
    if trouble == "gone":
        run.settings = ReceiverSettings("http://127.0.0.1:1/api/v1/lineage", KEY)
    attempts, told = run.begin()
    if trouble != "silent":
        run.wait_for_words()
    complete(attempts, told)
    assert server.events == []
    (noted,) = run.record()
    assert noted["openLineage"] == {"taken": 0, "lost": 2}
    assert noted["exit"] == "Succeeded"
    assert "OpenLineage has not taken 2 of 2 events; attempts.json and" in run.words[-1]
    assert not any(KEY in words for words in run.words)
    assert KEY not in (run.store.read_text("attempts.json") or "")
    if trouble == "refuses":
        assert "answers 401: who is ***?" in run.words[0]


def test_a_store_that_is_away_is_not_waited_for_again(
    tmp_path: Path, server: LineageServer
) -> None:
    run = Told(tmp_path, server, patience=0.02)
    server.codes = [500] * 1000
    _, told = run.begin()
    run.wait_for_words()
    told.fail(StorageError("the store is away"), stopped=False)
    told.close()
    assert "has not taken 2 of 2 events" in run.words[-1]
    assert "openLineage" not in run.record()[0]


def test_nobody_follows_a_redirect_with_the_key(tmp_path: Path, server: LineageServer) -> None:
    with lineage_server() as other:
        server.codes, server.location = [302] * 1000, f"{other.url}/stolen"
        run = Told(tmp_path, server, patience=0.02)
        begun = run.begin()
        run.wait_for_words()
        complete(*begun)
        assert other.heard == []
    assert "answers 302" in run.words[0]


def test_a_mistake_of_ours_costs_no_training(tmp_path: Path, server: LineageServer) -> None:
    attempts, told = Told(tmp_path, server).begin()
    broken: Any = {"records.jsonl": None}
    told.complete(broken)
    told.close()
    run = Told(tmp_path, server)
    late = OpenLineage(run.settings, tell=run.words.append)
    late.begin(job(), run=RUN, attempts=attempts, lineage={"inputs": [{"uri": "s3://[bad"}]})
    late.close()
    assert "the job goes on: ValueError" in run.words[0]


@pytest.mark.parametrize(
    ("environ", "words"),
    [
        ({"URL": "ftp://host"}, "OPENLINEAGE_URL must be http://... or https://..., not 'ftp"),
        ({"URL": "marquez:5000"}, "OPENLINEAGE_URL must be"),
        ({"URL": "https://me:secret@host"}, "OPENLINEAGE_URL holds a password"),
        ({"URL": "https://secret@host"}, "OPENLINEAGE_URL holds a password"),
        ({"URL": "https://host/?key=secret"}, "OPENLINEAGE_URL must have no ?"),
        ({"ENDPOINT": "https://elsewhere/x"}, "OPENLINEAGE_ENDPOINT must be a path"),
        ({"ENDPOINT": "//elsewhere/x"}, "OPENLINEAGE_ENDPOINT must be a path"),
        ({"API_KEY": "secret\nX-Header: y"}, "OPENLINEAGE_API_KEY must be one word"),
        ({"PARENT_ID": "a/b"}, "OPENLINEAGE_PARENT_ID must be NAMESPACE/JOB/RUN"),
        ({"PARENT_ID": "a/b/not-a-uuid"}, "of which RUN is a UUID"),
    ],
)
def test_a_wrong_variable_is_named_and_costs_no_job(environ: dict[str, str], words: str) -> None:
    given = {f"OPENLINEAGE_{name}": value for name, value in {"URL": "http://h", **environ}.items()}
    with pytest.raises(SpecError) as caught:
        read_settings(given)
    assert words in str(caught.value)
    assert "secret" not in str(caught.value)
    told: list[str] = []
    assert isinstance(attempt_told_by(given, tell=told.append), NobodyTold)
    assert "the job goes on" in told[0]


def test_who_is_told() -> None:
    given = {"OPENLINEAGE_URL": "http://h/base/", "OPENLINEAGE_PARENT_ID": f"a/b/c/{PARENT.run_id}"}
    settings = read_settings(given)
    assert settings is not None
    assert settings.url == "http://h/base/api/v1/lineage"
    assert settings.namespace == "mmrlhf"
    assert settings.parent == Parent("a", "b/c", PARENT.run_id)
    assert KEY not in repr(ReceiverSettings("http://h", KEY))
    for off in ({"OPENLINEAGE_DISABLED": "True"}, {"OPENLINEAGE_URL": ""}):
        assert read_settings({**given, **off}) is None
    assert isinstance(attempt_told_by({**given, "RANK": "1"}, tell=pytest.fail), NobodyTold)


@pytest.mark.parametrize(
    ("uri", "expected"),
    [
        ("s3://bucket/a/b/", ("s3://bucket", "a/b")),
        ("s3://bucket", ("s3://bucket", "/")),
        ("gs://user:pass@bucket/a", ("gs://bucket", "a")),
        ("file:///data/x", ("file", "/data/x")),
        ("/data/./x", ("file", "/data/x")),
    ],
)
def test_data_sets_are_named_as_the_standard_says(uri: str, expected: tuple[str, str]) -> None:
    assert dataset_name(uri) == expected
