"""Commands that judge a candidate, and move the aliases of a store."""

from __future__ import annotations

from typing import Annotated

import typer

from mmrlhfctl.commands.formats import EndpointOption, RegionOption

__all__ = ["alias", "gate", "promote", "rollback"]

StoreArgument = Annotated[
    str,
    typer.Argument(
        metavar="STORE",
        help="Folder of artifacts: a path, file:// or s3://.",
        show_default=False,
    ),
]
NameArgument = Annotated[
    str, typer.Argument(metavar="NAME", help="Name of the alias, such as default/vqa.")
]
ReasonOption = Annotated[str, typer.Option("--reason", help="Why, for those who look later.")]


def gate(
    rules: Annotated[
        str, typer.Argument(metavar="RULES", help="What the candidate must show: a YAML file.")
    ],
    out: Annotated[str, typer.Argument(metavar="OUT", help="File to write: *.json.")],
    *,
    candidate: Annotated[
        list[str] | None,
        typer.Option("--candidate", help="Results of the candidate; repeatable."),
    ] = None,
    champion: Annotated[
        list[str] | None, typer.Option("--champion", help="Results of the champion; repeatable.")
    ] = None,
    verdicts: Annotated[
        str | None, typer.Option("--verdicts", help="What a judge of pairs said of both.")
    ] = None,
    bench: Annotated[
        str | None, typer.Option("--bench", help="Records to compare two reward models by.")
    ] = None,
    candidate_scores: Annotated[
        str | None, typer.Option("--candidate-scores", help="The candidate's scores of them.")
    ] = None,
    champion_scores: Annotated[
        str | None, typer.Option("--champion-scores", help="The champion's scores of them.")
    ] = None,
    store: Annotated[
        str | None, typer.Option("--store", help="Folder of artifacts that holds the alias.")
    ] = None,
    alias: Annotated[
        str | None, typer.Option("--alias", help="Alias to move if the candidate is promoted.")
    ] = None,
    artifact: Annotated[
        str | None, typer.Option("--artifact", help="The candidate, for the alias to stand for.")
    ] = None,
    endpoint: EndpointOption = None,
    region: RegionOption = None,
) -> None:
    """Judge whether a candidate may replace the champion.

    Prints every check as a table, writes the report, and moves the alias if the candidate is
    promoted. A rejection is an answer, with exit code 0: the report's field outcome is Promoted,
    Rejected or CannotJudge. docs/gate.md has the files.
    """
    arguments = [rules, out, *(f"--candidate={one}" for one in candidate or [])]
    arguments += [f"--champion={one}" for one in champion or []]
    options = {
        "verdicts": verdicts,
        "bench": bench,
        "candidate-scores": candidate_scores,
        "champion-scores": champion_scores,
        "store": store,
        "alias": alias,
        "artifact": artifact,
    }
    _run("gate", arguments, {**options, "endpoint": endpoint, "region": region})


def promote(
    store: StoreArgument,
    name: NameArgument,
    artifact: Annotated[
        str, typer.Argument(metavar="ARTIFACT", help="A finished artifact: the folder of a model.")
    ],
    *,
    reason: ReasonOption = "",
    endpoint: EndpointOption = None,
    region: RegionOption = None,
) -> None:
    """Let an alias stand for an artifact, by hand.

    For the first model, which no gate can compare with anything, or against a gate's answer.
    """
    options = {"artifact": artifact, "reason": reason, "endpoint": endpoint, "region": region}
    _run("alias", ["promote", store, name], options)


def rollback(
    store: StoreArgument,
    name: NameArgument,
    *,
    reason: ReasonOption = "",
    endpoint: EndpointOption = None,
    region: RegionOption = None,
) -> None:
    """Let an alias stand for what it stood for before.

    Once more goes to what was before that. Nothing is forgotten: history shows both.
    """
    options = {"reason": reason, "endpoint": endpoint, "region": region}
    _run("alias", ["rollback", store, name], options)


def alias(
    store: StoreArgument,
    name: NameArgument,
    *,
    endpoint: EndpointOption = None,
    region: RegionOption = None,
) -> None:
    """Show what an alias stands for, and its history."""
    _run("alias", ["show", store, name], {"endpoint": endpoint, "region": region})


def _run(step: str, arguments: list[str], options: dict[str, str | None]) -> None:
    from mmrlhfctl.local.steps import run_step

    given = [f"--{name}={value}" for name, value in options.items() if value is not None]
    raise typer.Exit(run_step(step, [*arguments, *given]))
