"""Which steps wait for which."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from mmrlhf_api.pipelines.references import references

if TYPE_CHECKING:
    from mmrlhf_api.pipelines.types import PipelineStep

__all__ = ["find_cycle", "in_order", "named_steps", "parents", "waits"]


def parents(step: PipelineStep) -> tuple[str, ...]:
    """Names of the steps that must have succeeded first, in the order in which they stand."""
    return named_steps(step.spec, step.needs)


def named_steps(spec: Mapping[str, Any], needs: Iterable[str]) -> tuple[str, ...]:
    """The same of a step that may not be valid."""
    taken = (one.step for one in references(dict(spec)) if one.step is not None)
    return tuple(dict.fromkeys((*needs, *taken)))


def waits(steps: Sequence[PipelineStep]) -> dict[str, tuple[str, ...]]:
    """For each step those that it waits for, without names of steps that there are not."""
    known = {step.name for step in steps}
    return {step.name: tuple(p for p in parents(step) if p in known) for step in steps}


def find_cycle(graph: Mapping[str, Sequence[str]]) -> list[str] | None:
    """Steps that wait for each other, the first one again at the end; None where none do."""
    done: set[str] = set()
    for start in graph:
        path: list[str] = []
        stack = [(start, iter(graph[start]))] if start not in done else []
        path = [name for name, _ in stack]
        while stack:
            name, others = stack[-1]
            following = next((one for one in others if one not in done), None)
            if following is None:
                done.add(name)
                stack.pop()
                path.pop()
            elif following in path:
                return [*path[path.index(following) :], following]
            else:
                stack.append((following, iter(graph[following])))
                path.append(following)
    return None


def in_order(steps: Sequence[PipelineStep]) -> list[PipelineStep]:
    """Steps in an order in which each comes after those that it waits for; else as they stand.

    There must be no cycle.
    """
    graph = waits(steps)
    placed: dict[str, PipelineStep] = {}
    left = list(steps)
    while left:
        ready = next(step for step in left if all(name in placed for name in graph[step.name]))
        placed[ready.name] = ready
        left.remove(ready)
    return list(placed.values())
