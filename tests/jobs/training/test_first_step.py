"""The first step: the same figures whatever engine, number of processes and cache."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeAlias

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from safetensors.torch import load_file

from mmrlhf_jobs.__main__ import main
from mmrlhf_jobs.models.precision import Precision
from mmrlhf_jobs.reward_model.judge import CritiqueRewardModel
from tests.jobs.training.world import World
from tests.jobs.warm import AT_IMPORT, Program

pytestmark = pytest.mark.usefixtures("own_signals")

Row: TypeAlias = dict[str, float]
DTYPES = ("float32", "bfloat16")
KINDS = ("mmdpo", "reward")
STAGES = (0, 2, 3)
ALONE = "alone"
SPLIT = [f"{processes}-{stage}" for processes in ("one", "two") for stage in STAGES]
"""Ways through DeepSpeed: how many processes, and the stage of ZeRO."""
SUMMED = {"float32": 1e-6, "bfloat16": 1e-6}
"""Relative: what the order of a sum over processes may change."""
GRADIENTS = {"float32": 1e-5, "bfloat16": 0.02}
"""Relative: DeepSpeed sums gradients in the number format of the weights."""


def first_step(world: World, kind: str, name: str, dtype: str, **changes: Any) -> dict[str, Any]:
    """A job of one step, with a micro-batch a query; all share one store and its caches."""
    make = world.job if kind == "mmdpo" else world.reward_job
    job = make(
        model__dtype=dtype,
        training={"maxSteps": 1, "queriesPerStep": 4, "queriesPerMicroBatch": 1},
        **changes,
    )
    job["spec"].pop("benchmark", None)
    del job["spec"]["data"]["evaluation"]
    job["metadata"]["name"] = name
    return job


def row(world: World, name: str) -> Row:
    (line,) = (world.results(name) / "metrics.jsonl").read_text().splitlines()
    found: Row = json.loads(line)
    return found


def _start(world: World, label: str, processes: int) -> list[Program]:
    """Processes of one group, which take the first steps of both kinds in all stages."""
    paths = []
    for stage in STAGES:
        for kind in KINDS:
            for dtype in DTYPES:
                name = f"{kind}-{dtype}-{label}-{stage}"
                split = {"engine": "deepspeed", "zeroStage": stage}
                job = first_step(world, kind, name, dtype, parallelism=split)
                paths.append(str(world.write_job(job, f"{name}.yaml")))
    env = {**os.environ, **AT_IMPORT, "WORLD_SIZE": str(processes), "LOCAL_RANK": "0"}
    arguments = [str(world.folder), *paths]
    return [
        Program("tests.jobs.training.first_steps", arguments, {**env, "RANK": str(rank)})
        for rank in range(processes)
    ]


@pytest.fixture(scope="module")
def stepped(tmp_path_factory: pytest.TempPathFactory) -> World:
    """First steps of both kinds in both formats: alone, and through DeepSpeed at three stages."""
    world = World.make(tmp_path_factory.mktemp("stepped"), queries=5, held_out=1)
    for kind in KINDS:
        for dtype in DTYPES:
            name = f"{kind}-{dtype}"
            alone = world.write_job(first_step(world, kind, f"{name}-{ALONE}", dtype))
            assert main([kind, "--job", str(alone)]) == 0
    # Stage 3 changes a function of torch for the rest of the process.
    for label, processes in (("one", 1), ("two", 2)):
        group = _start(world, label, processes)
        errors = [process.communicate()[1] for process in group]
        assert [process.returncode for process in group] == [0] * len(group), errors
    return world


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("way", [ALONE, *SPLIT])
def test_margins_of_a_policy_that_is_its_reference_are_zero(
    stepped: World, dtype: str, way: str
) -> None:
    found = row(stepped, f"mmdpo-{dtype}-{way}")
    assert found["pairs"] > 20
    if way.endswith("3"):
        # Its linear layers add the bias after rounding; the run has checked each margin.
        assert abs(found["margin"]) < 0.1 * float(
            Precision(dtype, "sdpa").tolerance(torch.tensor(200.0))  # type: ignore[arg-type]
        )
    else:
        assert (found["margin"], found["accuracy"]) == (0.0, 0.0)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("way", SPLIT)
def test_every_engine_gives_the_same_figures(
    stepped: World, kind: str, dtype: str, way: str
) -> None:
    one, two = row(stepped, f"{kind}-{dtype}-{ALONE}"), row(stepped, f"{kind}-{dtype}-{way}")
    whole = way.endswith("3")
    rounded = whole and dtype == "bfloat16"
    names = set(one) - {
        "seconds",
        "tokensPerSecond",
        "etaSeconds",
        "peakMemoryGiB",
        "checkpointSeconds",
        "dataSeconds",
        "gradientNorm",
    }
    if whole:
        names -= {"accuracy"}
    for name in names:
        expected = pytest.approx(
            one[name], rel=0.02 if rounded else SUMMED[dtype], abs=2e-3 if rounded else 1e-7
        )
        assert two[name] == expected, name
    assert two["gradientNorm"] == pytest.approx(one["gradientNorm"], rel=GRADIENTS[dtype])


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("way", [ALONE, *SPLIT])
def test_the_scoring_head_is_not_rounded(stepped: World, dtype: str, way: str) -> None:
    head = load_file(stepped.results(f"reward-{dtype}-{way}") / "model/reward_head.safetensors")
    (weight,) = head.values()
    assert weight.dtype == torch.float32
    assert not torch.equal(weight, weight.bfloat16().float())
    alone = load_file(stepped.results(f"reward-{dtype}-{ALONE}") / "model/reward_head.safetensors")
    torch.testing.assert_close(weight, alone["out.weight"], rtol=0, atol=1e-3 * 2.1)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("way", SPLIT)
def test_each_way_was_taken(stepped: World, kind: str, way: str) -> None:
    manifest = json.loads((stepped.results(f"{kind}-float32-{way}") / "manifest.json").read_text())
    # Stage 0 splits nothing, and is plain torch.
    assert manifest["engine"].startswith("torch" if way.endswith("0") else "deepspeed")


def test_cached_values_belong_to_a_precision(stepped: World) -> None:
    """Many runs of one model and data, of which those of one format and engine share."""
    found = {
        json.loads(pq.read_schema(path).metadata[b"mmrlhf.sidecar"])["identity"]["precision"]
        for path in (stepped.folder / "artifacts/cache/reference").rglob("*.parquet")
    }
    assert found == {
        f"{dtype}, attention sdpa, engine {engine}"
        for dtype in DTYPES
        for engine in ("none", "deepspeed")
    }


def test_scores_belong_to_a_precision_as_well(stepped: World) -> None:
    folder = stepped.results(f"reward-float32-{ALONE}") / "model"
    wide, narrow = (
        CritiqueRewardModel.from_pretrained(folder, dtype=dtype).identity()
        for dtype in ("float32", "bfloat16")
    )
    assert wide.precision == "float32, attention sdpa"
    assert narrow == replace(wide, precision="bfloat16, attention sdpa")


def test_a_reference_of_another_precision_is_refused_where_it_is_named(
    stepped: World, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "reference.parquet"
    shifted(of_precision(stepped, "float32, attention sdpa, engine none"), path, 0.0)
    job = first_step(stepped, "mmdpo", "named", "bfloat16", reference__logProbsUri=str(path))
    assert main(["mmdpo", "--job", str(stepped.write_job(job))]) == 2
    error = capsys.readouterr().err
    assert "precision is 'float32, attention sdpa, engine none'" in error
    assert "needs 'bfloat16, attention sdpa, engine none'" in error


def of_precision(world: World, precision: str) -> Path:
    """The cached reference that was made in a precision."""
    (found,) = [
        path
        for path in (world.folder / "artifacts/cache/reference").rglob("*.parquet")
        if precision in pq.read_schema(path).metadata[b"mmrlhf.sidecar"].decode()
    ]
    return found


def shifted(source: Path, target: Path, shift: float) -> None:
    """A copy of a side-car with every second value moved, and the same identity."""
    table = pq.read_table(source)
    values = [value + shift * (index % 2) for index, value in enumerate(table["value"].to_pylist())]
    place = table.schema.get_field_index("value")
    pq.write_table(table.set_column(place, table.schema.field("value"), pa.array(values)), target)


@pytest.mark.parametrize(("shift", "code"), [(1e-6, 0), (0.1, 1)])
def test_a_reference_of_other_numbers_ends_the_run(
    stepped: World, tmp_path: Path, capsys: pytest.CaptureFixture[str], shift: float, code: int
) -> None:
    whole = of_precision(stepped, "float32, attention sdpa, engine none")
    shifted(whole, tmp_path / "reference.parquet", shift)
    job = first_step(
        stepped,
        "mmdpo",
        f"shifted-{code}",
        "float32",
        reference__logProbsUri=str(tmp_path / "reference.parquet"),
    )
    assert main(["mmdpo", "--job", str(stepped.write_job(job))]) == code
    error = capsys.readouterr().err
    assert ("margins are not 0 before the first update" in error) == bool(code)
    assert (stepped.results(f"shifted-{code}") / "manifest.json").exists() == (not code)
