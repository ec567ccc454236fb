"""What to change so that a training fits: changes that leave its result, cheapest first."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final

from mmrlhf_api import TrainJob
from mmrlhf_jobs.training.memory.estimate import Estimate, engine_stage

__all__ = ["Change", "advise"]

_MOST_NODES: Final = 64


@dataclass(frozen=True)
class Change:
    """A change of a job's file.

    Attributes:
        fields: Field path below ``spec`` -> its new value.
        cost: What it costs, for people.
        estimate: What the job takes with it, and with those before it.
    """

    fields: dict[str, Any]
    cost: str
    estimate: Estimate


def advise(
    job: TrainJob, now: Estimate, measure: Callable[[TrainJob], Estimate]
) -> tuple[Change, ...]:
    """Changes, each on top of those before, until the job fits; none where it fits already.

    Those that save nothing are left out. The last may not fit either: then nothing here helps.

    Args:
        job: The job.
        now: What it takes as it is.
        measure: Estimates a job.
    """
    made: list[Change] = []
    for fields, cost in _candidates(job):
        if now.fits:
            break
        changed = _with(job, fields)
        found = measure(changed)
        if not _is_less(found, now):
            continue
        made.append(Change(fields, cost, found))
        job, now = changed, found
    return tuple(made) if now.fits else ()


def _candidates(job: TrainJob) -> Iterator[tuple[dict[str, Any], str]]:
    spec = job.spec
    world, several = spec.resources.world_size, spec.training.queries_per_micro_batch > 1
    if several:
        yield {"training.queriesPerMicroBatch": 1}, "nothing but some speed"
    if spec.model.dtype == "float32" and spec.resources.gpus_per_node:
        yield {"model.dtype": "bfloat16"}, "rounding, as in the paper's runs"
    whole = spec.adapter is not None and spec.adapter.quantization is not None
    for stage in range(engine_stage(spec) + 1, 3 if whole else 4) if world > 1 else ():
        yield {"parallelism.zeroStage": stage}, "more traffic between processes"
    if spec.training.recomputed is None:
        for every in (2, 1):
            yield (
                {"training.recompute": {"languageModelEvery": every}},
                f"about {1 / 3 / every:.0%} more time",
            )
    if world > 1 and spec.resources.gpus_per_node and spec.parallelism.offload == "none":
        yield {"parallelism.offload": "optimizer"}, "traffic to main memory, and updates there"
    nodes = spec.resources.nodes
    while world > 1 and (nodes := 2 * nodes) <= _MOST_NODES:
        yield {"resources.nodes": nodes}, "more nodes, and as many fewer steps each"
    if spec.adapter is None:
        yield {"adapter": {"kind": "lora"}}, "an adapter is trained instead of the weights"
    elif not whole and spec.parallelism.zero_stage != 3:
        yield {"adapter.quantization": "nf4"}, "frozen weights are rounded to 4 bits (QLoRA)"


def _with(job: TrainJob, fields: dict[str, Any]) -> TrainJob:
    spec = job.spec.model_dump(mode="json", by_alias=True, exclude_unset=True)
    for path, value in fields.items():
        *parents, name = path.split(".")
        place = spec
        for parent in parents:
            place = place.setdefault(parent, {})
        place[name] = value
    data = job.model_dump(mode="json", by_alias=True, exclude_unset=True)
    return type(job).model_validate({**data, "spec": spec})


def _is_less(one: Estimate, other: Estimate) -> bool:
    return one.per_process < other.per_process or one.host < other.host
