"""Command line of self-improvement."""

from __future__ import annotations

import argparse
import gc
import json
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import islice
from pathlib import Path

import torch

from mmrlhf_jobs.data.media import load_media
from mmrlhf_jobs.data.queries import QueryRecord, stream_queries
from mmrlhf_jobs.data.records import RankedResponse
from mmrlhf_jobs.data.sources import Source, list_data_files
from mmrlhf_jobs.data.writers import write_records
from mmrlhf_jobs.errors import JobError, SpecError
from mmrlhf_jobs.improvement.rounds import (
    ImprovementReport,
    ResponseScorer,
    rank_samples,
    sample_queries,
)
from mmrlhf_jobs.improvement.sampling import PolicySampler, SamplingPlan
from mmrlhf_jobs.models.adapter import load_model
from mmrlhf_jobs.models.folders import digest_folder, fetch_model
from mmrlhf_jobs.reward_model.judge import CritiqueRewardModel, RewardModelCard
from mmrlhf_jobs.scores.keys import record_keys
from mmrlhf_jobs.scores.writer import SidecarWriter
from mmrlhf_jobs.storage.journal import Journal

__all__ = ["improve", "main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Sample, score and rank; print the report as JSON, or what is wrong to standard error."""
    options = _parser().parse_args(arguments)
    try:
        with tempfile.TemporaryDirectory(prefix="mmrlhf-") as scratch:
            reward = fetch_model(options.reward, Path(scratch) / "reward")
            # Sampling takes hours: what is no reward model is told before.
            RewardModelCard.read(reward)
            load_scorer = partial(
                CritiqueRewardModel.from_pretrained, reward, dtype=options.dtype, device=_device()
            )
            report = improve(options, load_scorer, scratch=Path(scratch))
    except JobError as error:
        sys.stderr.write(f"error: {error}\n")
        return error.exit_code
    print(json.dumps(report.to_dict(), indent=2))
    return 0


def improve(
    options: argparse.Namespace, load_scorer: Callable[[], ResponseScorer], *, scratch: Path
) -> ImprovementReport:
    """Make ranked records of a policy's own responses.

    Args:
        options: What the command line says.
        load_scorer: Loads the reward model, when the policy is done.
        scratch: Folder for a policy from an object store.

    Raises:
        InputError: The queries, a model or an option is wrong.
        StorageError: A file cannot be written.
    """
    try:
        plan = SamplingPlan(
            samples=options.samples,
            temperature=options.temperature,
            top_p=options.top_p,
            max_new_tokens=options.max_new_tokens,
            seed=options.seed,
        )
    except ValueError as error:
        raise SpecError(str(error)) from error
    source = Source(options.queries)
    root = options.media_root or list_data_files(source)[0].folder
    load = partial(load_media, root=root)
    report = ImprovementReport()

    def queries() -> Iterator[QueryRecord]:
        part, parts = options.part
        return islice(stream_queries(source), part, None, parts)

    with Journal(options.journal or f"{options.out}.journal") as journal:
        folder = fetch_model(options.policy, scratch / "policy")
        loaded = load_model(folder, dtype=options.dtype, attention="sdpa")
        loaded.model.to(_device())
        name = options.policy_name or options.policy.rstrip("/").rpartition("/")[2]
        sampler = PolicySampler(loaded, plan, name=name, digest=digest_folder(folder))
        sample_queries(
            queries(), sampler, journal, load=load, report=report, batch_size=options.batch_size
        )
        # The policy's keys are still needed, its weights are not.
        loaded.model.to("meta")
        gc.collect()
        scorer = load_scorer()
        scores = f"{options.out}.scores.parquet" if options.scores is None else options.scores
        with SidecarWriter(scores, scorer.identity()) as writer:

            def records() -> Iterator[RankedResponse]:
                for record, values in rank_samples(
                    queries(),
                    sampler,
                    scorer,
                    journal,
                    load=load,
                    report=report,
                    min_spread=options.min_spread,
                ):
                    writer.write(
                        record_keys(record),
                        values,
                        record_id=record.record_id,
                        response_ids=[one.response_id for one in record.responses],
                    )
                    yield record

            write_records(records(), options.out)
    return report


def _device() -> str:
    return "cuda" if torch.cuda.is_available() else "cpu"


def _part(text: str) -> tuple[int, int]:
    part, slash, parts = text.partition("/")
    if not (slash and part.isdecimal() and parts.isdecimal() and int(part) < int(parts)):
        raise argparse.ArgumentTypeError(f"{text!r} is not like 0/4, the first of four parts")
    return int(part), int(parts)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m mmrlhf_jobs.improvement")
    parser.add_argument("queries", help="Query/v1 or RankedResponse/v1")
    parser.add_argument("out", help="RankedResponse/v1 to write, *.jsonl or *.parquet")
    parser.add_argument("--policy", required=True, help="folder of the model to sample from")
    parser.add_argument("--reward", required=True, help="folder of the reward model")
    parser.add_argument("--scores", help="side-car to write; default: OUT.scores.parquet")
    parser.add_argument("--journal", help="file of what is done; default: OUT.journal")
    parser.add_argument("--media-root", help="folder of the media; default: that of the queries")
    parser.add_argument("--policy-name", help="name in the records; default: that of the folder")
    parser.add_argument("--samples", type=int, default=8, help="responses a query (paper 5.4: 8)")
    parser.add_argument("--temperature", type=float, default=0.8)
    parser.add_argument("--top-p", type=float, default=1.0)
    parser.add_argument("--max-new-tokens", type=int, default=1024)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--min-spread", type=float, default=0.0)
    parser.add_argument("--batch-size", type=int, default=1, help="queries sampled at once")
    parser.add_argument("--dtype", choices=["float32", "bfloat16", "float16"], default="float32")
    parser.add_argument("--part", type=_part, default=(0, 1), help="only these queries: 0/4 ...")
    return parser


if __name__ == "__main__":
    sys.exit(main())
