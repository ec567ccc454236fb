"""ClusterSampleJob as real processes: the same choice however it is run or sharded."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from mmrlhf_jobs.data.queries import QueryRecord, stream_queries
from mmrlhf_jobs.data.sources import Source
from mmrlhf_jobs.errors import DataError, SpecError
from tests.jobs.sampling.here import sample_here
from tests.jobs.sampling.world import SamplingWorld
from tests.unit.reporting.lineage_server import lineage_server
from tests.unit.reporting.official_events import read_event


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> SamplingWorld:
    """A world in which the job has run once, by one process, with a map, told to a catalogue."""
    world = SamplingWorld.make(tmp_path_factory.mktemp("sampling"))
    # UMAP as Python runs it: to compile it, as test_projection does, takes half a minute.
    with lineage_server() as server:
        told: dict[str, Any] = {"NUMBA_DISABLE_JIT": "1", "OPENLINEAGE_URL": server.url}
        code, stderr = world.run(world.job(report={"map": True}), **told)
    assert code == 0, stderr
    start, end = map(read_event, server.events)
    assert [start.eventType.value, end.eventType.value] == ["START", "COMPLETE"]
    assert len(start.inputs) == 3, "the encoder and two sources"
    assert str(world.results() / "queries.jsonl") in [one.name for one in end.outputs]
    return world


def anew(template: SamplingWorld, tmp_path: Path) -> SamplingWorld:
    """The same inputs, and no artifacts."""
    return SamplingWorld(template.folder, str(tmp_path / "artifacts"))


def clusters(queries: list[QueryRecord]) -> list[int | None]:
    """Cluster of each distinct medium that was chosen."""
    each = {query.media_sha256s: query.selection for query in queries}
    return [one.cluster for one in each.values() if one is not None]


def test_quotas_are_met_and_the_records_stand_for_themselves(template: SamplingWorld) -> None:
    queries = list(stream_queries(Source(str(template.results() / "queries.jsonl"))))
    assert Counter(query.type for query in queries) == {"long": 8, "short": 10, "mcq": 2}
    ids = [query.record_id for query in queries]
    assert ids == sorted(set(ids))
    for query in queries:
        (medium,) = query.media
        assert medium.uri is not None
        assert (template.results() / medium.uri).is_file()
        assert query.selection is not None
        assert query.selection.cluster is not None
    events = template.events()
    last = [event for event in events if event["event"] == "step"][-1]
    assert (last["rowsRead"], last["mediaEmbedded"], last["rowsSelected"]) == (120, 60, 20)
    assert [e["phase"] for e in events if e["event"] == "phase"] == [
        *("read", "load", "embed", "cluster", "select", "report")
    ]
    manifest = json.loads((template.results() / "manifest.json").read_text())
    assert len(manifest["inputs"]) == 4
    model, *sources = manifest["lineage"]["inputs"]
    assert (model["field"], model["by"]) == ("embedding.model.uri", "content")
    assert [one["field"] for one in sources] == [f"sources[{n}].uri" for n in range(len(sources))]
    assert sum(one["files"] for one in sources) == 4
    assert all(len(one["sha256"]) == 64 for one in manifest["inputs"])
    assert manifest["counts"]["read"] == {
        "needs-context": 20,
        "origin-rows": 60,
        "rows": 120,
        "type:long": 20,
        "type:mcq": 20,
        "type:short": 80,
    }
    assert manifest["counts"]["embed"]["media"] == 60
    page = (template.results() / "report.html").read_text()
    assert page.count("<img ") == sum(min(4, n) for n in Counter(clusters(queries)).values())
    drawn = pq.read_table(template.results() / "map.parquet").to_pylist()
    assert len(drawn) == 60
    assert sum(point["selected"] for point in drawn) == len({q.media_sha256s for q in queries})
    statistics = json.loads((template.results() / "statistics.json").read_text())
    assert {name: one["deviation"] for name, one in statistics["types"].items()} == {
        "long": 0,
        "short": 0,
        "mcq": 0,
    }


@pytest.mark.parametrize("processes", [2, 4])
def test_the_choice_is_the_same_for_any_number_of_processes(
    template: SamplingWorld, tmp_path: Path, processes: int
) -> None:
    world = anew(template, tmp_path)
    code, stderr = world.run(world.job(), processes=processes)
    assert code == 0, stderr
    assert world.digest() == template.digest()


def test_the_choice_is_the_same_for_rows_in_other_files_and_nested(
    template: SamplingWorld, tmp_path: Path
) -> None:
    """Lines in reverse, in other files; then a larger target keeps what was chosen."""
    data = tmp_path / "data"
    shutil.copytree(template.folder / "data", data)
    plain = data / "plain"
    rows = [json.loads(line) for line in (plain / "a.jsonl").read_text().splitlines()]
    rows += json.loads((plain / "b.json").read_text())
    (plain / "a.jsonl").unlink()
    (plain / "b.json").write_text(json.dumps(rows[:3]))
    (plain / "z.jsonl").write_text("\n".join(json.dumps(row) for row in reversed(rows[3:])))
    for path in (data / "shards").iterdir():
        path.rename(path.with_name(f"other-{path.name}"))
    world = anew(template, tmp_path)
    sources = [{"name": name, "uri": str(data / name)} for name in ("plain", "shards")]
    sample_here(world.job(sources=sources), tmp_path / "scratch")
    before, after = template.queries(), world.queries()
    for query in before + after:
        del query["media"][0]["uri"]  # the data lie in another folder
    assert after == before
    shutil.rmtree(Path(world.artifacts) / "default")
    sample_here(world.job(sources=sources, target=30), tmp_path / "scratch")
    chosen = {query["record_id"] for query in world.queries()}
    assert len(chosen) == 30
    assert {query["record_id"] for query in before} <= chosen


def test_a_budget_names_the_reason_the_count_and_the_file(
    template: SamplingWorld, tmp_path: Path
) -> None:
    data = tmp_path / "plain"
    shutil.copytree(template.folder / "data" / "plain", data)
    (data / "images" / "3.png").unlink()
    (data / "images" / "4.png").write_bytes((data / "images" / "4.png").read_bytes()[:60])
    world = anew(template, tmp_path)
    sources = [{"name": "plain", "uri": str(data)}]
    job = world.job(sources=sources, target=8)
    with pytest.raises(DataError) as caught:
        sample_here(job, tmp_path / "scratch")
    told = str(caught.value)
    assert "4 of 60 rows cannot be used (2 missing-file, 2 " in told
    assert f"{data}/a.jsonl has 2 (missing-file; row 4: {data}/images/3.png" in told
    assert "spec.failures.maxFraction" in told
    assert not list(Path(world.artifacts).glob("default/choose/*/queries.jsonl"))
    job["spec"]["failures"] = {"maxFraction": 0.1}
    sample_here(job, tmp_path / "scratch")
    manifest = json.loads((world.results() / "manifest.json").read_text())
    assert sum(n for name, n in manifest["counts"]["join"].items() if name[:5] == "drop:") == 4


def test_bad_jobs_are_told_before_anything_is_read(template: SamplingWorld, tmp_path: Path) -> None:
    world = anew(template, tmp_path)
    with pytest.raises(SpecError, match=r"spec\.failures\.perReason: too-blue is no reason"):
        sample_here(world.job(failures={"perReason": {"too-blue": 0.5}}), tmp_path / "scratch")
    assert not Path(world.artifacts).exists()
    code, stderr = world.run(world.job(target=10_000))
    assert code == 2
    assert "20 of 4000 long" in stderr
    assert "at most 51 can be chosen" in stderr
