"""Writes the data set: ``python -m examples.digits.generate --out DIR``.

The same arguments give the same bytes. Layout of ``DIR``::

    train.jsonl  heldout.jsonl         RankedResponse/v1 records
    media/train/  media/heldout/       pictures and video frames, named by the records
    rewards/{train,heldout}.parquet    side-cars: one reward per response

The reward of a response is the mean of its three annotation scores (1 to 5), standing in for the
scores of a reward model. It depends on no model, so the side-cars name no chat template.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Iterator
from pathlib import Path

from examples.digits.records import Sample, make_samples
from examples.digits.scans import ScanPool, split_scans
from mmrlhf_jobs.data.records import RankedResponse
from mmrlhf_jobs.data.writers import write_records
from mmrlhf_jobs.scores.keys import SidecarIdentity, record_keys
from mmrlhf_jobs.scores.writer import SidecarWriter

__all__ = ["REWARDS", "generate", "main"]

REWARDS = SidecarIdentity(kind="reward", model="annotations/mean-of-scores")
"""What the rewards say about themselves."""


def generate(out: Path, *, train: int, heldout: int, seed: int) -> None:
    """Writes both splits below ``out``; files of an earlier run are overwritten."""
    train_pool, heldout_pool = split_scans(seed=seed)
    _write_split(out, train_pool, count=train, seed=seed)
    _write_split(out, heldout_pool, count=heldout, seed=seed)


def _write_split(out: Path, pool: ScanPool, *, count: int, seed: int) -> None:
    for folder in (f"media/{pool.split}", "rewards"):
        (out / folder).mkdir(parents=True, exist_ok=True)
    samples = make_samples(pool, count=count, seed=seed)
    with SidecarWriter(str(out / f"rewards/{pool.split}.parquet"), REWARDS) as rewards:
        write_records(_write_rest(samples, out, rewards), str(out / f"{pool.split}.jsonl"))


def _write_rest(
    samples: Iterable[Sample], out: Path, rewards: SidecarWriter
) -> Iterator[RankedResponse]:
    for sample in samples:
        record = sample.record
        for name, content in sample.files.items():
            (out / name).write_bytes(content)
        rewards.write(
            record_keys(record),
            sample.rewards,
            record_id=record.record_id,
            response_ids=[response.response_id for response in record.responses],
        )
        yield record


def main(arguments: list[str] | None = None) -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--out", type=Path, required=True, help="folder to write to")
    parser.add_argument("--train", type=int, default=2000, help="training records")
    parser.add_argument("--heldout", type=int, default=400, help="held-out records")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)
    generate(options.out, train=options.train, heldout=options.heldout, seed=options.seed)


if __name__ == "__main__":
    main()
