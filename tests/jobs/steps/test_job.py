"""Steps as jobs: the same results, kept as those of other jobs are, over kills."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import signal
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from mmrlhf.archive.lineage import trace_alias, trace_uri
from mmrlhf_api import StepJob, parse_job
from mmrlhf_api.constants import ENV_ATTEMPT, ENV_PROGRESS_FILE, ENV_TERMINATION_FILE
from mmrlhf_api.kinds.step_catalog import STEPS
from mmrlhf_api.lineage import State
from mmrlhf_api.step_runs import StepLayout
from mmrlhf_jobs.__main__ import main
from mmrlhf_jobs.data.media import load_media
from mmrlhf_jobs.data.queries import write_queries
from mmrlhf_jobs.data.sources import Source
from mmrlhf_jobs.data.stream import stream_records
from mmrlhf_jobs.errors import StorageError
from mmrlhf_jobs.steps.registry import find_step
from mmrlhf_jobs.storage.alias import AliasStore
from mmrlhf_jobs.storage.results import Results
from tests.jobs.improvement.test_command import arguments, models
from tests.jobs.warm import Program
from tests.unit.annotation.forms import make_query
from tests.unit.api.specimens import PARTS
from tests.unit.data.builders import save_image, write_rows
from tests.unit.reporting.lineage_server import lineage_server
from tests.unit.reporting.official_events import read_event
from tests.unit.steps.conftest import inputs
from tests.unit.steps.test_gate import BENCH, NAME, World
from tests.unit.steps.world import model_server

__all__ = ["arguments", "inputs", "models"]  # fixtures

pytestmark = pytest.mark.usefixtures("own_signals")


def body(folder: Path, step: str, /, resources: Any = None, **part: Any) -> dict[str, Any]:
    """A job file; its UID keeps the run the same whatever is changed."""
    return {
        "apiVersion": "mmrlhf.io/v1alpha1",
        "kind": "StepJob",
        "metadata": {"name": "demo", "uid": "uid-1"},
        "spec": {
            "artifacts": {"uri": str(folder / "artifacts")},
            "step": step,
            STEPS[step].part: part,
            **({"resources": resources} if resources else {}),
        },
    }


def written(folder: Path, given: dict[str, Any]) -> list[str]:
    """Write a job file; return the arguments of a process that runs it."""
    (folder / "job.json").write_text(json.dumps(given))
    return ["stepjob", "--job", str(folder / "job.json")]


def run_of(folder: Path) -> Path:
    return folder / "artifacts/default/demo/uid-1"


def manifest(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((run_of(folder) / "manifest.json").read_text())
    return found


def queries(folder: Path, count: int) -> Path:
    path = folder / "queries.jsonl"
    save_image(folder)
    write_queries([make_query(f"q{n}") for n in range(count)], str(path))
    return path


def endpoint(url: str, **more: Any) -> dict[str, Any]:
    return {"name": "m", "baseUrl": url, "model": "m", "concurrency": 1, **more}


def test_every_step_of_the_catalog_can_be_a_job() -> None:
    assert all(find_step(name).of_job is not None for name in PARTS)


def test_responses_are_what_the_command_makes_and_a_complete_run_asks_nobody(
    inputs: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv(ENV_PROGRESS_FILE, str(tmp_path / "progress.jsonl"))
    asked: list[str] = []
    records = str(inputs / "queries.jsonl")
    with model_server(asked=asked) as url:
        servers = tmp_path / "endpoints.json"
        servers.write_text(json.dumps({"endpoints": [endpoint(url)]}))
        line = [records, str(tmp_path / "alone.jsonl"), "--samples", "2"]
        assert main(["responses", *line, "--endpoints", str(servers)]) == 0
        assert len(asked) == 4
        given = body(tmp_path, "responses", records=records, samples=2, endpoints=[endpoint(url)])
        process = written(tmp_path, given)
        assert main(process) == 0, capsys.readouterr().err
        assert len(asked) == 8
        assert main(process) == 0
        assert len(asked) == 8
    run = run_of(tmp_path)
    assert {path.name for path in run.iterdir()} == {
        *("responses.jsonl", "manifest.json", "attempts.json", "claim.json", "journal"),
    }
    assert (run / "responses.jsonl").read_bytes() == (tmp_path / "alone.jsonl").read_bytes()
    record = manifest(tmp_path)
    assert (record["report"]["answered"], record["metrics"]["answered"]) == (4, 4.0)
    assert [one["path"] for one in record["files"]] == ["responses.jsonl"]
    assert record["outputs"] == {"records": {"content": "queries", "path": "responses.jsonl"}}
    events = [json.loads(line) for line in (tmp_path / "progress.jsonl").read_text().splitlines()]
    steps = [event for event in events if event["event"] == "step"]
    assert steps[-1]["itemsDone"] == steps[-1]["itemsTotal"] == 4
    assert events[-2:] == [
        {"event": "notice", "message": "the run is complete; nothing is done anew"},
        {"event": "done", "artifacts": str(run), "metrics": record["metrics"]},
    ]


def test_a_pod_that_is_killed_asks_again_for_nothing_but_what_was_under_way(tmp_path: Path) -> None:
    records = str(queries(tmp_path, 8))
    held, asked = threading.Event(), list[str]()
    with model_server(answers=5, held=held, asked=asked) as url:
        given = body(tmp_path, "responses", records=records, endpoints=[endpoint(url)])
        first = Program("mmrlhf_jobs", written(tmp_path, given), os.environ)
        assert held.wait(600)
        first.kill()
        assert first.wait() == -signal.SIGKILL
    assert not (run_of(tmp_path) / "responses.jsonl").exists()
    with model_server(asked=asked) as url:
        given["spec"]["responses"]["endpoints"] = [endpoint(url)]
        second = Program("mmrlhf_jobs", written(tmp_path, given), {**os.environ, ENV_ATTEMPT: "1"})
        assert second.wait(600) == 0, second.communicate()[1]
    times = Counter(asked)
    assert len(times) == 8
    assert sorted(times.values()) == [1, 1, 1, 1, 1, 1, 1, 2], "one was under way"
    report = manifest(tmp_path)["report"]
    assert (report["answered"], report["endpoints"]["m"]["kept"]) == (8, 5)
    assert [one["exit"] for one in manifest(tmp_path)["attempts"]] == ["Killed", "Succeeded"]


def test_a_job_that_is_asked_to_stop_stops_at_once_and_keeps_what_was_answered(
    tmp_path: Path,
) -> None:
    held = threading.Event()
    with model_server(answers=2, held=held) as url:
        records = str(queries(tmp_path, 4))
        given = body(tmp_path, "responses", records=records, endpoints=[endpoint(url)])
        program = Program("mmrlhf_jobs", written(tmp_path, given), os.environ)
        assert held.wait(600)
        program.send_signal(signal.SIGTERM)
        assert program.wait(600) == 143
        assert "what is done is kept" in program.communicate()[1]
    assert len(list((run_of(tmp_path) / "journal").iterdir())) == 2
    attempts = json.loads((run_of(tmp_path) / "attempts.json").read_text())
    assert [one["exit"] for one in attempts] == ["Interrupted"]
    assert [one["reads"] for one in attempts] == [[records]], "nobody may remove it meanwhile"


def test_a_failure_names_what_is_wrong_and_no_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MODEL_KEY", "very-secret-word")
    server = endpoint("http://127.0.0.1:9/v1", apiKeyEnv="MODEL_KEY", retry={"attempts": 1})
    given = body(tmp_path, "responses", records=str(queries(tmp_path, 1)), endpoints=[server])
    secret = {"name": "MODEL_KEY", "secretKeyRef": {"name": "models", "key": "key"}}
    given["spec"]["podTemplate"] = {"env": [secret]}
    assert main(written(tmp_path, given)) == 1
    told = capsys.readouterr()
    assert "1 of 1 questions have no usable answer" in told.err
    left = "".join(path.read_text() for path in run_of(tmp_path).rglob("*") if path.is_file())
    assert "very-secret-word" not in told.err + told.out + left
    assert not (run_of(tmp_path) / "manifest.json").exists()
    monkeypatch.delenv("MODEL_KEY")
    assert main(written(tmp_path, given)) == 2
    assert "apiKeyEnv names MODEL_KEY, which is not set" in capsys.readouterr().err


def test_a_job_to_wait_for_is_for_a_cluster(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(written(tmp_path, body(tmp_path, "score", modelJob="judge", data="/d"))) == 2
    assert "spec.score.modelJob: judge is looked up by the operator" in capsys.readouterr().err
    given = body(tmp_path, "bench", scoresJob="score", records="/d")
    assert main(written(tmp_path, given)) == 2
    assert "a local run needs spec.bench.scores" in capsys.readouterr().err


def test_scores_of_two_processes_are_those_of_the_command_and_become_a_bench(
    arguments: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data, judge = arguments[0], arguments[arguments.index("--reward") + 1]
    alone = tmp_path / "alone.parquet"
    assert main(["score", "--data", data, "--model", judge, "--out", str(alone)]) == 0
    capsys.readouterr()
    given = body(tmp_path, "score", {"processesPerNode": 2}, model=judge, data=data)
    program = Program("mmrlhf_jobs", written(tmp_path, given), os.environ, processes=2)
    assert program.wait(300) == 0, program.communicate()[1]
    run = run_of(tmp_path)
    assert (run / "scores.parquet").read_bytes() == alone.read_bytes()
    assert not (run / "work").exists()
    assert manifest(tmp_path)["processes"] == 2
    (tmp_path / "bench").mkdir()
    given = body(
        tmp_path / "bench",
        "bench",
        records=data,
        scores=str(run / "scores.parquet"),
        others=[{"name": "same", "uri": str(alone)}],
    )
    assert main(written(tmp_path / "bench", given)) == 0, capsys.readouterr().err
    figures = json.loads((run_of(tmp_path / "bench") / "bench.json").read_text())
    assert figures["scores"] == figures["same"]
    assert "<html" in (run_of(tmp_path / "bench") / "bench.html").read_text()


def test_comments_are_expanded_as_the_command_does(
    inputs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    commented = str(inputs / "commented.jsonl")
    line = [commented, str(tmp_path / "alone.jsonl"), "--endpoints", str(inputs / "endpoints.yaml")]
    assert main(["critiques", *line]) == 0
    with model_server() as url:
        given = body(tmp_path, "critiques", records=commented, endpoint=endpoint(url))
        assert main(written(tmp_path, given)) == 0, capsys.readouterr().err
    made = (run_of(tmp_path) / "critiques.jsonl").read_bytes()
    assert made == (tmp_path / "alone.jsonl").read_bytes()


def test_imported_records_have_all_their_media_beside_them(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Copies of files and of what rows bring, by their digests, and each once."""
    source = tmp_path / "source"
    source.mkdir()
    save_image(source)
    image = source / "image.png"
    brought = base64.b64encode(image.read_bytes() + b"more").decode()
    pair = {"prompt": "Which digit?", "chosen": "Six.", "rejected": "Two.", "image": image.name}
    rows = [pair, {**pair, "prompt": "And this?", "image": f"data:image/png;base64,{brought}"}]
    write_rows(source / "pairs.jsonl", [*rows, {**pair, "prompt": "Once more?"}])
    given = body(tmp_path, "import", format="trl", source=str(source / "pairs.jsonl"))
    assert main(written(tmp_path, given)) == 0, capsys.readouterr().err
    run = run_of(tmp_path)
    records = list(stream_records(Source(str(run / "records.jsonl"))))
    kept = [one for one in (run / "media").iterdir() if one.name != "COMMITTED"]
    digests = [hashlib.sha256(one.read_bytes()).hexdigest() for one in kept]
    named = [medium.uri or "" for record in records for medium in record.media]
    assert len(records) == 3
    assert len(set(named)) == len(digests) == 2
    assert {Path(uri).stem for uri in named} == set(digests)
    folders = Source(str(run / "records.jsonl")).media_folders()
    for record in records:
        load_media(record, folders)
    told = manifest(tmp_path)
    assert (told["metrics"]["written_media"], told["report"]["media_root"]) == (2, str(run))
    assert told["metrics"]["written_bytes"] == 2 * image.stat().st_size + 4
    files = {one["path"]: one["sha256"] for one in told["files"]}
    assert {Path(path).stem: digest for path, digest in files.items() if "media/" in path} == {
        **{digest: digest for digest in digests},
        "COMMITTED": files["media/COMMITTED"],
    }
    assert sorted(one.name for one in source.iterdir()) == [image.name, "pairs.jsonl"]


