"""Rewards of a data set, and what their margins look like before training with them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from mmrlhf_api import PreferenceObjective as Settings
from mmrlhf_api import RewardSource
from mmrlhf_api.listing import first_few
from mmrlhf_jobs.data.dataset import RankedDataset
from mmrlhf_jobs.data.pairs import Pair, form_pairs
from mmrlhf_jobs.data.records import RankedResponse
from mmrlhf_jobs.errors import DataError, SidecarError, SpecError
from mmrlhf_jobs.process.gang import Runtime
from mmrlhf_jobs.queries.preference import record_name, response_names
from mmrlhf_jobs.scores.keys import SidecarIdentity, record_keys
from mmrlhf_jobs.scores.table import Sidecar
from mmrlhf_jobs.training.inputs import OpenDataset
from mmrlhf_jobs.training.preparation import Preparation
from mmrlhf_jobs.training.reward.scoring import score_dataset, scoring_check

__all__ = ["RewardSummary", "open_rewards", "summarise_rewards"]

_BINS = 10
_STRONGEST = 20


def open_rewards(
    source: RewardSource | None, train: OpenDataset, preparation: Preparation
) -> tuple[OpenDataset, Sidecar | None]:
    """The reward scores of the training data, where the objective scales by them.

    Returns:
        The training data without the rows that the reward model cannot score, or that the side-car
        lacks since they were left out there, within `data.maxInvalidFraction`; and the scores.

    Raises:
        SpecError: The rewards come from a job that nobody has resolved to a model.
        SidecarError: The side-car is missing or of another kind.
        ModelError: The reward model is missing or damaged.
        Interrupted: The job was asked to stop while responses were scored.
    """
    if source is None:
        return train, None
    if source.scores_uri is not None:
        expected = SidecarIdentity(kind="reward")
        scores = Sidecar.open(source.scores_uri, expected, storage=preparation.options)
        if preparation.allows_faults:
            # Without, all that is missing is told by `summarise_rewards`.
            train = preparation.check_rows(train, _scored_check(scores), media=False)
        return train, scores
    if source.model_uri is None:
        raise SpecError(
            f"spec.reward.jobName: {source.job_name} is looked up by the operator; a local run "
            "needs spec.reward.modelUri, the folder model/ of that job's artifacts, or "
            "spec.reward.scoresUri"
        )
    preparation.context.progress.emit(
        "phase", phase="rewards", message=f"scoring with {source.model_uri}"
    )
    model = preparation.load_reward_model(source.model_uri)
    train = preparation.check_rows(train, scoring_check(model, train.records, preparation.options))
    scores = score_dataset(model, train, preparation)
    model.end_passes()
    return train, scores


def _scored_check(scores: Sidecar) -> Callable[[RankedResponse], None]:
    def check(record: RankedResponse) -> None:
        lacking = scores.lacking(record_keys(record))
        if lacking:
            raise DataError(
                f"{response_names(record)[lacking[0]]} has no score in {scores.uri}: score this"
                " data set, or leave the row out as `score` did",
                file=record.location.file,
                row=record.location.row,
                field=f"responses[{lacking[0]}]",
                fault="no-score",
            )

    return check


@dataclass(frozen=True)
class RewardSummary:
    """Reward margins over all pairs of a data set.

    Attributes:
        pairs: Pairs.
        disagreements: Pairs whose reward margin is negative: the scores order them against the
            human ranks, and beta stays at its initial value.
        mean_margin: Mean of ``r(y_w) - r(y_l)``.
        beta_edges: Edges of the histogram of beta, ``[initial, (1 + w) initial]``.
        beta_counts: Pairs in each bin.
        strongest: Pairs whose scores are furthest against the ranks, the furthest first: ``name``
            of the record, ids of the ``chosen`` and the ``rejected`` response, ``margin``.
    """

    pairs: int
    disagreements: int
    mean_margin: float
    beta_edges: Sequence[float]
    beta_counts: Sequence[int]
    strongest: Sequence[dict[str, Any]] = ()

    @property
    def disagreement(self) -> float:
        """Share of the pairs that the scores order against the human ranks."""
        return self.disagreements / max(self.pairs, 1)

    def sentence(self) -> str:
        """One line for people."""
        return (
            f"rewards order {self.disagreement:.1%} of {self.pairs} pairs against their ranks; "
            f"mean margin {self.mean_margin:.3g}"
        )

    def as_dict(self) -> dict[str, Any]:
        """For the manifest."""
        return {
            "pairs": self.pairs,
            "disagreements": self.disagreements,
            "disagreement": self.disagreement,
            "meanMargin": self.mean_margin,
            "strongest": list(self.strongest),
            "betaHistogram": {"edges": list(self.beta_edges), "counts": list(self.beta_counts)},
        }


def summarise_rewards(
    dataset: RankedDataset, rewards: Sidecar, settings: Settings, *, runtime: Runtime
) -> RewardSummary:
    """Look up every pair's reward margin, which also finds every missing score before training.

    Raises:
        SidecarError: Responses have no score; names the first rows.
    """
    beta = settings.beta
    high = beta.initial * (1 + beta.w)
    edges = np.linspace(beta.initial, max(high, beta.initial * (1 + 1e-9)), _BINS + 1)
    counts = np.zeros(_BINS)
    pairs = disagreements = 0
    total = 0.0
    absent: list[str] = []
    against: list[dict[str, Any]] = []
    for record in dataset.share(rank=runtime.rank, world_size=runtime.world_size):
        keys = record_keys(record)
        lacking = rewards.lacking(keys)
        if lacking:
            names = response_names(record)
            absent += [names[index] for index in lacking]
            continue
        scores = rewards.lookup(keys)
        formed = form_pairs(record.ranks, settings.pairs)
        margins = np.array([scores[pair.chosen] - scores[pair.rejected] for pair in formed])
        betas = beta.initial * (1 - beta.w * np.expm1(-beta.k * margins.clip(min=0)))
        counts += np.histogram(betas.clip(edges[0], edges[-1]), edges)[0]
        against = _furthest([*against, *_against(record, formed, margins)])
        pairs += len(margins)
        disagreements += int((margins < 0).sum())
        total += float(margins.sum())
    everywhere = sorted(name for part in runtime.gather(absent) for name in part)
    if everywhere:
        raise SidecarError(
            f"{rewards.uri}: has no score for {len(everywhere)} responses of the training data: "
            f"{'; '.join(first_few(everywhere))}. The scores were made from other data: "
            "compute them for this data set"
        )
    sums = runtime.sum([pairs, disagreements, total, *counts])
    return RewardSummary(
        pairs=int(sums[0]),
        disagreements=int(sums[1]),
        mean_margin=sums[2] / max(sums[0], 1.0),
        beta_edges=[float(edge) for edge in edges],
        beta_counts=[int(count) for count in sums[3:]],
        strongest=_furthest(one for part in runtime.gather(against) for one in part),
    )


def _against(
    record: RankedResponse, pairs: Sequence[Pair], margins: Iterable[float]
) -> Iterator[dict[str, Any]]:
    """Pairs of a record whose scores are against the ranks."""
    for pair, margin in zip(pairs, margins, strict=True):
        if margin < 0:
            yield {
                "name": record_name(record),
                "chosen": record.responses[pair.chosen].response_id,
                "rejected": record.responses[pair.rejected].response_id,
                "margin": float(margin),
            }


def _furthest(pairs: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    order = ("margin", "name", "chosen", "rejected")
    return sorted(pairs, key=lambda one: [one[key] for key in order])[:_STRONGEST]
