"""What is wrong with a sweep, all of it at once, before a job is made."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import ValidationError

from mmrlhf_api.bounds import MAX_JOB_NAME
from mmrlhf_api.complaints import complaints
from mmrlhf_api.errors import Problem
from mmrlhf_api.kinds.registry import KINDS
from mmrlhf_api.sweeps.grid import MAX_SUFFIX, Point, count_points, job_body, points_of
from mmrlhf_api.sweeps.types import MAX_POINTS, Sweep, SweepSpec
from mmrlhf_api.uris import IN_CLUSTER
from mmrlhf_api.yamltree import FieldPath, format_path

__all__ = ["sweep_problems"]

Found = tuple[FieldPath, Problem]

_OWN = ("runPolicy.suspend", "runPolicy.cancel")
"""Fields of jobs that the sweep itself sets."""


def sweep_problems(sweep: Sweep, *, in_cluster: bool) -> list[Found]:
    """Return all that is wrong with a sweep: names, fields, and each point as its kind has it.

    Args:
        sweep: It, valid as its type says.
        in_cluster: Whether it is for a cluster, where relative paths lead nowhere.
    """
    found = [*_name(sweep), *_counts(sweep.spec), *_fields(sweep.spec), *_twice(sweep.spec)]
    if not found:
        found = _points(sweep, in_cluster=in_cluster)
    return found or [*_objective(sweep.spec), *_early_stop(sweep.spec)]


def _name(sweep: Sweep) -> Iterator[Found]:
    # What the server adds to a prefix is a dash and five characters.
    name = sweep.metadata.name + ("-xxxxx" if sweep.metadata.is_unnamed else "")
    excess = len(name) + MAX_SUFFIX - MAX_JOB_NAME
    if excess > 0:
        yield _problem(
            ("metadata", "name"),
            f"is {excess} characters too long: with the number of a point behind it, it names a"
            f" job, and that has at most {MAX_JOB_NAME}",
        )


def _counts(spec: SweepSpec) -> Iterator[Found]:
    count = count_points(spec)
    if count > MAX_POINTS:
        sizes = " x ".join(str(len(one.values)) for one in spec.parameters)
        grid = f"the grid of {sizes}" + (f" and {len(spec.points)} points" if spec.points else "")
        yield _problem(
            ("spec", "parameters"),
            f"{grid} are {count} points, and a sweep has at most {MAX_POINTS}; leave out values, or"
            " make several sweeps",
        )


def _fields(spec: SweepSpec) -> Iterator[Found]:
    for path, field, _ in _places(spec):
        if field.partition(".")[0] == "spec":
            yield _problem(path, "is a path below template.spec: leave out spec. before it", field)
        elif field in _OWN:
            yield _problem(path, "is set by the sweep itself: see spec.suspend and cancel", field)
    fields = [one.field for one in spec.parameters]
    for index, field in enumerate(fields):
        for other in fields[:index]:
            if field.startswith((f"{other}.", f"{other}[")) or other.startswith(
                (f"{field}.", f"{field}[")
            ):
                yield _problem(
                    ("spec", "parameters", index, "field"),
                    f"lies within {other} or around it, and one would undo the other",
                    field,
                )


def _twice(spec: SweepSpec) -> Iterator[Found]:
    if count_points(spec) > MAX_POINTS:
        return
    seen: dict[str, str] = {}
    for point in points_of(spec):
        key = repr(sorted((field, repr(value)) for field, value in point.values.items()))
        if key in seen:
            yield _problem(
                _place_of(spec, point),
                f"points {seen[key]} and {point.name} are the same; each is run once, so give each"
                " once (of repetitions let training.seed differ)",
            )
            return
        seen[key] = point.name


def _points(sweep: Sweep, *, in_cluster: bool) -> list[Found]:
    """Each point as its kind has it; what is wrong with several is said once."""
    spec, found = sweep.spec, dict[tuple[str, str], Found]()
    model = KINDS[spec.template.kind].model
    for point in points_of(spec):
        try:
            body = job_body(spec, point, sweep="x", namespace="x")
        except ValueError as error:
            path = _place_of(spec, point)
            found.setdefault((format_path(path), str(error)), _problem(path, str(error)))
            continue
        try:
            model.model_validate(
                body, by_alias=True, by_name=False, context={IN_CLUSTER: in_cluster}
            )
        except ValidationError as error:
            for path, problem in complaints(model, body, error):
                one = _placed(spec, point, path, problem)
                found.setdefault((one[1].field, one[1].message), one)
    return list(found.values())


def _placed(spec: SweepSpec, point: Point, path: FieldPath, problem: Problem) -> Found:
    """Return what is wrong with a job as what is wrong with the sweep."""
    if not path and not problem.field:
        return path, problem  # a count of others
    inside = format_path(path[1:])
    for field, value in point.values.items():
        if inside == field or inside.startswith((f"{field}.", f"{field}[")):
            where = _place_of(spec, point, field)
            given = problem.given if problem.given is not None else str(value)
            return _problem(where, f"{inside}: {problem.message}", given)
    place = ("spec", "template", *path)
    return place, Problem(field=format_path(place), message=problem.message, given=problem.given)


def _place_of(spec: SweepSpec, point: Point, field: str | None = None) -> FieldPath:
    """Where a point, or its value of a field, stands in the sweep."""
    grid = count_points(spec) - len(spec.points)
    number = int(point.name)
    if number >= grid:
        index = number - grid
        if field is None:
            return ("spec", "points", index)
        names = [one.field for one in spec.points[index].values]
        return ("spec", "points", index, "values", names.index(field), "value")
    if field is None:
        return ("spec", "parameters")
    names = [one.field for one in spec.parameters]
    index = names.index(field)
    values = spec.parameters[index].values
    return ("spec", "parameters", index, "values", values.index(point.values[field]))


def _places(spec: SweepSpec) -> Iterator[tuple[FieldPath, str, Any]]:
    for index, one in enumerate(spec.parameters):
        yield ("spec", "parameters", index, "field"), one.field, one.values
    for index, point in enumerate(spec.points):
        for position, each in enumerate(point.values):
            yield (
                ("spec", "points", index, "values", position, "field"),
                each.field,
                (each.value,),
            )


def _objective(spec: SweepSpec) -> Iterator[Found]:
    known = [f"after{name}" for name in KINDS[spec.template.kind].held_out]
    metric = spec.objective.metric
    path: FieldPath = ("spec", "objective", "metric")
    if known and metric not in known:
        words = f"is no held-out figure of a {spec.template.kind}; it has: {', '.join(known)}"
        yield _problem(path, words, metric)
    elif known and not _dig(spec.template.spec, "data.evaluation"):
        yield _problem(
            path,
            "is a figure of held-out data, and template.spec.data.evaluation names none",
            metric,
        )
    fields = {field for _, field, _ in _places(spec)}
    for index, field in enumerate(spec.objective.repeated):
        if field not in fields and field != "training.seed":
            yield _problem(
                ("spec", "objective", "meanOver", index), "is no field of this sweep", field
            )
    if fields and fields <= set(spec.objective.repeated) and len(fields) == 1:
        yield _problem(
            ("spec", "objective", "meanOver"),
            f"has all fields of the sweep ({', '.join(sorted(fields))}), so that there is one"
            " setting and nothing to choose; vary another field, or give meanOver: []",
        )


def _early_stop(spec: SweepSpec) -> Iterator[Found]:
    rule = spec.early_stop
    if rule is None:
        return
    if not KINDS[spec.template.kind].held_out:
        yield _problem(
            ("spec", "earlyStop"),
            f"compares held-out figures on the way, and a {spec.template.kind} tells none",
        )
        return
    every = {_dig(spec.template.spec, "training.evaluateEverySteps")}
    for _, field, values in _places(spec):
        if field == "training.evaluateEverySteps":
            every = set(values)
    for index, step in enumerate(rule.steps):
        if not all(isinstance(one, int) and step % one == 0 for one in every):
            shown = ", ".join("none" if one is None else str(one) for one in every)
            yield _problem(
                ("spec", "earlyStop", "steps", index),
                "is no multiple of template.spec.training.evaluateEverySteps"
                f" ({shown}), and nothing is measured there",
                str(step),
            )


def _dig(spec: Mapping[str, Any], path: str) -> Any:  # noqa: ANN401 - any JSON
    value: Any = spec
    for name in path.split("."):
        value = value.get(name) if isinstance(value, Mapping) else None
    return value


def _problem(path: FieldPath, message: str, given: str | None = None) -> Found:
    return path, Problem(field=format_path(path), message=message, given=given)
