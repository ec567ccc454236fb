"""Options that several commands share."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from enum import StrEnum
from typing import Annotated, Any

import typer

from mmrlhf.client.choice import Choice
from mmrlhf.client.connection import Connection
from mmrlhfctl.durations import parse_span
from mmrlhfctl.terminal import choose_colours

__all__ = [
    "AnswerFormat",
    "AnswerOption",
    "AsOption",
    "ColourOption",
    "ContextOption",
    "FileOption",
    "Format",
    "JobArgument",
    "JobsArgument",
    "KubeconfigOption",
    "NamespaceOption",
    "ObjectOption",
    "OutputOption",
    "PathArgument",
    "RequestTimeoutOption",
    "SelectorOption",
    "ServerOption",
    "SetOption",
    "SortOption",
    "TimeoutOption",
    "TokenOption",
    "one_file",
    "span",
    "with_connection",
    "words_for_jobs",
]


class Format(StrEnum):
    """Forms of a result."""

    TEXT = "text"
    JSON = "json"


class AnswerFormat(StrEnum):
    """Forms of an answer."""

    TEXT = "text"
    JSON = "json"
    YAML = "yaml"


class Colour(StrEnum):
    """When to use colours."""

    AUTO = "auto"
    ALWAYS = "always"
    NEVER = "never"


_OBJECT_FORMS = ("text", "wide", "json", "yaml", "name")


def span(text: str) -> float:
    """Return the seconds of a duration; for typer, which reports what is wrong."""
    try:
        return parse_span(text)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error


def object_form(text: str) -> str:
    """Return the form of objects; for typer, which reports what is wrong."""
    if text.startswith("jsonpath="):
        from mmrlhfctl.text.jsonpath import JsonPathError, parse_template

        try:
            parse_template(text.removeprefix("jsonpath="))
        except JsonPathError as error:
            raise typer.BadParameter(str(error)) from error
    elif text not in _OBJECT_FORMS:
        raise typer.BadParameter(
            f"{text!r} is not one of {', '.join(_OBJECT_FORMS)} and jsonpath=TEMPLATE"
        )
    return text


def forms_of_objects(incomplete: str) -> list[str]:
    """Return the forms that a shell offers; for typer."""
    return [form for form in (*_OBJECT_FORMS, "jsonpath=") if form.startswith(incomplete)]


def field_path(text: str) -> str:
    """Return a path of fields; for typer, which reports what is wrong."""
    from mmrlhfctl.text.jsonpath import JsonPathError, parse_path

    try:
        parse_path(text)
    except JsonPathError as error:
        raise typer.BadParameter(str(error)) from error
    return text


def one_file(path: str | None, file: str | None) -> str:
    """Return the job file of a command, which names it once.

    Raises:
        BadParameter: It names none, or two.
    """
    if (path is None) == (file is None):
        raise typer.BadParameter("name one job file, as FILE or by -f")
    return path or file or ""


def _chosen(*, jobs: list[str] | None, everything: bool, selector: str | None) -> Choice:
    choice = Choice(words=jobs or (), everything=everything, selector=selector)
    if choice.named and not choice.words:
        raise typer.BadParameter("name a job, or give --all or --selector")
    return choice


def colour(value: Colour | None) -> None:
    """Take in the option; for typer, which calls it as soon as it is read."""
    if value is not None:
        choose_colours(value.value)


def words_for_jobs(context: typer.Context, incomplete: str) -> list[str]:
    """Return the words that a shell offers for a job; for typer."""
    from mmrlhfctl.verbs.suggestions import suggest_jobs

    before, here = (
        Connection(**{name: given.params.get(name) for name in _CONNECTION})
        for given in (context.find_root(), context)
    )
    return suggest_jobs(here.over(before), incomplete)


PathArgument = Annotated[
    str | None,
    typer.Argument(metavar="FILE", help="Job file in YAML or JSON; - reads standard input."),
]
FileOption = Annotated[
    str | None, typer.Option("--file", "-f", metavar="FILE", help="The same, as kubectl has it.")
]
SetOption = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="FIELD=VALUE",
        help="Change a field of the file, such as spec.training.epochs=2; repeatable.",
    ),
]
OutputOption = Annotated[Format, typer.Option("--output", "-o", help="Form of the result.")]
AnswerOption = Annotated[AnswerFormat, typer.Option("--output", "-o", help="Form of the answer.")]
JobArgument = Annotated[
    list[str],
    typer.Argument(
        metavar="JOB", help="NAME, KIND NAME or KIND/NAME.", autocompletion=words_for_jobs
    ),
]
JobsArgument = Annotated[
    list[str],
    typer.Argument(
        metavar="JOB",
        help="NAME, KIND NAME or KIND/NAME, one or more.",
        autocompletion=words_for_jobs,
    ),
]
_SomeJobsArgument = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="JOB",
        help="NAME, KIND NAME or KIND/NAME, one or more; with --all or -l kinds, or nothing.",
        autocompletion=words_for_jobs,
    ),
]
_AllOption = Annotated[
    bool, typer.Option("--all", help="All jobs of the namespace, or of the kinds that are named.")
]
SelectorOption = Annotated[
    str | None,
    typer.Option(
        "--selector", "-l", metavar="LABELS", help="Labels to select by, such as team=vision."
    ),
]
ObjectOption = Annotated[
    str,
    typer.Option(
        "--output",
        "-o",
        metavar="FORM",
        parser=object_form,
        autocompletion=forms_of_objects,
        help="text, wide, json, yaml, name or jsonpath=TEMPLATE.",
    ),
]
SortOption = Annotated[
    str | None,
    typer.Option(
        "--sort-by",
        metavar="FIELD",
        parser=field_path,
        help="Field to sort by, such as .metadata.creationTimestamp.",
    ),
]
TimeoutOption = Annotated[
    float | None,
    typer.Option(
        "--timeout", metavar="DURATION", parser=span, help="Give up after this time, such as 10m."
    ),
]

NamespaceOption = Annotated[
    str | None, typer.Option("--namespace", "-n", metavar="NAME", help="Namespace of the jobs.")
]
ContextOption = Annotated[
    str | None, typer.Option("--context", metavar="NAME", help="Context of the kubeconfig.")
]
KubeconfigOption = Annotated[
    str | None, typer.Option("--kubeconfig", metavar="PATH", help="Path of the kubeconfig.")
]
RequestTimeoutOption = Annotated[
    float | None,
    typer.Option(
        "--request-timeout",
        metavar="DURATION",
        parser=span,
        help="Longest time for one request, such as 30s; 0 waits for ever.",
    ),
]
ServerOption = Annotated[
    str | None, typer.Option("--server", metavar="URL", help="Address of the API server.")
]
TokenOption = Annotated[
    str | None, typer.Option("--token", metavar="TOKEN", help="Bearer token to authenticate by.")
]
AsOption = Annotated[str | None, typer.Option("--as", metavar="USER", help="User to act as.")]
ColourOption = Annotated[
    Colour | None,
    typer.Option(
        "--color", callback=colour, help="Colours; auto is for terminals, without NO_COLOR."
    ),
]
_CONNECTION: dict[str, Any] = {
    "namespace": NamespaceOption,
    "context": ContextOption,
    "kubeconfig": KubeconfigOption,
    "request_timeout": RequestTimeoutOption,
    "server": ServerOption,
    "token": TokenOption,
    "as_user": AsOption,
}
_CHOICE: dict[str, tuple[Any, Any]] = {
    "jobs": (_SomeJobsArgument, None),
    "everything": (_AllOption, False),
    "selector": (SelectorOption, None),
}
"""Options, with what they are by default."""


def with_connection(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options that say which cluster is meant, and maybe which jobs.

    Its parameter ``connection`` gets the former as one value. They may also stand before the
    command's name; those after it win. A parameter ``choice`` gets the jobs.
    """
    own = inspect.signature(command, eval_str=True).parameters
    choice = _CHOICE if "choice" in own else {}
    parameters = [_keyword(name, *option) for name, option in choice.items()]
    parameters += [one for name, one in own.items() if name not in {"connection", "choice"}]
    shared = _CONNECTION | {"color": ColourOption}
    parameters += [_keyword(name, option, None) for name, option in shared.items()]
    parameters.append(_keyword("click_context", typer.Context, inspect.Parameter.empty))

    def wrapper(*, click_context: typer.Context, **given: Any) -> None:  # noqa: ANN401 - checked
        del given["color"]  # its callback did it
        connection = Connection(**{name: given.pop(name) for name in _CONNECTION})
        before = click_context.find_root().obj or Connection()
        if choice:
            given["choice"] = _chosen(**{name: given.pop(name) for name in choice})
        command(connection=connection.over(before), **given)

    wrapper.__name__ = command.__name__
    wrapper.__doc__ = command.__doc__
    # typer reads both.
    wrapper.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    wrapper.__annotations__ = {one.name: one.annotation for one in parameters}
    return wrapper


def _keyword(name: str, annotation: Any, default: Any) -> inspect.Parameter:  # noqa: ANN401
    kind = inspect.Parameter.KEYWORD_ONLY
    return inspect.Parameter(name, kind, default=default, annotation=annotation)
