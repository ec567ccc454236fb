"""Which records: the lowest keys of each cluster and type.

The key of a record is a number drawn from a keyed hash of its id, so it is the same whatever the
order of rows, files and processes, and what is picked for a target is also picked for a larger
one. With weights the key is that number as an exponential variable divided by the weight
(Efraimidis and Spirakis, Weighted random sampling with a reservoir, 2006): of two rows, one with
twice the weight goes first twice as often. A weight changes a row's key by its own row alone, so
both properties hold with weights too.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Mapping
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from mmrlhf_jobs.data.records import Category
from mmrlhf_jobs.sampling.selection.quotas import CATEGORIES
from mmrlhf_jobs.sampling.selection.table import Candidates

__all__ = ["cap_media", "count", "drop_duplicates", "pick", "pick_all", "pick_key", "rank_hash"]

_BITS: Final = 53  # as many as a float holds exactly


def rank_hash(record_id: str, seed: int) -> bytes:
    """Keyed hash of a record: 16 bytes of BLAKE2b."""
    key = hashlib.sha256(f"mmrlhf picks {seed}".encode()).digest()
    return hashlib.blake2b(record_id.encode(), digest_size=16, key=key).digest()


def pick_key(rank: bytes, weight: float = 1.0) -> float:
    """Key of a record: an exponential variable of rate ``weight``, from its hash.

    It grows with the hash, so with one weight for all, picking by keys is picking by hashes.
    """
    draw = (int.from_bytes(rank[:8], "big") >> (64 - _BITS)) / 2**_BITS
    return -math.log1p(-draw) / weight


def drop_duplicates(candidates: Candidates) -> Candidates:
    """One candidate of each record id: the one with the lowest tie.

    Candidates of one id have the same media, so a bucket of media holds all of them.
    """
    order = np.lexsort((candidates.row, candidates.block, candidates.tie, candidates.record_id))
    ids = candidates.record_id[order]
    return candidates.take(order[_firsts(ids)])


def cap_media(candidates: Candidates, most: int | None) -> Candidates:
    """Of the candidates whose first medium is one and the same, those with the lowest keys.

    The cap is taken before the quotas and knows nothing of them, so that a larger target keeps
    what a smaller one picked.

    Args:
        candidates: All of some media.
        most: How many may stay of each medium; None: all.
    """
    if most is None:
        return candidates
    order = np.lexsort((candidates.record_id, candidates.key, candidates.media))
    return candidates.take(order[_places(candidates.media[order]) < most])


def count(candidates: Candidates, clusters: int) -> dict[Category, tuple[int, ...]]:
    """Candidates of each type, one number a cluster."""
    found: dict[Category, tuple[int, ...]] = {}
    for number, name in enumerate(CATEGORIES):
        mine = candidates.cluster[candidates.category == number]
        found[name] = tuple(np.bincount(mine, minlength=clusters).tolist())
    return found


def pick(candidates: Candidates, quotas: Mapping[Category, tuple[int, ...]]) -> Candidates:
    """The candidates with the lowest keys of each cluster and type.

    What is picked of several parts, joined and picked again, is what is picked of all.

    Args:
        candidates: With their clusters, each id once.
        quotas: Records to pick of each type, one number a cluster.

    Returns:
        In the order of record ids.
    """
    clusters = max((len(counts) for counts in quotas.values()), default=0)
    limits = np.zeros((len(CATEGORIES), max(clusters, 1)), np.int64)
    for number, name in enumerate(CATEGORIES):
        counts = quotas.get(name, ())
        limits[number, : len(counts)] = counts
    group = candidates.category.astype(np.int64) * limits.shape[1] + candidates.cluster
    order = np.lexsort((candidates.record_id, candidates.key, group))
    kept = order[_places(group[order]) < limits.ravel()[group[order]]]
    return candidates.take(kept[np.argsort(candidates.record_id[kept], kind="stable")])


def pick_all(
    pieces: Iterable[Candidates], quotas: Mapping[Category, tuple[int, ...]]
) -> Candidates:
    """What :func:`pick` picks of all pieces; memory is that of one piece and of the picks."""
    picked = Candidates.join([])
    for piece in pieces:
        picked = pick(Candidates.join([picked, piece]), quotas)
    return picked


def _firsts(sorted_values: npt.NDArray[Any]) -> npt.NDArray[np.bool_]:
    """Whether each value is the first of its run."""
    firsts = np.ones(len(sorted_values), np.bool_)
    firsts[1:] = sorted_values[1:] != sorted_values[:-1]
    return firsts


def _places(sorted_values: npt.NDArray[Any]) -> npt.NDArray[np.int64]:
    """0-based place of each value in its run."""
    starts = np.flatnonzero(_firsts(sorted_values))
    lengths = np.diff(np.append(starts, len(sorted_values)))
    return np.arange(len(sorted_values)) - np.repeat(starts, lengths)
