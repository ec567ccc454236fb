"""Tasks: a query whose responses stand in blind slots, and the key that leads back.

The order of the slots is drawn for every record from a seed, so that no model has a place of its
own. The tool is given letters and texts; ids, models and the order are in the key alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, field
from typing import Any, Final, Literal

from pydantic import Field, ValidationError, model_validator

from mmrlhf_jobs.data.conversation import transcript
from mmrlhf_jobs.data.identity import digest_of
from mmrlhf_jobs.data.parsing import explain, fields_of
from mmrlhf_jobs.data.parts import Items, Part, violated
from mmrlhf_jobs.data.queries import QueryRecord
from mmrlhf_jobs.data.responses import Id, Response
from mmrlhf_jobs.data.row_faults import FaultReason, RowFault, RowFaults, repeated_id
from mmrlhf_jobs.data.sources import Source, file_format
from mmrlhf_jobs.data.stream import stream_rows
from mmrlhf_jobs.errors import DataError
from mmrlhf_jobs.storage.files import new_file
from mmrlhf_jobs.storage.uris import StorageOptions

__all__ = ["LETTERS", "ExportReport", "Task", "make_task", "make_tasks", "read_key", "write_key"]

LETTERS: Final = "ABCDEFGHIJKLMN"
"""Names of the slots: two fewer than a record may have responses, since annotators may add two."""

_SCHEMA: Final = "mmrlhf.io/annotation-task/v1"


class Task(Part):
    """A line of the key."""

    schema_id: Literal["mmrlhf.io/annotation-task/v1"] = Field(alias="schema")
    task_id: Id
    slots: Items[str]
    """Id of the response in each slot."""
    self_test: bool = False
    """Whether it only shows that answers arrive as they were given; see ``self_test``."""
    query: QueryRecord

    @property
    def letters(self) -> str:
        """Names of its slots."""
        return LETTERS[: len(self.slots)]

    @property
    def shown(self) -> tuple[Response, ...]:
        """The responses in the order of the slots."""
        by_id = {response.response_id: response for response in self.query.responses}
        return tuple(by_id[name] for name in self.slots)

    @property
    def question(self) -> str:
        """The question with its options, as it is shown."""
        return "\n".join([transcript(self.query.asked), *self.query.query.options])

    @model_validator(mode="after")
    def _slots_are_the_responses(self) -> Task:
        if sorted(self.slots) != sorted(one.response_id for one in self.query.responses):
            raise violated("slots", "must hold the id of every response once")
        return self


@dataclass
class ExportReport:
    """What became of the rows.

    Attributes:
        queries: Queries read.
        rows: Rows read: tasks, those with too few responses, and invalid ones.
        invalid: Rows that are no queries, cannot be ranked or show what cannot be seen, by reason.
        tasks: Tasks written, without the self-tests.
        too_few_responses: Queries left out because there is nothing to compare.
        self_tests: Tasks added that show whether answers arrive as they were given.
        files: Files for the tool.
        key: File that the import needs; keep it from the annotators.
    """

    queries: int = 0
    rows: int = 0
    invalid: dict[str, int] = field(default_factory=dict)
    tasks: int = 0
    too_few_responses: int = 0
    self_tests: int = 0
    files: tuple[str, ...] = ()
    key: str = ""

    def to_dict(self) -> dict[str, Any]:
        """The report as plain values."""
        return asdict(self)


def make_task(query: QueryRecord, *, seed: int, self_test: bool = False) -> Task:
    """A task, whose slots are a function of the seed and the ids of the record alone."""
    names = [response.response_id for response in query.responses]
    slots = sorted(names, key=lambda name: digest_of("slot", seed, query.record_id, name))
    texts = [response.text for response in query.responses]
    return Task(
        schema=_SCHEMA,
        task_id=digest_of("task", seed, query.record_id, texts).hex()[:16],
        slots=tuple(slots),
        self_test=self_test,
        query=query,
    )


def make_tasks(
    read: Callable[[RowFaults], Iterable[QueryRecord]],
    report: ExportReport,
    *,
    seed: int,
    check: Callable[[QueryRecord], None] | None = None,
    most_responses: int = len(LETTERS),
    max_invalid_fraction: float = 0.0,
) -> list[Task]:
    """A task for every query with at least two responses, in their order.

    Args:
        read: Reads the queries, and tells which rows are none.
        report: Filled in.
        seed: Seed of the order of the responses.
        check: Raises DataError on a query that annotators could not see.
        most_responses: Responses that can be ranked together.
        max_invalid_fraction: Share of the rows that may be invalid: no queries, with an id that
            came before, a response that an annotator has constructed, too many responses, or
            refused by the check. They are left out.

    Raises:
        DataError: More are; or no query has two responses.
    """
    faults = RowFaults()
    seen: dict[str, QueryRecord] = {}
    tasks = []
    for query in read(faults):
        report.queries += 1
        try:
            _check_rankable(query, seen.setdefault(query.record_id, query), most_responses)
            if len(query.responses) < 2:
                report.too_few_responses += 1
                continue
            if check is not None:
                check(query)
        except DataError as error:
            faults.add(error, "media")
            continue
        tasks.append(make_task(query, seed=seed))
    report.rows, report.invalid, report.tasks = faults.rows, dict(faults.counts), len(tasks)
    faults.check(max_invalid_fraction)
    if not tasks:
        raise DataError(
            f"none of {report.queries} queries has two responses, so there is nothing"
            " to compare; ask models for responses first (python -m mmrlhf_jobs responses)"
        )
    return tasks


def _check_rankable(query: QueryRecord, first: QueryRecord, most_responses: int) -> None:
    if first is not query:
        raise _fault(
            query,
            "record_id",
            repeated_id(first.location.file, first.location.row),
            "repeated-id",
        )
    for place, response in enumerate(query.responses):
        if response.origin != "model":
            raise _fault(
                query,
                f"responses[{place}].origin",
                f"{response.origin!r} responses come from annotators; remove it to have the"
                " others ranked",
                "constructed",
            )
    if len(query.responses) > most_responses:
        raise _fault(
            query,
            "responses",
            f"has {len(query.responses)} responses; at most {most_responses} can be ranked",
            "too-many-responses",
        )


def write_key(tasks: Iterable[Task], uri: str, *, storage: StorageOptions | None = None) -> None:
    """Write the key as JSON lines.

    Raises:
        DataError: The file is not named ``*.jsonl``.
        StorageError: The disk is full or the store fails.
    """
    if file_format(uri) != "jsonl":
        raise DataError("the key is written as JSON lines; name the file *.jsonl", file=uri)
    with new_file(uri, storage) as path, path.open("wb") as file:
        for task in tasks:
            file.write(task.model_dump_json(by_alias=True, exclude_defaults=True).encode() + b"\n")


def read_key(uri: str, *, storage: StorageOptions | None = None) -> dict[str, Task]:
    """Read a key: tasks by id, all in memory, as many as people can annotate.

    Raises:
        DataError: A line is no task, or comes twice; with its number.
        StorageError: The store does not answer.
    """
    tasks: dict[str, Task] = {}
    for task, row in _read_lines(uri, storage):
        if tasks.setdefault(task.task_id, task) is not task:
            raise DataError(
                f"task {task.task_id!r} is there twice", file=uri, row=row, field="task_id"
            )
    return tasks


def _read_lines(uri: str, storage: StorageOptions | None) -> Iterator[tuple[Task, int]]:
    for raw, file, row in stream_rows(Source(uri, storage=storage)):
        try:
            if not isinstance(raw, bytes):
                raise DataError("is no key, which has JSON lines", file=file)
            yield Task.model_validate(fields_of(raw, file=file, row=row)), row
        except ValidationError as error:
            field, reason = explain(error)
            raise DataError(reason, file=file, row=row, field=field or None) from error


def _fault(query: QueryRecord, field: str, reason: str, kind: FaultReason) -> RowFault:
    return RowFault(
        f"record {query.record_id!r}: {reason}",
        kind=kind,
        file=query.location.file,
        row=query.location.row,
        field=field,
    )
