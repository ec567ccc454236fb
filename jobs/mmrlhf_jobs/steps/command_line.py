"""The command line of a step, made from the fields of its spec."""

from __future__ import annotations

import argparse
import types
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal, NoReturn, TypeVar, Union, get_args, get_origin

from pydantic import TypeAdapter, ValidationError
from pydantic.alias_generators import to_camel
from pydantic.fields import FieldInfo

from mmrlhf_api.base import ApiModel
from mmrlhf_api.jobfile import parse_object
from mmrlhf_api.steps.marks import Flag, Positional
from mmrlhf_api.termination import Ending
from mmrlhf_api.yamltree import Document
from mmrlhf_jobs.reporting.termination import write_termination
from mmrlhf_jobs.steps.spec import StepSpec
from mmrlhf_jobs.steps.step import Step

__all__ = ["parse_arguments"]

S = TypeVar("S", bound=StepSpec)


def parse_arguments(step: Step[S], arguments: Sequence[str]) -> S:
    """Read the command line of a step; ends the process with exit code 2 on a wrong flag or value.

    Raises:
        JobFileError: Values do not fit each other; lists every problem by its field.
    """
    parser = _Parser(
        prog=f"python -m mmrlhf_jobs {step.name}",
        description=step.summary,
        argument_default=argparse.SUPPRESS,
    )
    fields = {name: field for name, field in step.spec.model_fields.items() if name != "step"}
    groups = {name: inner for name, field in fields.items() if (inner := _group(field))}
    for name, field in fields.items():
        if name not in groups:
            _add(parser, _Argument((name,), field, step.spec.description(name)))
    for name, inner in groups.items():
        group = parser.add_argument_group(_wire(name), step.spec.description(name))
        for own, field in inner.model_fields.items():
            _add(group, _Argument((name, own), field, inner.description(own)))
    data: dict[str, Any] = {"step": step.name}
    for path, value in vars(parser.parse_args(list(arguments))).items():
        *owner, name = path.split(".")
        place = data.setdefault(owner[0], {}) if owner else data
        place[name] = value
    return parse_object(step.spec, Document(data, {}), source=parser.prog)


class _Parser(argparse.ArgumentParser):
    """Says also in the termination file what is wrong, for those who do not see the terminal."""

    def error(self, message: str) -> NoReturn:
        ending = Ending.INVALID_INPUT
        write_termination(
            exit_code=ending.exit_code, reason=ending, message=f"{self.prog}: {message}"
        )
        super().error(message)


@dataclass(frozen=True)
class _Argument:
    """A field as an argument.

    Attributes:
        path: Names of the field and of the group that it is in.
        field: What pydantic knows of it.
        description: What is said of it.
    """

    path: tuple[str, ...]
    field: FieldInfo
    description: str | None

    @property
    def destination(self) -> str:
        return ".".join(map(_wire, self.path))

    @property
    def flag(self) -> str:
        named = (one.name for one in self.field.metadata if isinstance(one, Flag))
        return next(named, f"--{self.path[-1].replace('_', '-')}")

    @property
    def is_positional(self) -> bool:
        return any(isinstance(one, Positional) for one in self.field.metadata)

    @property
    def help(self) -> str:
        text = " ".join((self.description or "").split()).replace("%", "%%")
        default = self.field.get_default(call_default_factory=True)
        said = self.field.is_required() or default is None or default is False or default == ()
        return text if said else f"{text} (default: {default})"


def _add(parser: argparse._ActionsContainer, argument: _Argument) -> None:
    kind = _without_none(argument.field.annotation)
    settings: dict[str, Any] = {"help": argument.help}
    if kind is bool:
        settings["action"] = "store_true"
    elif get_origin(kind) is Literal:
        settings["choices"] = get_args(kind)
    else:
        settings["metavar"] = argument.path[-1].upper()
        if get_origin(kind) is tuple:
            settings |= {"action": "append", "type": _reader(get_args(kind)[0], [])}
        else:
            settings["type"] = _reader(argument.field.annotation, argument.field.metadata)
    if argument.is_positional:
        parser.add_argument(argument.destination, **settings)
        return
    parser.add_argument(
        argument.flag,
        dest=argument.destination,
        required=argument.field.is_required(),
        **settings,
    )


def _reader(annotation: Any, metadata: Sequence[object]) -> Callable[[str], object]:  # noqa: ANN401
    """Reads one value as its field would, so that argparse can name the flag when it is wrong."""
    adapter: TypeAdapter[Any] = TypeAdapter(
        Annotated[(annotation, *metadata)] if metadata else annotation
    )

    def read(text: str) -> object:
        try:
            return adapter.validate_strings(text)
        except ValidationError as error:
            reason = error.errors()[0]["msg"].removeprefix("Value error, ")
            raise argparse.ArgumentTypeError(f"{reason} (given: {text})") from None

    return read


def _group(field: FieldInfo) -> type[ApiModel] | None:
    """The type of a field that is a group of fields, or None."""
    kind = field.annotation
    return kind if isinstance(kind, type) and issubclass(kind, ApiModel) else None


def _without_none(annotation: Any) -> Any:  # noqa: ANN401 - types are values here
    """The type of an optional field."""
    if get_origin(annotation) in (Union, types.UnionType):
        (kind,) = (one for one in get_args(annotation) if one is not type(None))
        annotation = kind
    return get_args(annotation)[0] if get_origin(annotation) is Annotated else annotation


def _wire(name: str) -> str:
    return to_camel(name)
