"""Whether a query leaves a model room to answer."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from mmrlhf_jobs.data.media import LoadedMedia
from mmrlhf_jobs.data.queries import QueryRecord
from mmrlhf_jobs.errors import DataError
from mmrlhf_jobs.models.adapter import LoadedModel

__all__ = ["check_room"]


def check_room(
    loaded: LoadedModel, query: QueryRecord, load: Callable[[], Sequence[LoadedMedia]]
) -> None:
    """Refuse a query that leaves no room for an answer; media are opened if they decide.

    Args:
        loaded: Who is to answer.
        query: The query.
        load: Loads its media.

    Raises:
        DataError: It is too long, or holds something that the chat template reserves.
    """
    most, adapter = loaded.max_tokens, loaded.adapter
    if adapter.longest_prompt(query.asked, query.media) < most:
        return
    length = len(adapter.encode(query.asked, load(), []).prompt_ids)
    if length >= most:
        raise DataError(
            f"{length} tokens with media and question, but the policy takes {most} with the"
            " answer, and nothing is cut off: shorten the row or leave it out",
            field="query.text",
            fault="too-long",
        )
