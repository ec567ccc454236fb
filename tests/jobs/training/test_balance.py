"""How the queries of a step are dealt to processes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mmrlhf_jobs.data.records import RankedResponse
from mmrlhf_jobs.models.adapter import EncodedGroup
from mmrlhf_jobs.process.gang import Runtime
from mmrlhf_jobs.training.balance import deal, estimate_cost
from mmrlhf_jobs.training.plan import StepPlan, micro_batches
from tests.unit.data.builders import make_fields, make_record

COSTS = st.lists(st.integers(0, 10_000), max_size=40)
PROCESSES = st.integers(1, 9)


@given(costs=COSTS, processes=PROCESSES)
def test_every_query_once_and_as_many_to_each(costs: list[int], processes: int) -> None:
    shares = deal(costs, processes)
    assert len(shares) == processes
    assert sorted(place for share in shares for place in share) == list(range(len(costs)))
    assert all(share == sorted(share) for share in shares)
    sizes = [len(share) for share in shares]
    assert max(sizes) - min(sizes) <= 1
    assert max(sizes) == -(-len(costs) // processes)


@given(costs=COSTS, processes=PROCESSES)
def test_no_process_has_more_than_one_query_more_to_do(costs: list[int], processes: int) -> None:
    loads = [sum(costs[place] for place in share) for share in deal(costs, processes)]
    assert max(loads) - min(loads) <= max(costs, default=0)


@given(costs=COSTS, processes=PROCESSES)
def test_micro_batches_at_the_same_time_are_about_as_long(costs: list[int], processes: int) -> None:
    """The k-th longest of any process is no longer than the (k - 1)-th of any other."""
    ordered = [
        sorted((costs[place] for place in share), reverse=True) for share in deal(costs, processes)
    ]
    for one in ordered:
        for other in ordered:
            assert all(mine <= theirs for mine, theirs in zip(one[1:], other, strict=False))


def test_one_process_takes_all_in_the_order_of_the_step() -> None:
    assert deal([3, 9, 1], 1) == [[0, 1, 2]]


def test_long_queries_are_spread() -> None:
    """By turns, one of two processes would have them all: 2400 and 60."""
    assert deal([900, 10, 800, 20, 700, 30], 2) == [[0, 3, 5], [1, 2, 4]]


def longer(record_id: str, letters: int, **changes: Any) -> RankedResponse:
    fields = make_fields(record_id, **changes)
    fields["responses"][0]["text"] += "x" * letters
    return RankedResponse.model_validate(fields)


def test_what_a_query_costs() -> None:
    bare = estimate_cost(make_record())
    assert estimate_cost(longer("r1", 400)) == bare + 100
    text: dict[str, Any] = {"schema": "mmrlhf.io/ranked-response/v2", "domain": "text", "media": []}
    assert estimate_cost(make_record(**text)) == bare - 750
    told: dict[str, Any] = {**text, "query": {"text": "Which digit is it?", "system": "s" * 80}}
    assert estimate_cost(make_record(**told)) == bare - 750 + 20
    critique = {"critique": {"human": "h" * 40, "augmented": "a" * 200}}
    fields = make_fields()
    fields["responses"][1].update(critique)
    assert estimate_cost(RankedResponse.model_validate(fields)) == bare + 50


@dataclass(frozen=True)
class Built:
    """A query as a training has it."""

    name: str
    encoded: EncodedGroup


class Builder:
    def build(self, record: RankedResponse) -> Built:
        ids = torch.zeros(estimate_cost(record))
        return Built(record.record_id, EncodedGroup(ids, (torch.zeros(1),) * 2, {}))


class Records:
    """A data set of records of many lengths."""

    def __init__(self, count: int) -> None:
        self._records = [longer(f"r{number}", number * 37 % 101) for number in range(count)]

    def batches(self, *, seed: int, epoch: int, start: int, batch_size: int) -> Iterator[list[Any]]:
        del seed, epoch
        for first in range(start * batch_size, len(self._records), batch_size):
            yield self._records[first : first + batch_size]


@pytest.mark.parametrize("processes", [1, 2, 3])
def test_steps_hold_the_same_queries_for_any_number_of_processes(processes: int) -> None:
    plan = StepPlan(
        num_records=11, queries_per_step=4, queries_per_micro_batch=1, epochs=1, max_steps=None
    )

    def steps(rank: int, of: int) -> list[Any]:
        runtime = Runtime(rank, of, torch.device("cpu"))
        dataset: Any = Records(11)
        return list(plan.steps(dataset, Builder(), seed=0, start=0, runtime=runtime))

    alone = steps(0, 1)
    shared = [steps(rank, processes) for rank in range(processes)]
    for number, step in enumerate(alone):
        parts = [own[number] for own in shared]
        names = sorted(query.name for part in parts for query in part.queries)
        assert names == sorted(query.name for query in step.queries)
        for part in parts:
            spare = step.queries[0]
            batches = micro_batches(part.queries, size=1, count=part.micro_batches, spare=spare)
            assert len(batches) == part.micro_batches, "a process has more than all take part in"


@pytest.mark.parametrize("processes", [2, 3])
def test_the_steps_of_a_training_are_dealt_by_their_costs(processes: int) -> None:
    """By turns, these lengths would leave one process with far more than one query more to do."""
    plan = StepPlan(
        num_records=12, queries_per_step=12, queries_per_micro_batch=1, epochs=1, max_steps=None
    )
    dataset: Any = Records(0)
    dataset._records = [
        longer(f"r{number}", 4000 if number % processes == 0 else 10 * number)
        for number in range(12)
    ]
    orders = []
    for rank in range(processes):
        runtime = Runtime(rank, processes, torch.device("cpu"))
        (step,) = plan.steps(dataset, Builder(), seed=0, start=0, runtime=runtime)
        batches = micro_batches(
            step.queries, size=1, count=step.micro_batches, spare=step.queries[0]
        )
        orders.append([sum(query.encoded.tokens for query in one) for one, _ in batches])
    loads = [sum(order) for order in orders]
    assert max(loads) - min(loads) <= max(map(max, orders))
    for before, after in pairwise(zip(*orders, strict=True)):
        assert max(after) <= min(before), "micro-batches at the same time are about as long"
