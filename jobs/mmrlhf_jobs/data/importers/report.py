"""What became of the rows of an import."""

from __future__ import annotations

from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from dataclasses import asdict, dataclass, field
from typing import Any

__all__ = ["ImportReport"]


@dataclass
class ImportReport:
    """What became of the rows.

    Attributes:
        media_root: Set ``mediaRoot`` of the job to this: media URIs are relative to it.
        rows: Rows read: those used, those left out and unused ties.
        used: Rows that are in a record or query; some may be in one record, or one in several.
        records: Records written.
        responses: Responses in them.
        pairs: Pairs that the ranks of the records form.
        repeated_pairs: Rows that said what an earlier row of their group had said.
        implied_pairs: Pairs among them that were not given but follow from two that were.
        inferred_pairs: Pairs among them that neither were given nor follow.
        differing_reasons: Responses with several reasons, of which the first was kept.
        ignored_fields: Fields that have no place in a record, with their number of rows.
        guessed_categories: Rows by category whose category is a guess; see the importer.
        ids_of_several_queries: Ids that several prompts or media share.
        left_out: Rows that cannot be imported, by reason.
        tied_rows: Rows that say that two responses are equal; they form no pair.
        unused_ties: Rows among them that are in no record, since each has one given pair.
        unrated_responses: Responses without a rating, left out of their ranking.
        records_without_pairs: Records whose responses are all equal; training leaves them out.
        decoded_videos: Video files whose frames were written.
        written_media: Files of media that were written: what rows brought, frames, and copies.
        written_bytes: Bytes of them.
        rankings_against_scores: Records in which a response is ranked before one that has better
            scores in everything; many of them mean that the ranks were read the wrong way round.
    """

    media_root: str
    rows: int = 0
    used: int = 0
    records: int = 0
    responses: int = 0
    pairs: int = 0
    repeated_pairs: int = 0
    implied_pairs: int = 0
    inferred_pairs: int = 0
    differing_reasons: int = 0
    ignored_fields: dict[str, int] = field(default_factory=dict)
    guessed_categories: dict[str, int] = field(default_factory=dict)
    ids_of_several_queries: int = 0
    left_out: dict[str, int] = field(default_factory=dict)
    tied_rows: int = 0
    unused_ties: int = 0
    unrated_responses: int = 0
    records_without_pairs: int = 0
    decoded_videos: int = 0
    written_media: int = 0
    written_bytes: int = 0
    rankings_against_scores: int = 0

    def ignore(self, name: str) -> None:
        """Count a field of a row that has no place in a record."""
        self.ignored_fields[name] = self.ignored_fields.get(name, 0) + 1

    def ignore_others(self, fields: Mapping[str, object], used: AbstractSet[str]) -> None:
        """Count the fields of a row that its importer does not use."""
        for name in fields.keys() - used:
            self.ignore(name)

    def guess(self, category: str) -> None:
        """Count a row whose category is a guess."""
        self.guessed_categories[category] = self.guessed_categories.get(category, 0) + 1

    def to_dict(self) -> dict[str, Any]:
        """The report as plain values."""
        return asdict(self)
