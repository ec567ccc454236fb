"""Public formats as ``RankedResponse/v1`` records."""

from __future__ import annotations

from typing import Annotated, Final, Literal

from mmrlhf_jobs.data.importers.dpo_pairs import import_dpo_pairs
from mmrlhf_jobs.data.importers.reward_bench import import_reward_bench
from mmrlhf_jobs.data.importers.trl import import_trl
from mmrlhf_jobs.data.importers.vl_reward_bench import import_vl_reward_bench
from mmrlhf_jobs.steps.spec import POSITIONAL, Place, StepSpec
from mmrlhf_jobs.steps.step import Outcome, Step, StepContext

__all__ = ["STEP", "ImportSpec"]

_IMPORTERS: Final = {
    "dpo-pairs": import_dpo_pairs,
    "trl": import_trl,
    "reward-bench": import_reward_bench,
    "vl-reward-bench": import_vl_reward_bench,
}


class ImportSpec(StepSpec):
    """What to read as what."""

    step: Literal["import"] = "import"
    """Name of the step."""
    format: Annotated[Literal["dpo-pairs", "trl", "reward-bench", "vl-reward-bench"], POSITIONAL]
    """Format of the source."""
    source: Annotated[Place, POSITIONAL]
    """File of pairs or rankings."""
    out: Annotated[Place, POSITIONAL]
    """File to write, *.jsonl or *.parquet."""
    media_root: Place | None = None
    """Folder of the media; without it, that of the source."""
    incomplete: Literal["fail", "infer"] = "fail"
    """What to do where pairs leave ranks open."""


def _run(spec: ImportSpec, context: StepContext) -> Outcome:
    """Convert a file.

    Raises:
        InputError: A row is wrong, names missing media, or contradicts others.
    """
    context.tell("import", f"reading {spec.source} as {spec.format}")
    report = _IMPORTERS[spec.format](
        spec.source,
        spec.out,
        media_root=spec.media_root,
        incomplete=spec.incomplete,
        storage=context.storage,
    )
    context.show(report.to_dict())
    return Outcome(spec.out, report.to_dict())


STEP = Step("Convert a public format to records.", ImportSpec, _run)
