"""Union of pair rows to records: rows of the same id, question and media are one group."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal, TypeAlias

from mmrlhf_api.listing import first_few
from mmrlhf_jobs.data.identity import digest_of
from mmrlhf_jobs.data.importers.judged_rows import PairRow, RankedText
from mmrlhf_jobs.data.importers.partial_orders import ContradictionError, rebuild_ranks
from mmrlhf_jobs.data.importers.records_of_rows import LONG_ANSWER, count_record, make_record
from mmrlhf_jobs.data.importers.report import ImportReport
from mmrlhf_jobs.data.pairs import Pair, form_pairs
from mmrlhf_jobs.data.records import RankedResponse
from mmrlhf_jobs.data.row_faults import FaultReason, RowFault, RowFaults

__all__ = [
    "LONG_ANSWER",
    "ImportReport",
    "Incomplete",
    "PairGroups",
    "PairRow",
    "refuse_repeated",
]


Incomplete: TypeAlias = Literal["fail", "infer", "exact"]
"""What to do when the pairs of a group do not determine its ranks: refuse its rows, complete the
ranks and count the pairs that this adds, or keep exactly the given pairs, as a record each."""

MOST_RESPONSES = 16

_SHOWN: Final = 8


@dataclass
class _Group:
    first: PairRow
    rows: int = 0
    texts: dict[str, int] = field(default_factory=dict)
    reasons: dict[int, str] = field(default_factory=dict)
    pairs: dict[Pair, tuple[str, int]] = field(default_factory=dict)
    """File and row that gave each pair first."""
    ties: set[Pair] = field(default_factory=set)
    tied_rows: int = 0


class PairGroups:
    """Groups of pair rows.

    All texts are held in memory: rows of a group may lie anywhere.

    Args:
        report: Filled in.
        incomplete: What to do when the pairs of a group do not determine its ranks.
    """

    def __init__(self, report: ImportReport, incomplete: Incomplete = "fail") -> None:
        self._report = report
        self._incomplete = incomplete
        self._groups: dict[object, _Group] = {}

    def add(self, row: PairRow) -> None:
        """Add a row to its group.

        Raises:
            RowFault: Its texts are the same.
        """
        texts = [row.chosen.strip(), row.rejected.strip()]
        if texts[0] == texts[1]:
            raise RowFault(
                "chosen and rejected are the same text",
                kind="same-texts",
                file=row.file,
                row=row.row,
            )
        asked = row.prompt
        media = tuple((medium.content_sha256, medium.place) for medium in asked.media)
        key = (row.source_id, asked.text, asked.system, asked.turns, media)
        group = self._groups.setdefault(key, _Group(row))
        group.rows += 1
        places = [group.texts.setdefault(text, len(group.texts)) for text in texts]
        for place, reason in zip(places, row.reasons, strict=True):
            if reason and reason.strip() and group.reasons.setdefault(place, reason) != reason:
                self._report.differing_reasons += 1
        pair = Pair(*places)
        if row.tie:
            self._report.tied_rows += 1
            group.ties.add(pair)
            group.tied_rows += 1
        elif group.pairs.setdefault(pair, (row.file, row.row)) != (row.file, row.row):
            self._report.repeated_pairs += 1

    def records(
        self, faults: RowFaults, names: dict[str, tuple[str, int]] | None = None
    ) -> Iterator[RankedResponse]:
        """Records of the groups, in the order of their first rows.

        Args:
            faults: Rows of groups that make none are added: their pairs contradict each other or
                leave their ranks open, or they have more than 16 responses, or their questions
                differ from that of an earlier group in nothing that counts.
            names: Ids of the records so far, with the file and the row of each.
        """
        names = {} if names is None else names
        named = Counter(group.first.source_id for group in self._groups.values())
        self._report.ids_of_several_queries = sum(
            number > 1 for name, number in named.items() if name is not None
        )
        for group in self._groups.values():
            try:
                found, unused = self._records(group)
                for record in found:
                    refuse_repeated(names, record.record_id, group.first.file, group.first.row)
            except RowFault as error:
                faults.add(error, rows=group.rows)
                continue
            self._report.used += group.rows - unused
            self._report.unused_ties += unused
            for record in found:
                count_record(record, self._report)
            yield from found

    def _records(self, group: _Group) -> tuple[list[RankedResponse], int]:
        """Its records, and how many of its rows are ties that no record can hold."""
        n, report = len(group.texts), self._report
        if n > MOST_RESPONSES and self._incomplete == "exact":
            _refuse_opposites(group)
            return _apart(group), group.tied_rows
        if n > MOST_RESPONSES:
            raise _fault(
                group, f"its group has {n} responses; a record may have 16", "too-many-responses"
            )
        try:
            ranks, inferred = rebuild_ranks(n, group.pairs.keys(), group.ties)
        except ContradictionError as error:
            lines = _rows(group, sorted(error.pairs))
            raise _fault(
                group, f"the pairs of rows {lines} contradict each other", "contradiction"
            ) from error
        formed = form_pairs(ranks)
        if self._incomplete == "exact" and set(formed) != set(group.pairs):
            return _apart(group), group.tied_rows
        if inferred and self._incomplete == "fail":
            raise _fault(
                group,
                f"its group gives {len(group.pairs)} pairs of {n} responses, which leave"
                f" {len(inferred)} pairs of their ranks open; choose incomplete=infer to rank those"
                " responses by the number of better ones, or exact to keep only the given pairs",
                "open-ranks",
            )
        record = make_record(group.first, _texts(group, range(n)), list(ranks))
        report.inferred_pairs += len(inferred)
        report.implied_pairs += len(formed) - len(inferred) - len(group.pairs)
        return [record], 0


def _apart(group: _Group) -> list[RankedResponse]:
    """One record a pair."""
    texts = list(group.texts)
    return [
        make_record(
            group.first,
            _texts(group, pair),
            [1, 2],
            part=digest_of("pair", *(texts[place] for place in pair)).hex()[:8],
        )
        for pair in group.pairs
    ]


def _texts(group: _Group, places: range | Pair) -> list[RankedText]:
    texts = list(group.texts)
    return [
        RankedText(texts[place], rank, comment=group.reasons.get(place))
        for rank, place in enumerate(places)
    ]


def _refuse_opposites(group: _Group) -> None:
    for pair in group.pairs:
        opposite = Pair(pair.rejected, pair.chosen)
        if opposite in group.pairs:
            rows = _rows(group, sorted((pair, opposite), key=group.pairs.__getitem__))
            raise _fault(group, f"the pairs of rows {rows} contradict each other", "contradiction")


def _rows(group: _Group, pairs: Sequence[Pair]) -> str:
    """Rows that gave some pairs; those of other files with their names."""
    places = [group.pairs[pair] for pair in pairs]
    told = [
        str(row) if file == group.first.file else f"{row} of {file.rpartition('/')[2]}"
        for file, row in places
    ]
    return ", ".join(first_few(told, shown=_SHOWN))


def _fault(group: _Group, message: str, kind: FaultReason) -> RowFault:
    return RowFault(message, kind=kind, file=group.first.file, row=group.first.row)


def refuse_repeated(names: dict[str, tuple[str, int]], record_id: str, file: str, row: int) -> None:
    """Note the id of a record.

    Args:
        names: Ids so far, with the file and the row of each.
        record_id: The id.
        file: Where it comes from.
        row: The same.

    Raises:
        RowFault: Another row has it.
    """
    first = names.setdefault(record_id, (file, row))
    if first != (file, row):
        other = f"row {first[1]}" + ("" if first[0] == file else f" of {first[0]}")
        raise RowFault(
            f"same id, query and image as {other}",
            kind="repeated-id",
            file=file,
            row=row,
            field="id",
        )
