"""Which records a step takes, and how a process splits them."""

from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st

from mmrlhf_jobs.data.pairs import Pair
from mmrlhf_jobs.models.adapter import EncodedGroup
from mmrlhf_jobs.queries.preference import Query
from mmrlhf_jobs.training.plan import StepPlan, micro_batches


def query(name: str, tokens: int) -> Query:
    group = EncodedGroup(torch.zeros(tokens), (torch.zeros(2), torch.zeros(3)), {})
    return Query(name, group, (Pair(0, 1),), torch.zeros(2), None)


def plan(records: int, per_step: int, per_micro: int, max_steps: int | None = None) -> StepPlan:
    return StepPlan(
        num_records=records,
        queries_per_step=per_step,
        queries_per_micro_batch=per_micro,
        epochs=2,
        max_steps=max_steps,
    )


def test_the_last_step_of_an_epoch_takes_what_is_left() -> None:
    one = plan(13, 4, 2)
    assert one.steps_per_epoch == 4
    assert one.total_steps == 8
    assert [one.micro_batches(step, world_size=1) for step in range(8)] == [2, 2, 2, 1] * 2
    assert [one.micro_batches(step, world_size=2) for step in range(4)] == [1, 1, 1, 1]


def test_max_steps_ends_within_an_epoch() -> None:
    assert plan(13, 4, 2, max_steps=5).total_steps == 5
    assert plan(13, 4, 2, max_steps=50).total_steps == 8


@given(
    records=st.integers(1, 40),
    per_step=st.integers(1, 16),
    per_micro=st.integers(1, 5),
    world=st.integers(1, 5),
    step=st.integers(0, 100),
)
def test_every_process_can_run_all_its_queries(
    records: int, per_step: int, per_micro: int, world: int, step: int
) -> None:
    one = plan(records, per_step, per_micro)
    step %= one.total_steps
    first = (step % one.steps_per_epoch) * per_step
    positions = range(first, min(first + per_step, records))
    count = one.micro_batches(step, world_size=world)
    needed = [
        -(-sum(position % world == rank for position in positions) // per_micro)
        for rank in range(world)
    ]
    assert max(needed) == count, "the busiest process decides, and nobody runs more than it"


def test_micro_batches_hold_every_query_once_and_spares_do_not_count() -> None:
    queries = [query(name, tokens) for name, tokens in (("a", 5), ("b", 9), ("c", 7))]
    spare = query("spare", 1)
    batches = micro_batches(queries, size=2, count=4, spare=spare)
    names = [([one.name for one in batch], counted) for batch, counted in batches]
    assert names == [
        (["b", "c"], True),
        (["a"], True),
        (["spare"], False),
        (["spare"], False),
    ]


def test_wins_count_pairs_by_their_chosen_response() -> None:
    group = EncodedGroup(torch.zeros(1), (torch.zeros(1),) * 3, {})
    one = Query("r", group, (Pair(0, 1), Pair(0, 2), Pair(1, 2)), torch.zeros(3), None)
    assert one.wins == (2, 1, 0)
    assert one.encoded.tokens == 4
