"""What a kind is to those who do not know it: data and pure functions over its spec."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from mmrlhf_api.lazy import load
from mmrlhf_api.progress import Course, Figure

if TYPE_CHECKING:
    from mmrlhf_api.job import Job, JobSpec
    from mmrlhf_api.runs import RunLayout

__all__ = ["Content", "Input", "Kind", "Need", "Output", "SpecColumn"]

S = TypeVar("S", bound="JobSpec")

Content = Literal[
    "model",
    "adapter",
    "records",
    "queries",
    "scores",
    "results",
    "verdicts",
    "rows",
    "tasks",
    "key",
    "figures",
    "page",
]
"""What an output of a job is: what another job may read it as. results are what was measured of a
model by query, verdicts what a judge of pairs said (docs/gate.md); rows are of a public format,
tasks for annotators, a key leads from their answers back to responses."""


@dataclass(frozen=True, kw_only=True)
class Input:
    """Something that a job reads and that must be there before it starts.

    Attributes:
        field: Wire path of the field that names it, below ``spec``.
        uri: Where it is.
        content: What it is.
        child: Name below it that must be there too.
        takes: What outputs of other jobs may stand there; none where only files of the user do.
    """

    field: str
    uri: str
    content: Literal["data", "model"]
    child: str | None = None
    takes: tuple[Content, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Output:
    """Something that a job leaves for others, by name.

    Attributes:
        name: Its name in ``status.outputs``.
        content: What it is.
        path: Where it is, below the folder of the run.
        holds: Names below it that readers look for.
    """

    name: str
    content: Content
    path: str
    holds: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class SpecColumn:
    """A word of the spec that lists show.

    Attributes:
        title: Title of its column.
        path: Wire path of the field in the object, such as ``spec.step``.
        about: What it is.
    """

    title: str
    path: str
    about: str

    def read(self, spec: object) -> str:
        """Return the word of a spec under wire names, valid or not; empty where there is none."""
        word = _at({"spec": spec}, self.path.split("."))
        return word if isinstance(word, str) else ""


@dataclass(frozen=True, kw_only=True)
class Need:
    """A field by which a job names another one in its namespace, and waits until it has succeeded.

    What that one left then takes the place of its name.

    Attributes:
        field: Wire path of the field, below ``spec``, such as ``reward.jobName``.
        kind: Kind of the other job.
        takes: Name of the other job's output that is taken.
        output: Where that is in a run whose status does not tell, as an earlier operator left it: a
            URI, of a layout of URIs.
        becomes: Wire path of the field that holds its URI then, such as ``reward.modelUri``.
        annotation: In the job file of a pod: the other job, as ``name/uid``.
    """

    field: str
    kind: str
    takes: str
    output: Callable[[RunLayout], str]
    becomes: str
    annotation: str

    def named(self, spec: object) -> str | None:
        """Return the name of the other job; None when a spec names none.

        Args:
            spec: A spec under wire names, valid or not.
        """
        name = _at(spec, self.field.split("."))
        return name if isinstance(name, str) and name else None

    def taken(self, spec: JobSpec) -> str | None:
        """Return the URI that a spec holds in place of a name; None when it holds none."""
        from mmrlhf_api.base import wire_dict

        uri = _at(wire_dict(spec), self.becomes.split("."))
        return uri if isinstance(uri, str) else None

    def take(self, spec: S, uri: str) -> S:
        """Return a spec with a URI in place of the name of the other job."""
        from mmrlhf_api.base import wire_dict

        data = wire_dict(spec)
        *path, last = self.field.split(".")
        del _at(data, path)[last]
        *path, last = self.becomes.split(".")
        _at(data, path)[last] = uri
        return type(spec).model_validate(data)


@dataclass(frozen=True, kw_only=True)
class Kind:
    """One kind.

    Attributes:
        name: ``kind`` of its objects.
        plural: Name in URLs and for kubectl.
        singular: Singular for kubectl.
        short_name: Short name for kubectl.
        subcommand: ``python -m mmrlhf_jobs <subcommand>`` runs a job of this kind.
        home: Where its type is, as ``module:name``.
        course: How its jobs advance, which says what figures they tell.
        columns: Those of its figures that lists show even when they are not wide.
        runner: What runs a job in its processes, as ``module:function``: it is called with the job
            and the `mmrlhf_jobs.process.context.TrainingContext`.
        inputs: What a spec of the kind names that must be there before the job starts.
        needs: Fields by which it may name a job to wait for; a spec names one at most.
        outputs: What a run of a spec leaves for others.
        spec_columns: Words of the spec that lists show.
        held_out: Names of `mmrlhf_api.progress.HELD_OUT` that its jobs measure.
        remade: Whether a run of a spec can be spared where an earlier one has made the same; not of
            those that change what is there.
    """

    name: str
    plural: str
    singular: str
    short_name: str
    subcommand: str
    home: str
    course: Course
    columns: tuple[Figure, ...]
    runner: str
    inputs: Callable[[Any], Iterable[Input]]
    needs: tuple[Need, ...] = ()
    outputs: Callable[[Any], Iterable[Output]] = lambda spec: ()  # noqa: ARG005
    spec_columns: tuple[SpecColumn, ...] = ()
    held_out: tuple[str, ...] = ()
    remade: Callable[[Any], bool] = lambda spec: True  # noqa: ARG005

    @property
    def model(self) -> type[Job]:
        """Its type, loaded when it is first asked for.

        Raises:
            ValueError: It is of another kind.
        """
        model: type[Job] = load(self.home)
        if model.model_fields["kind"].default != self.name:
            raise ValueError(f"{model.__name__}.kind must be {self.name}")
        return model

    @property
    def aliases(self) -> tuple[str, ...]:
        """All names that a user may give, in lower case."""
        return (self.singular, self.plural, self.short_name, self.subcommand)

    def named(self, spec: object) -> tuple[Need, str] | None:
        """Return what a spec waits for, and the name of that job; None when it names none.

        Args:
            spec: A spec under wire names, valid or not.
        """
        found = ((need, need.named(spec)) for need in self.needs)
        return next(((need, name) for need, name in found if name is not None), None)


def _at(value: Any, path: Sequence[str]) -> Any:  # noqa: ANN401 - any JSON
    """Return what is at a wire path; None where there is nothing."""
    for name in path:
        value = value.get(name) if isinstance(value, Mapping) else None
    return value