def test_an_import_without_media_leaves_its_records_alone(tmp_path: Path) -> None:
    write_rows(tmp_path / "pairs.jsonl", [{"prompt": "2+2?", "chosen": "4", "rejected": "5"}])
    given = body(tmp_path, "import", format="trl", source=str(tmp_path / "pairs.jsonl"))
    assert main(written(tmp_path, given)) == 0
    assert not (run_of(tmp_path) / "media").exists()


def test_annotators_get_and_give_what_the_commands_write_and_read(
    inputs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    queries = str(inputs / "queries.jsonl")
    given = body(tmp_path, "annotate-export", tool="label-studio", queries=queries, embedMedia=True)
    assert main(written(tmp_path, given)) == 0, capsys.readouterr().err
    run, report = run_of(tmp_path), manifest(tmp_path)["report"]
    for name in ("key.jsonl", "tasks/page.xml", "tasks/tasks-00001.json"):
        assert (run / name).read_bytes() == (inputs / name).read_bytes()
    assert report["key"] == str(run / "key.jsonl")
    assert set(report["files"]) == {str(one) for one in (run / "tasks").glob("*.*")}
    line = [str(inputs / "answers.json"), str(run / "key.jsonl")]
    assert main(["annotate-import", "label-studio", *line, str(tmp_path / "alone.jsonl")]) == 0
    back = tmp_path / "back"
    back.mkdir()
    given = body(back, "annotate-import", tool="label-studio", answers=line[0], key=line[1])
    assert main(written(back, given)) == 0, capsys.readouterr().err
    made = run_of(back) / "records.jsonl"
    assert made.read_bytes() == (tmp_path / "alone.jsonl").read_bytes() != b""
    assert (run_of(back) / "unresolved.jsonl").is_file()
    # From rankings back to the queries, by the digests of files and of the run in between.
    graph = trace_uri(str(made))
    here, there = str(run_of(back)), str(run)
    digests = {
        name: hashlib.sha256(Path(name).read_bytes()).hexdigest() for name in (*line, queries)
    }
    assert [(one.made, one.role, one.origin, one.digest) for one in graph.edges] == [
        (here, "annotateImport.answers", line[0], digests[line[0]]),
        (here, "annotateImport.key", there, digests[line[1]]),
        (there, "annotateExport.queries", queries, digests[queries]),
    ]
    assert set(graph.states()) == {State.SAME}
    assert [graph.nodes[one].what for one in (here, there, queries)] == ["run", "run", "source"]
    (run / "key.jsonl").write_text("another\n")
    (run / "manifest.json").unlink()
    changed = trace_uri(str(made))
    assert [one.state for one in changed.edges] == [State.SAME, State.CHANGED]
    assert "is gone" in changed.nodes[line[1]].notes[0]


def test_records_are_exported_as_the_command_does(
    inputs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    records = str(inputs / "records.jsonl")
    alone = tmp_path / "alone.jsonl"
    assert main(["export", "trl", records, str(alone), "--pairs", "extremes"]) == 0
    given = body(tmp_path, "export", format="trl", records=records, pairs="extremes")
    assert main(written(tmp_path, given)) == 0, capsys.readouterr().err
    assert (run_of(tmp_path) / "export.jsonl").read_bytes() == alone.read_bytes()


def test_a_job_that_fails_is_told_with_its_reason(
    inputs: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    records = tmp_path / "records.jsonl"
    records.write_text((inputs / "records.jsonl").read_text() + "{}\n")
    given = body(tmp_path, "export", format="trl", records=str(records), pairs="extremes")
    with lineage_server() as server:
        monkeypatch.setenv("OPENLINEAGE_URL", server.url)
        assert main(written(tmp_path, given)) == 2
    start, end = map(read_event, server.events)
    assert [start.eventType.value, end.eventType.value] == ["START", "FAIL"]
    assert end.run.facets["errorMessage"].message in capsys.readouterr().err
    assert end.outputs == []


def test_what_a_process_that_was_killed_has_sampled_is_taken_up_by_several(
    arguments: list[str], tmp_path: Path
) -> None:
    """The journal is in the store: nothing is sampled twice, whichever process has sampled it."""
    assert main(["improve", *arguments]) == 0
    expected = [Path(arguments[1]), Path(f"{arguments[1]}.scores.parquet")]
    queries, _, _, policy, _, reward, *_ = arguments
    part = {"queries": queries, "policy": policy, "reward": reward}
    given = body(tmp_path, "improve", maxNewTokens=24, temperature=1.0, **part)
    first = Program("tests.jobs.steps.held", written(tmp_path, given), os.environ)
    kept = run_of(tmp_path) / "journal"
    try:
        while first.poll() is None and not (kept.is_dir() and len(list(kept.glob("[!.]*"))) == 2):
            time.sleep(0.01)
    finally:
        first.kill()
    assert first.wait() == -signal.SIGKILL, first.communicate()[1]
    given["spec"]["resources"] = {"processesPerNode": 2}
    process = written(tmp_path, given)
    second = Program("mmrlhf_jobs", process, {**os.environ, ENV_ATTEMPT: "1"}, processes=2)
    assert second.wait(300) == 0, second.communicate()[1]
    report = manifest(tmp_path)["report"]
    assert (report["sampledNow"], report["scoredNow"]) == (4, 6)
    made = [run_of(tmp_path) / "records.jsonl", run_of(tmp_path) / "scores.parquet"]
    assert [one.read_bytes() for one in made] == [one.read_bytes() for one in expected]
    assert [one["path"] for one in manifest(tmp_path)["files"]] == [one.name for one in made]
    assert len(list(kept.glob("[!.]*"))) == 12, "each sampled and scored once"


RIGHT, WRONG = [1.0] * 200, [1.0] * 50 + [0.0] * 150


def judging(world: World, candidate: list[float], **more: Any) -> dict[str, Any]:
    """A job that judges a candidate by the results that the world holds of both."""
    return body(
        world.folder,
        "gate",
        require={"criteria": [BENCH]},
        candidate=[str(world.results("a", candidate))],
        champion=[str(world.results("b", WRONG))],
        store=str(world.store),
        alias=NAME,
        artifact=world.artifact("candidate"),
        **more,
    )


@pytest.fixture
def ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where a process says how it ended."""
    path = tmp_path / "termination.json"
    monkeypatch.setenv(ENV_TERMINATION_FILE, str(path))
    return path


def said(ended: Path) -> tuple[Any, ...]:
    content = json.loads(ended.read_text())
    ended.unlink()
    return content["exitCode"], content["reason"]


def test_a_gate_promotes_as_the_command_does_and_says_so_each_time(
    tmp_path: Path,
    ended: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    world = World(tmp_path)
    given = judging(world, RIGHT)
    process = written(tmp_path, given)
    with lineage_server() as server:
        monkeypatch.setenv("OPENLINEAGE_URL", server.url)
        assert main(process) == 0, capsys.readouterr().err
        assert main(process) == 0, "complete: nothing begins, and nobody is told"
        monkeypatch.delenv("OPENLINEAGE_URL")
    assert server.kinds == ["START", "COMPLETE"]
    told = read_event(server.events[-1])
    (left,) = told.outputs
    assert left.name == str(run_of(tmp_path) / "gate.json")
    recorded = {one["uri"]: one["digest"] for one in manifest(tmp_path)["lineage"]["inputs"]}
    assert {one.name: one.facets["version"].datasetVersion for one in told.inputs} == recorded
    assert said(ended) == (0, "Promoted")
    report = run_of(tmp_path) / "gate.json"
    assert world.alias.current.uri == world.artifact("candidate")
    assert world.alias.current.cause.report == str(report)
    digest = hashlib.sha256(report.read_bytes()).hexdigest()
    assert world.alias.current.cause.report_digest == digest
    assert left.facets["version"].datasetVersion == digest
    record, moved = manifest(tmp_path), world.alias
    assert record["metrics"]["promoted"] == record["metrics"]["bench.winRate"] == 1.0
    assert record["outputs"] == {"report": {"content": "figures", "path": "gate.json"}}
    assert main(process) == 0
    assert said(ended) == (0, "Promoted")
    assert (world.alias, manifest(tmp_path)) == (moved, record)
    graph = trace_alias(str(world.store), NAME)
    assert [(one.role, one.origin, one.state) for one in graph.edges[:2]] == [
        ("artifact", world.artifact("candidate"), State.SAME),
        ("gate report", str(run_of(tmp_path)), State.SAME),
    ]
    judged = {one.role: one for one in graph.origins(str(run_of(tmp_path)))}
    assert set(judged) == {"gate.candidate[0]", "gate.champion[0]", "gate.artifact"}
    assert judged["gate.artifact"].digest == world.alias.current.digest
    assert dict(graph.nodes[str(run_of(tmp_path))].facts)["verdict"] == "Promoted"
    assert dict(graph.nodes[graph.root].facts)["by"] == "gate"
    alone = world.judge(*(Path(given["spec"]["gate"][who][0]) for who in ("candidate", "champion")))
    assert alone["inputs"].pop("rules")
    assert json.loads(report.read_text()) == alone


@pytest.mark.parametrize(("candidate", "word"), [(WRONG, "Rejected"), (RIGHT[:100], "CannotJudge")])
def test_a_gate_that_does_not_promote_is_done_or_fails_as_its_job_says(
    candidate: list[float],
    word: str,
    tmp_path: Path,
    ended: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    world = World(tmp_path)
    before = world.alias
    assert main(written(tmp_path, judging(world, candidate))) == 0
    assert said(ended) == (0, word)
    assert f"{word}: " in capsys.readouterr().out
    failing = judging(world, candidate, onNotPromoted="Fail")
    failing["metadata"]["uid"] = "uid-2"
    for _ in range(2):  # the second finds the run complete
        assert main(written(tmp_path, failing)) == 1
        assert said(ended) == (1, word)
    run = run_of(tmp_path).with_name("uid-2")
    assert f"error: {word}: bench: " in (told := capsys.readouterr().err)
    assert f"the report is in {run}" in told
    assert json.loads((run / "gate.json").read_text())["outcome"] == word
    assert [one["exit"] for one in json.loads((run / "attempts.json").read_text())] == [word]
    assert world.alias == before


def test_a_gate_that_is_cut_off_once_the_alias_has_moved_says_the_same_again(
    tmp_path: Path, ended: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise StorageError("cut off")

    world = World(tmp_path)
    process = written(tmp_path, judging(world, RIGHT))
    with monkeypatch.context() as patch:
        patch.setattr(Results, "conclude", fail)
        assert main(process) == 1
    ended.unlink()
    moved = world.alias
    assert moved.current.uri == world.artifact("candidate")
    assert Path(str(moved.current.cause.report)).is_file(), "it moves once the report is there"
    assert main(process) == 0
    assert said(ended) == (0, "Promoted")
    assert world.alias == moved


def test_the_alias_of_a_gate_is_in_the_artifacts_of_its_job(tmp_path: Path) -> None:
    world = World(tmp_path)
    given = judging(world, RIGHT)
    del given["spec"]["gate"]["store"]
    assert main(written(tmp_path, given)) == 0
    alias = AliasStore(str(tmp_path / "artifacts")).read(NAME)
    assert alias is not None
    assert alias.current.uri == world.artifact("candidate")


def test_the_layout_is_of_the_job() -> None:
    job = parse_job(body(Path("/out"), "score", **PARTS["score"]), source="x")
    assert isinstance(job, StepJob)
    assert StepLayout.of(job).journal == "default/demo/uid-1/journal"
