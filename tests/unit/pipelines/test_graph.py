"""Order and cycles, against graphlib."""

from __future__ import annotations

import graphlib
import random
from itertools import pairwise

import pytest

from mmrlhf_api.pipelines.graph import find_cycle, in_order, parents
from mmrlhf_api.pipelines.types import PipelineStep


def step(name: str, *needs: str) -> PipelineStep:
    return PipelineStep(name=name, kind="StepJob", spec={}, needs=needs)


def test_a_step_waits_for_what_it_needs_and_what_it_takes() -> None:
    one = PipelineStep(
        name="c", kind="StepJob", needs=("a",), spec={"x": "${steps.b.o}", "y": "${steps.a.o}"}
    )
    assert parents(one) == ("a", "b")


@pytest.mark.parametrize("seed", range(40))
def test_cycles_are_found_where_graphlib_finds_them(seed: int) -> None:
    chance = random.Random(seed)
    names = [f"s{number}" for number in range(chance.randint(1, 9))]
    graph = {
        name: tuple(chance.sample(names, chance.randint(0, 2) % (len(names) + 1))) for name in names
    }
    try:
        tuple(graphlib.TopologicalSorter(graph).static_order())
        expected = False
    except graphlib.CycleError:
        expected = True
    found = find_cycle(graph)
    assert (found is not None) == expected
    if found is not None:
        assert found[0] == found[-1]
        assert all(after in graph[before] for before, after in pairwise(found))
        return
    placed = [one.name for one in in_order([step(name, *graph[name]) for name in names])]
    assert sorted(placed) == sorted(names)
    for name in names:
        assert all(placed.index(need) < placed.index(name) for need in graph[name])
