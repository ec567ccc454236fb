"""Queries through sampling and ranking, and on into an MM-DPO job."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from mmrlhf_jobs.data.conversation import Asked
from mmrlhf_jobs.data.dataset import RankedDataset
from mmrlhf_jobs.data.media import LoadedMedia, load_media
from mmrlhf_jobs.data.queries import stream_queries
from mmrlhf_jobs.data.records import RankedResponse
from mmrlhf_jobs.data.sources import Source
from mmrlhf_jobs.data.writers import write_records
from mmrlhf_jobs.errors import DataError
from mmrlhf_jobs.improvement.plan import SamplingPlan
from mmrlhf_jobs.improvement.rounds import ImprovementReport, rank_samples, sample_queries
from mmrlhf_jobs.improvement.sampling import PolicySampler
from mmrlhf_jobs.models.adapter import LoadedModel
from mmrlhf_jobs.models.loading import load_model
from mmrlhf_jobs.scores.keys import SidecarIdentity, record_keys
from mmrlhf_jobs.scores.writer import SidecarWriter
from mmrlhf_jobs.storage.journal import Journal
from tests.jobs.training.world import World

PLAN = SamplingPlan(samples=8, temperature=1.0, max_new_tokens=24)


@dataclass(frozen=True)
class Length:
    score: float


class LengthScorer:
    """Likes long responses; equal lengths are ties."""

    def __init__(self, factor: float = 1.0) -> None:
        self.factor = factor
        self.asked: list[Asked] = []

    def identity(self) -> SidecarIdentity:
        return SidecarIdentity(kind="reward", model=f"length-{self.factor}")

    def score(
        self, question: Asked, media: Sequence[LoadedMedia], responses: Sequence[str], /
    ) -> list[Length]:
        assert media, "the reward model sees the picture"
        self.asked.append(question)
        return [Length(self.factor * len(text)) for text in responses]


class Mortal(PolicySampler):
    """Dies after some queries."""

    lives = 10**9

    def sample(self, queries: Any) -> Any:
        self.lives -= len(queries)
        if self.lives < 0:
            raise KeyboardInterrupt
        return super().sample(queries)


@pytest.fixture(scope="module")
def policy(template: World) -> LoadedModel:
    loaded = load_model(template.folder / "model", dtype="float32", attention="sdpa")
    # The tiny model seldom ends: a full stop may end its answers as well.
    stop = loaded.processor.tokenizer.convert_tokens_to_ids(["<|im_end|>", ".", "e", "a", "Ġ"])
    loaded.model.generation_config.eos_token_id = stop
    return loaded


Run = Callable[..., tuple[ImprovementReport, list[tuple[RankedResponse, list[float]]]]]


@pytest.fixture
def run(policy: LoadedModel, template: World, tmp_path: Path) -> Run:
    source = Source(str(template.folder / "data/train.jsonl"))
    load = partial(load_media, root=str(template.folder / "data"))

    def go(
        *,
        source: Source = source,
        plan: SamplingPlan = PLAN,
        lives: int = 10**9,
        scorer: LengthScorer | None = None,
        journal: str = "j",
        **more: Any,
    ) -> tuple[ImprovementReport, list[tuple[RankedResponse, list[float]]]]:
        sampler = Mortal(policy, plan, name="tiny", digest="0" * 64)
        sampler.lives = lives
        report = ImprovementReport()
        with Journal(tmp_path / journal) as kept:
            size = more.pop("batch_size", 1)
            sample_queries(
                stream_queries(source), sampler, kept, load=load, report=report, batch_size=size
            )
            ranked = rank_samples(
                stream_queries(source),
                sampler,
                scorer or LengthScorer(),
                kept,
                load=load,
                report=report,
                **more,
            )
            return report, list(ranked)

    return go


def test_groups_are_ranked_by_score(run: Run) -> None:
    scorer = LengthScorer()
    report, ranked = run(scorer=scorer)
    assert report.queries == report.sampled_now == 13
    assert report.samples == 13 * 8
    assert report.records == len(ranked) > 5
    assert report.records + report.no_pair.total() == 13
    assert report.responses == sum(len(one.responses) for one, _ in ranked)
    for record, scores in ranked:
        lengths = [len(one.text) for one in record.responses]
        assert scores == lengths
        assert record.ranks == tuple(1 + sum(o > n for o in lengths) for n in lengths)
    json.dumps(report.to_dict())


def test_samples_that_are_dropped_are_counted(
    run: Run, policy: LoadedModel, template: World
) -> None:
    """With one token in the nucleus, all samples of a query are alike."""
    plan = replace(PLAN, top_p=1e-6)
    report, _ = run(plan=plan)
    sampler = PolicySampler(policy, plan, name="tiny", digest="0" * 64)
    source, root = Source(str(template.folder / "data/train.jsonl")), str(template.folder / "data")
    usable = [
        [sample.text.strip() for sample in samples if sample.flaw is None]
        for query in stream_queries(source)
        for samples in sampler.sample([(query, load_media(query, root))])
    ]
    assert report.identical == sum(len(texts) - len(set(texts)) for texts in usable) > 0
    assert report.flaws.total() == report.samples - sum(map(len, usable))


def test_a_run_that_was_killed_goes_on_and_ends_with_the_same(run: Run) -> None:
    _, whole = run(journal="whole")
    with pytest.raises(KeyboardInterrupt):
        run(lives=5)
    scorer = LengthScorer()
    report, resumed = run(scorer=scorer)
    assert resumed == whole
    assert report.sampled_now == 13 - 5
    again, _ = run(scorer=scorer)
    assert (again.sampled_now, again.scored_now) == (0, 0)
    assert len(scorer.asked) == len(set(scorer.asked))


def test_batches_change_nothing(run: Run) -> None:
    _, alone = run(journal="alone")
    _, together = run(journal="together", batch_size=4)
    assert alone == together


def test_another_reward_model_scores_again_but_samples_nothing(run: Run) -> None:
    _, first = run()
    report, second = run(scorer=LengthScorer(factor=-1.0))
    assert report.sampled_now == 0
    assert report.scored_now == len(first)
    assert [scores for _, scores in second] == [[-s for s in scores] for _, scores in first]


def test_two_queries_of_one_id_end_the_run(run: Run, template: World, tmp_path: Path) -> None:
    rows = (template.folder / "data/train.jsonl").read_text().splitlines()[:2]
    second = {**json.loads(rows[1]), "record_id": "r0"}
    path = tmp_path / "twice.jsonl"
    path.write_text(f"{rows[0]}\n{json.dumps(second)}\n")
    with pytest.raises(DataError, match="two queries have the id 'r0'"):
        run(source=Source(str(path)))


def test_scores_that_are_not_finite_end_the_run(run: Run) -> None:
    with pytest.raises(DataError, match="are not finite"):
        run(scorer=LengthScorer(factor=float("inf")))


def test_what_comes_out_feeds_an_mmdpo_job(run: Run, world: World) -> None:
    _, ranked = run()
    data = world.folder / "data"
    write_records([record for record, _ in ranked], str(data / "improved.jsonl"))
    scores = world.folder / "improved.parquet"
    with SidecarWriter(str(scores), LengthScorer().identity()) as writer:
        for record, values in ranked:
            writer.write(
                record_keys(record),
                values,
                record_id=record.record_id,
                response_ids=[one.response_id for one in record.responses],
            )
    dataset = RankedDataset.open(Source(str(data / "improved.jsonl")))
    assert dataset.num_records == len(ranked)
    job = world.job(
        data={"train": {"uri": str(data / "improved.jsonl")}},
        reward={"scoresUri": str(scores)},
        training={"maxSteps": 1, "queriesPerStep": 2, "queriesPerMicroBatch": 1},
    )
    result = world.run(job)
    assert result.code == 0, result.stderr
    (step,) = result.steps
    assert step["step"] == 1
