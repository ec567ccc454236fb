"""``diff`` and ``clone``."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

from mmrlhf.client.connection import Connection
from mmrlhfctl.errors import CliError
from mmrlhfctl.exits import ExitCode
from mmrlhfctl.terminal import out
from mmrlhfctl.text.clones import clone
from mmrlhfctl.text.output import json_text, yaml_text
from mmrlhfctl.verbs.subjects import read_subject

__all__ = ["clone_job", "show_difference"]


def show_difference(
    connection: Connection,
    words: Sequence[str],
    *,
    as_json: bool,
    endpoint: str | None,
    region: str | None,
) -> None:
    """Print what differs between two jobs, runs or records.

    Raises:
        MmrlhfError: One is not there.
        CliError: They are not two, or of different kinds.
    """
    if len(words) != 2:
        raise CliError("name two runs", code=ExitCode.USAGE)
    from mmrlhfctl.text.sides import difference_lines, differences, side_of

    sides = []
    for word in words:
        found = read_subject(connection, word, endpoint=endpoint, region=region, with_record=True)
        sides.append(side_of(found.name, found.body, found.record))
    one, other = sides
    if one.kind != other.kind:
        raise CliError(
            f"{one.name} is of kind {one.kind}, {other.name} of kind {other.kind}: name two of one"
            " kind",
            code=ExitCode.USAGE,
        )
    if as_json:
        out(json_text(differences(one, other)))
    else:
        out("\n".join(difference_lines(one, other)))


def clone_job(
    connection: Connection,
    word: str,
    *,
    name: str | None,
    assignments: Sequence[str],
    submit: bool,
    endpoint: str | None,
    region: str | None,
) -> None:
    """Print a job file of the spec of another job, or submit it.

    Raises:
        MmrlhfError: There is no such job, or the cluster refuses the new one.
        CliError: A change does not fit.
    """
    found = read_subject(connection, word, endpoint=endpoint, region=region, with_record=False)
    try:
        text = yaml_text(clone(found.body, name=name, assignments=assignments))
    except ValueError as error:
        raise CliError(str(error), code=ExitCode.USAGE) from error
    if not submit:
        out(text)
        return
    from mmrlhfctl.verbs.submit import SubmitOptions, submit_file

    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "clone.yaml"
        file.write_text(text, encoding="utf-8")
        submit_file(connection, str(file), SubmitOptions())
