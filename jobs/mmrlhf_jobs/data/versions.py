"""What came with version 2 of records and queries, and what version 1 must therefore not hold."""

from __future__ import annotations

from collections.abc import Sequence

from mmrlhf_jobs.data.parts import Media, Query, violated

__all__ = ["check_version", "needs_version_2"]


def needs_version_2(domain: str, query: Query, media: Sequence[Media]) -> bool:
    """Whether there is something that version 1 cannot say."""
    return _first(domain, query, media) is not None


def check_version(
    schema: str, first: str, domain: str, query: Query, media: Sequence[Media]
) -> None:
    """Check that a record of version 1 holds nothing that came later.

    Args:
        schema: Schema of the record.
        first: The same of version 1.
        domain: Its domain.
        query: Its query.
        media: Its media.

    Raises:
        PydanticCustomError: It does; for validators.
    """
    if schema == first and (found := _first(domain, query, media)) is not None:
        field, reason = found
        later = f"{first.removesuffix('1')}2"
        raise violated(field, f"{reason}; that came with {later}, so set schema to it")
    if not media and domain not in ("text", "safety"):
        raise violated("media", f"needs at least 1 items where domain is {domain}")


def _first(domain: str, query: Query, media: Sequence[Media]) -> tuple[str, str] | None:
    """Field and reason of what is newer than version 1, if there is something."""
    if domain == "text":
        return "domain", "is text"
    if not media:
        return "media", "needs at least 1 items"
    if query.system is not None:
        return "query.system", "is set"
    if query.turns:
        return "query.turns", "holds turns"
    for position, medium in enumerate(media):
        if medium.place is not None:
            return f"media[{position}].place", "is set"
    return None
