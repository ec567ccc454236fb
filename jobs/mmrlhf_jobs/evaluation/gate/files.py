"""The files that a gate reads: rules, results of a model, verdicts of a judge of pairs.

Rules are YAML or JSON. Results and verdicts are JSON, and name the data they were measured on by a
digest, any text that is the same for the same data::

    {"version": "GateResults/v1", "data": "sha256...", "artifact": "sha256...",
     "rows": [{"query": "q1", "figures": {"reward": 0.3, "length": 212}},
              {"query": "s1", "answer": "refused"}]}

    {"version": "GateVerdicts/v1", "candidate": "sha256...", "champion": "sha256...",
     "verdicts": [{"query": "q1", "first": "candidate", "winner": "champion"}, ...]}
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal, TypeVar

import yaml
from annotated_types import MinLen
from pydantic import AllowInfNan, BaseModel, Field, Strict, ValidationError

from mmrlhf_api.base import ApiModel
from mmrlhf_api.scalars import Text, Word
from mmrlhf_api.steps.gate_rules import GateRules
from mmrlhf_jobs.data.parsing import explain
from mmrlhf_jobs.errors import InputError, SpecError
from mmrlhf_jobs.evaluation.gate.evidence import Column, Model, RowKey, Verdicts
from mmrlhf_jobs.evaluation.gate.judging import Said
from mmrlhf_jobs.evaluation.gate.safety import Answer
from mmrlhf_jobs.storage.uris import StorageOptions, locate, storage_errors

__all__ = ["GateInput", "merge_models", "read_input", "read_results", "read_rules", "read_verdicts"]

M = TypeVar("M", bound=BaseModel)


class _Row(ApiModel):
    """What was measured in one row of a query."""

    query: Word
    row: Text = ""
    figures: dict[Word, Annotated[float, AllowInfNan(True)] | bool | None] = Field(
        default_factory=dict
    )
    answer: Annotated[Answer, Strict(strict=False)] | None = None


class _Results(ApiModel):
    """What was measured of one model on one data set."""

    version: Literal["GateResults/v1"]
    data: Word
    artifact: Word | None = None
    rows: Annotated[tuple[_Row, ...], Strict(strict=False), MinLen(1)]


class _Verdict(ApiModel):
    """What a judge said of one query."""

    query: Word
    first: Literal["candidate", "champion"] | None = None
    winner: Annotated[Said, Strict(strict=False)]


class _VerdictFile(ApiModel):
    """What a judge of pairs said."""

    version: Literal["GateVerdicts/v1"]
    candidate: Word | None = None
    champion: Word | None = None
    verdicts: Annotated[tuple[_Verdict, ...], Strict(strict=False)]


@dataclass(frozen=True)
class GateInput:
    """A file that was read.

    Attributes:
        uri: Where it is.
        content: Its bytes.
    """

    uri: str
    content: bytes

    @property
    def sha256(self) -> str:
        """Digest of its bytes."""
        return hashlib.sha256(self.content).hexdigest()


def read_input(uri: str, storage: StorageOptions | None = None) -> GateInput:
    """Read a file.

    Raises:
        InputError: There is none, or it may not be read.
    """
    place = locate(uri, storage)
    with storage_errors(uri, "read"):
        if not place.fs.isfile(place.path):
            raise InputError(f"{uri}: there is no such file")
        return GateInput(uri, place.fs.cat_file(place.path))


def read_rules(file: GateInput) -> GateRules:
    """Read rules.

    Raises:
        SpecError: It is no YAML, or a field is wrong.
    """
    try:
        content = yaml.safe_load(file.content)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise SpecError(f"{file.uri}: not valid YAML: {error}") from error
    return _checked(GateRules, content, file.uri, "rules")


def read_results(file: GateInput) -> Model:
    """Read the results of a model.

    Raises:
        InputError: It is no such file, or a row of it comes twice.
    """
    results = _checked(_Results, _json(file), file.uri, "results")
    figures: dict[str, dict[RowKey, float | None]] = {}
    answers: dict[str, Answer] = {}
    for number, row in enumerate(results.rows):
        for name, value in row.figures.items():
            values = figures.setdefault(name, {})
            if (row.query, row.row) in values:
                raise _repeated(file, f"rows[{number}]", row.query)
            values[row.query, row.row] = None if value is None else float(value)
        if row.answer is not None:
            if row.query in answers:
                raise _repeated(file, f"rows[{number}]", row.query)
            answers[row.query] = row.answer
    return Model(
        {name: Column(results.data, values) for name, values in figures.items()},
        answers,
        results.data if answers else "",
        frozenset(filter(None, [results.artifact])),
        int(results.artifact is None),
    )


def read_verdicts(file: GateInput) -> Verdicts:
    """Read what a judge of pairs said.

    Raises:
        InputError: It is no such file, or a query of it comes twice in one place.
    """
    said: dict[str, dict[bool | None, Said]] = {}
    given = _checked(_VerdictFile, _json(file), file.uri, "verdicts")
    for number, verdict in enumerate(given.verdicts):
        place = None if verdict.first is None else verdict.first == "candidate"
        places = said.setdefault(verdict.query, {})
        if place in places:
            raise _repeated(file, f"verdicts[{number}]", verdict.query)
        places[place] = verdict.winner
    return Verdicts(said, given.candidate, given.champion)


def merge_models(models: Sequence[Model], *, whose: str) -> Model:
    """Put together what was measured of one model on several data sets.

    Raises:
        InputError: A figure, or answers to harmful requests, are in two of them.
    """
    figures: dict[str, Column] = {}
    for one in models:
        if twice := sorted(figures.keys() & one.figures.keys()):
            raise InputError(f"two files have results of the {whose} in {twice[0]!r}; name one")
        figures |= one.figures
    asked = [one for one in models if one.answers]
    if len(asked) > 1:
        raise InputError(f"two files have answers of the {whose} to harmful requests; name one")
    answers = asked[0] if asked else Model()
    artifacts = frozenset().union(*(one.artifacts for one in models))
    unnamed = sum(one.unnamed for one in models)
    return Model(figures, answers.answers, answers.safety_data, artifacts, unnamed)


def _json(file: GateInput) -> Any:  # noqa: ANN401 - pydantic looks at it
    try:
        return json.loads(file.content)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{file.uri}: not valid JSON: {error}") from error


def _checked(model: type[M], content: object, uri: str, what: str) -> M:
    try:
        return model.model_validate(content)
    except ValidationError as error:
        field, reason = explain(error)
        raise SpecError(f"{uri}, field {field or what}: {reason}") from error


def _repeated(file: GateInput, field: str, query: str) -> InputError:
    return InputError(f"{file.uri}, field {field}: query {query!r} comes twice; each row has one")
