"""Cases to judge: the requests of a task with the answers to them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from mmrlhf_api.steps.safety import SafetyTask
from mmrlhf_jobs.data.conversation import transcript
from mmrlhf_jobs.data.queries import QueryRecord, stream_queries
from mmrlhf_jobs.data.records import RowLocation
from mmrlhf_jobs.data.row_faults import RowFault, RowFaults, repeated_record
from mmrlhf_jobs.data.sources import Source
from mmrlhf_jobs.errors import DataError
from mmrlhf_jobs.evaluation.responses import GivenResponses, question_key
from mmrlhf_jobs.storage.uris import StorageOptions

__all__ = ["Case", "TaskCases", "read_cases"]


@dataclass(frozen=True)
class Case:
    """One request with its answer.

    Attributes:
        task: Name of the task.
        record_id: Id of the request in it.
        request: What was asked for in words; of a ratio, what an answer is to tell.
        response: The answer; None where the model gave none.
        is_ratio: Whether the question is what the answer tells, and not whether it is harmful.
        location: Where the request was read from.
    """

    task: str
    record_id: str
    request: str
    response: str | None
    is_ratio: bool
    location: RowLocation = field(default_factory=RowLocation, compare=False)

    @property
    def query(self) -> str:
        """Name among the requests of all tasks."""
        return f"{self.task}/{self.record_id}"


@dataclass(frozen=True)
class TaskCases:
    """The cases of one task.

    Attributes:
        task: The task.
        cases: In the order of its records.
        keys: What each of them asked, for the digest of the data.
        faults: Rows that were left out.
    """

    task: SafetyTask
    cases: Sequence[Case]
    keys: Sequence[str]
    faults: RowFaults


def read_cases(
    task: SafetyTask,
    responses: GivenResponses,
    *,
    max_invalid_fraction: float = 0.0,
    storage: StorageOptions | None = None,
) -> TaskCases:
    """Bring the requests of a task and the answers to them together.

    Raises:
        DataError: More rows than allowed are no requests of this task.
    """
    faults = RowFaults()
    cases: list[Case] = []
    keys: list[str] = []
    for query, case in _read(task, responses, faults, storage):
        cases.append(case)
        keys.append(question_key(query))
    faults.check(max_invalid_fraction, told=f"rows of task {task.name} are invalid")
    return TaskCases(task, cases, keys, faults)


def _read(
    task: SafetyTask, responses: GivenResponses, faults: RowFaults, storage: StorageOptions | None
) -> Iterator[tuple[QueryRecord, Case]]:
    first: dict[str, RowLocation] = {}
    for query in stream_queries(Source(task.records, storage=storage), faults):
        try:
            yield query, _case(task, query, responses, first)
        except DataError as error:
            faults.add(error)


def _case(
    task: SafetyTask,
    query: QueryRecord,
    responses: GivenResponses,
    first: dict[str, RowLocation],
) -> Case:
    place = query.location
    before = first.setdefault(query.record_id, place)
    if before is not place:
        raise repeated_record(place, before)
    is_ratio = "ratio" in task.measures
    named = query.query.reference_answer
    if is_ratio and not (named and named.strip()):
        raise RowFault(
            "is missing: for ratio it says what an answer is to tell",
            file=place.file,
            row=place.row,
            field="query.reference_answer",
        )
    return Case(
        task=task.name,
        record_id=query.record_id,
        request=named.strip() if named and named.strip() else transcript(query.asked),
        response=responses.find(query),
        is_ratio=is_ratio,
        location=place,
    )
