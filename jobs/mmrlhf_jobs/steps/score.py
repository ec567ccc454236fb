"""``python -m mmrlhf_jobs score``: a reward model's scores for any data set, as a step of its own.

Under torchrun the queries are shared among the processes. The scores appear at ``--out`` when all
are there; until then the parts that are done lie in ``<out>.parts``, and the same command goes on.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pydantic import ValidationError

from mmrlhf_api import DataSource
from mmrlhf_jobs.errors import SpecError
from mmrlhf_jobs.process.context import TrainingContext
from mmrlhf_jobs.reward_model.judge import CritiqueRewardModel
from mmrlhf_jobs.scores.parts import SidecarParts
from mmrlhf_jobs.scores.passes import fill_parts
from mmrlhf_jobs.storage.uris import StorageOptions
from mmrlhf_jobs.training.inputs import open_dataset
from mmrlhf_jobs.training.reward.scoring import BATCH_TOKENS, QUERIES_PER_PART, RewardScoring

__all__ = ["ScoringCommand", "parse_scoring"]


@dataclass(frozen=True)
class ScoringCommand:
    """What to score with what.

    Attributes:
        model: URI of the reward model.
        data: Records.
        out: URI of the side-car to write.
        inference: Settings of `RewardInference` that differ from those of the model's own job.
        dtype: Type of the weights.
        batch_tokens: Places of the cache that a batch may take.
        max_invalid_fraction: Share of rows that may be invalid and are left out then.
        seed: Seed of sampled critiques.
        storage: How to reach an object store.
    """

    model: str
    data: DataSource
    out: str
    inference: Mapping[str, object]
    dtype: str
    batch_tokens: int
    max_invalid_fraction: float
    seed: int
    storage: StorageOptions

    def run(self, context: TrainingContext) -> None:
        """Score what is missing, and join the parts when nothing is.

        Raises:
            InputError: The model or the data is wrong, or `out` holds other scores.
            Interrupted: The command was asked to stop; what is done is kept.
        """
        runtime, progress = context.runtime, context.progress
        progress.emit("phase", phase="validate", message=f"checking {self.data.uri}")
        dataset = open_dataset(
            self.data,
            max_invalid_fraction=self.max_invalid_fraction,
            seed=self.seed,
            runtime=runtime,
            options=self.storage,
        )
        progress.emit("phase", phase="load", message=f"loading {self.model}")
        model = CritiqueRewardModel.from_pretrained(
            self.model,
            inference=self.inference,
            dtype=self.dtype,  # type: ignore[arg-type]
            device=runtime.device,
            seed=self.seed,
            scratch=context.scratch / f"rank-{runtime.rank}",
            storage=self.storage,
        )
        identity = model.identity()
        parts = SidecarParts(f"{self.out}.parts", identity, whole=self.out, storage=self.storage)
        scoring = RewardScoring(
            model, dataset.records, batch_tokens=self.batch_tokens, storage=self.storage
        )
        progress.emit(
            "phase", phase="score", message=f"scoring {dataset.records.num_records} queries"
        )
        computed = fill_parts(
            parts,
            dataset.records,
            scoring.score,
            queries_per_batch=QUERIES_PER_PART,
            runtime=runtime,
            interruption=context.interruption,
        )
        total = runtime.on_main(lambda: parts.merge(self.out))
        runtime.on_main(parts.remove)
        cut = int(runtime.sum([scoring.cut])[0])
        progress.emit(
            "done",
            artifacts=self.out,
            metrics={"responses": total, "computed": computed, "cutCritiques": cut},
        )


def parse_scoring(arguments: Sequence[str]) -> ScoringCommand:
    """Read the command line; argparse ends the process on a wrong one.

    Raises:
        SpecError: A value is out of range.
    """
    parser = argparse.ArgumentParser(
        prog="mmrlhf_jobs score", description=(__doc__ or "").partition("\n")[0]
    )
    parser.add_argument("--model", required=True, metavar="URI", help="folder of a reward model")
    parser.add_argument("--data", required=True, metavar="URI", help="RankedResponse/v1 records")
    parser.add_argument("--out", required=True, metavar="URI", help="side-car to write (.parquet)")
    parser.add_argument("--media-root", metavar="URI", help="where relative media paths start")
    parser.add_argument("--max-invalid-fraction", type=float, default=0.0, metavar="SHARE")
    inference = parser.add_argument_group("inference (default: as in the model's own job)")
    inference.add_argument("--critique", choices=["generated", "groundTruth", "none"])
    inference.add_argument("--samples", type=int, help="critiques of each response")
    inference.add_argument("--temperature", type=float, help="0 is greedy")
    inference.add_argument("--max-new-tokens", type=int, help="most tokens of a critique")
    parser.add_argument("--dtype", choices=["float32", "bfloat16", "float16"], default="float32")
    parser.add_argument("--batch-tokens", type=int, default=BATCH_TOKENS)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--endpoint", help="URL of an S3-compatible service")
    parser.add_argument("--region", help="region of the S3 service")
    options = parser.parse_args(arguments)
    given = {
        name: value
        for name in ("critique", "samples", "temperature", "max_new_tokens")
        if (value := getattr(options, name)) is not None
    }
    try:
        data = DataSource(uri=options.data, media_root=options.media_root)
    except ValidationError as error:
        problems = "; ".join(
            f"{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in error.errors()
        )
        raise SpecError(f"mmrlhf_jobs score: {problems}") from error
    return ScoringCommand(
        model=options.model,
        data=data,
        out=options.out,
        inference=given,
        dtype=options.dtype,
        batch_tokens=options.batch_tokens,
        max_invalid_fraction=options.max_invalid_fraction,
        seed=options.seed,
        storage=StorageOptions(endpoint=options.endpoint, region=options.region),
    )
