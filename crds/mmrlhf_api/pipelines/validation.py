"""What is wrong with a pipeline or a run, all of it at once, before a job is made."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pydantic import ValidationError

from mmrlhf_api.complaints import complaints
from mmrlhf_api.errors import Problem
from mmrlhf_api.job import Job
from mmrlhf_api.kinds.kind import Input, Output
from mmrlhf_api.kinds.registry import KINDS
from mmrlhf_api.pipelines.graph import find_cycle, in_order, waits
from mmrlhf_api.pipelines.names import pipeline_excess, run_excess
from mmrlhf_api.pipelines.references import Reference, references
from mmrlhf_api.pipelines.rendering import job_body, step_spec
from mmrlhf_api.pipelines.types import AlignmentPipeline, AlignmentRun, PipelineStep
from mmrlhf_api.storage import ArtifactStore
from mmrlhf_api.uris import IN_CLUSTER
from mmrlhf_api.yamltree import FieldPath, format_path

__all__ = ["Found", "problems"]

Found = tuple[FieldPath, Problem]
"""Something wrong, with the path of its field."""


def problems(body: AlignmentPipeline | AlignmentRun, *, in_cluster: bool) -> list[Found]:
    """Return all that is wrong with the steps of a pipeline or a run.

    Names of steps and outputs, types of what is taken against those of what is left, cycles,
    lengths of names, and each spec as its kind has it, with a URI in place of each reference.

    Args:
        body: It, valid as its type says.
        in_cluster: Whether it is for a cluster, where relative paths lead nowhere.
    """
    spec = body.spec
    # What the server adds to a prefix is a dash and five characters.
    name = body.metadata.name + ("-xxxxx" if body.metadata.is_unnamed else "")
    excess = run_excess if isinstance(body, AlignmentRun) else pipeline_excess
    values = (
        {one.name: one.value for one in body.spec.parameters}
        if isinstance(body, AlignmentRun)
        else {one.name: one.default for one in body.spec.parameters}
    )
    return _Judge(
        steps=spec.steps,
        parameters=values,
        artifacts=spec.artifacts,
        excess=lambda step: excess(name, step),
        in_cluster=in_cluster,
    ).judge()


@dataclass
class _Judge:
    steps: Sequence[PipelineStep]
    parameters: Mapping[str, Any]
    artifacts: ArtifactStore | None
    excess: Callable[[str], int]
    in_cluster: bool
    outputs: dict[str, dict[str, Output]] = field(default_factory=dict)

    def judge(self) -> list[Found]:
        places = {step.name: index for index, step in enumerate(self.steps)}
        found = [
            one for index, step in enumerate(self.steps) for one in self._names(index, step, places)
        ]
        cycle = find_cycle(waits(self.steps))
        if cycle is not None:
            path: FieldPath = ("spec", "steps", places[cycle[0]])
            words = "waits for itself" if len(cycle) == 2 else "wait for each other"
            return [*found, _problem(path, f"{' -> '.join(cycle)}: {words}; none could begin")]
        if found:
            return found  # what is there is judged once what is not is mended
        for step in in_order(self.steps):
            found += self._spec(places[step.name], step)
        return sorted(found, key=lambda one: [str(part) for part in one[0][:3]])

    def _names(self, index: int, step: PipelineStep, places: Mapping[str, int]) -> Iterator[Found]:
        top: FieldPath = ("spec", "steps", index)
        excess = self.excess(step.name)
        if excess:
            yield _problem(
                (*top, "name"),
                f"is {excess} characters too long: with the name of a run and a retry before and"
                " behind it, it names a job, and that has at most 52; shorten it, or the name of"
                " the whole",
                step.name,
            )
        for position, name in enumerate(step.needs):
            if name not in places:
                yield _problem((*top, "needs", position), _no_step(name, places), name)
        for one in references(step.spec, (*top, "spec")):
            flaw = one.flaw
            if flaw is None and one.step is not None and one.step not in places:
                flaw = _no_step(one.step, places)
            if flaw is None and one.parameter is not None and one.parameter not in self.parameters:
                there = ", ".join(self.parameters) or "none"
                flaw = f"there is no parameter {one.parameter}; there are: {there}"
            if flaw is not None:
                yield _problem(one.path, flaw, one.text)

    def _spec(self, index: int, step: PipelineStep) -> Iterator[Found]:
        top: FieldPath = ("spec", "steps", index)
        taken = [one for one in references(step.spec) if one.step is not None]
        missing = [
            _problem((*top, "spec", *one.path), flaw, one.text)
            for one in taken
            if (flaw := self._lacks(one)) is not None
        ]
        if missing:
            yield from missing
            return
        spec = step_spec(
            step,
            artifacts=self.artifacts,
            parameters=self.parameters,
            output=self._stand_in,
        )
        body = job_body(step, spec, name="x", namespace="x")
        model = KINDS[step.kind].model
        try:
            job = model.model_validate(
                body, by_alias=True, by_name=False, context={IN_CLUSTER: self.in_cluster}
            )
        except ValidationError as error:
            for path, problem in complaints(model, body, error):
                yield _placed(top, path, problem, {("spec", *one.path): one for one in taken})
            return
        kind = KINDS[step.kind]
        self.outputs[step.name] = {one.name: one for one in kind.outputs(job.spec)}
        inputs = {one.field: one for one in _inputs(job)}
        for one in taken:
            flaw = self._mismatch(one, inputs.get(format_path(one.path)))
            if flaw is not None:
                yield _problem((*top, "spec", *one.path), flaw, one.text)

    def _lacks(self, one: Reference) -> str | None:
        assert one.step is not None
        there = self.outputs.get(one.step)
        if there is None or one.output in there:
            return None  # what is not valid itself says so
        return f"step {one.step} leaves no {one.output}; it leaves: {', '.join(there) or 'nothing'}"

    def _stand_in(self, one: Reference) -> str:
        assert one.step is not None
        assert one.output is not None
        output = self.outputs.get(one.step, {}).get(one.output)
        return f"s3://steps/{one.step}/{one.output if output is None else output.path}"

    def _mismatch(self, one: Reference, taker: Input | None) -> str | None:
        assert one.step is not None
        assert one.output is not None
        output = self.outputs.get(one.step, {}).get(one.output)
        if output is None:
            return None
        if taker is None or not taker.takes:
            return f"takes no output of a step, and {one.text} is the {output.content} of one"
        if output.content not in taker.takes:
            return f"takes {' or '.join(taker.takes)}, and {one.text} is {output.content}"
        if taker.child is not None and taker.child not in output.holds:
            return f"takes a folder with {taker.child}, and {one.text} has none"
        return None


def _inputs(job: Job) -> Iterator[Input]:
    yield from KINDS[job.kind].inputs(job.spec)


def _problem(path: FieldPath, message: str, given: str | None = None) -> Found:
    return path, Problem(field=format_path(path), message=message, given=given)


def _no_step(name: str, places: Mapping[str, int]) -> str:
    return f"there is no step {name}; there are: {', '.join(places)}"


def _placed(
    top: FieldPath, path: FieldPath, problem: Problem, taken: Mapping[FieldPath, Reference]
) -> Found:
    """Return what is wrong with a job as what is wrong with the step."""
    if not path and not problem.field:
        return path, problem  # a count of others
    place = (*top, *path)
    reference = taken.get(path)
    if reference is not None:
        return _problem(place, f"{problem.message}; it takes no output of a step", reference.text)
    return place, Problem(field=format_path(place), message=problem.message, given=problem.given)
