"""Runs and cached values that nothing needs: told, and removed where that is asked."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Literal

from pydantic import Strict
from rich.console import Console

from mmrlhf_api.steps.marks import POSITIONAL, Flag
from mmrlhf_api.steps.prune import PrunePart, PruneSettings
from mmrlhf_jobs.retention.plan import Need
from mmrlhf_jobs.retention.pruning import prune
from mmrlhf_jobs.retention.table import make_table, sentence
from mmrlhf_jobs.steps.spec import Place, StepSpec
from mmrlhf_jobs.steps.step import JobPlace, Outcome, Step, StepContext
from mmrlhf_jobs.storage.files import write_json

__all__ = ["STEP", "PruneSpec"]


class PruneSpec(StepSpec, PruneSettings):
    """What stays, and where."""

    step: Literal["prune"] = "prune"
    """Name of the step."""
    store: Annotated[Place, POSITIONAL]
    """Folder of artifacts: a path, file:// or s3://."""
    delete: Annotated[bool, Flag("--yes")] = False
    """Mark what may go, and remove what was marked before; without it, nothing is changed."""
    needs: Annotated[tuple[Place, ...], Strict(strict=False), Flag("--need")] = ()
    """URIs that somebody needs of whom the store does not know; repeatable."""
    output: Literal["table", "json"] = "table"
    """How to print it."""
    json_out: Annotated[Place | None, Flag("--json")] = None
    """Where to write all of it too, *.json."""


def _run(spec: PruneSpec, context: StepContext) -> Outcome:
    """Look, and act if that was asked.

    Raises:
        DamagedError: An alias or a mark is damaged: nothing is removed until it is mended.
        StorageError: The store fails, or does not keep conditions on writes.
    """
    context.tell("prune", f"looking at {spec.store}")
    pruned = prune(
        spec.store,
        spec,
        context.storage,
        clock=lambda: datetime.now(UTC),
        delete=spec.delete,
        needs=[Need(uri, "needed, as the caller says") for uri in spec.needs],
        count=context.count,
    )
    if spec.json_out is not None:
        write_json(spec.json_out, pruned.to_dict(), context.storage)
    if spec.output == "json":
        context.show(pruned.to_dict())
    else:
        Console().print(make_table(pruned))
        context.note(sentence(pruned, delete=spec.delete))
    return Outcome(spec.json_out or spec.store, pruned.figures())


def _of_job(part: PrunePart, place: JobPlace) -> PruneSpec:
    return PruneSpec(
        **place.settings(PruneSettings, part),
        store=part.store or place.store,
        delete=part.delete,
        json_out=place.at("prune.json"),
    )


STEP = Step("Remove runs and cached values that nothing needs.", PruneSpec, _run, of_job=_of_job)
