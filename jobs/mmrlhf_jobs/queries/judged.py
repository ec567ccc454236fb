"""Queries of the reward model: records with critiques, ready for the model and the objective."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from mmrlhf_api.listing import first_few
from mmrlhf_jobs.data.critiques import CritiqueSource, critique_of
from mmrlhf_jobs.data.dataset import RankedDataset
from mmrlhf_jobs.data.media import load_media
from mmrlhf_jobs.data.media_folders import MediaFolders
from mmrlhf_jobs.data.pairs import Pair, PairMode
from mmrlhf_jobs.data.records import RankedResponse
from mmrlhf_jobs.errors import DataError
from mmrlhf_jobs.models.adapter import EncodedGroup
from mmrlhf_jobs.models.critique_template import CritiqueTemplate
from mmrlhf_jobs.process.gang import Runtime
from mmrlhf_jobs.queries.preference import located, record_name, response_names, used_responses
from mmrlhf_jobs.storage.uris import StorageOptions

__all__ = ["JudgedQuery", "JudgedQueryBuilder", "count_critiques"]


@dataclass(frozen=True)
class JudgedQuery:
    """One query with the critiques of the responses that occur in its pairs.

    Attributes:
        name: What messages call it: file, row and record.
        encoded: Token ids and media, R responses with their critiques.
        pairs: Indices (chosen, rejected) into the responses, K pairs.
    """

    name: str
    encoded: EncodedGroup
    pairs: tuple[Pair, ...]

    @property
    def critique_tokens(self) -> int:
        """Tokens in the critique loss."""
        return sum(self.encoded.predicted)


class JudgedQueryBuilder:
    """Builds queries from records.

    Args:
        template: Tokenises queries, responses and critiques.
        media_root: Folder that relative media URIs start from, or all that media may be in.
        mode: Which pairs to form.
        critique: Which critiques to learn.
        storage: How to reach an object store.
    """

    def __init__(
        self,
        template: CritiqueTemplate,
        *,
        media_root: str | MediaFolders,
        mode: PairMode,
        critique: CritiqueSource,
        storage: StorageOptions | None = None,
    ) -> None:
        self._template = template
        self._media_root = media_root
        self._mode = mode
        self._critique = critique
        self._storage = storage

    def build(self, record: RankedResponse) -> JudgedQuery:
        """Load media and tokenise; responses that are in no pair are left out.

        Raises:
            DataError: A media file cannot be read, or a text does not fit the model.
        """
        used, pairs = used_responses(record, self._mode)
        with located(record, used):
            media = load_media(record, self._media_root, storage=self._storage)
            encoded = self._template.encode(record.asked, media, *self._texts(record, used))
        return JudgedQuery(name=record_name(record), encoded=encoded, pairs=pairs)

    def check(self, record: RankedResponse) -> None:
        """Refuse what `build` would refuse; media are opened only if their sizes decide.

        Raises:
            DataError: As `build`.
        """
        used, _ = used_responses(record, self._mode)
        with located(record, used):
            texts = self._texts(record, used)
            if self._template.fits(record.asked, record.media, *texts):
                return
        self.build(record)

    def _texts(
        self, record: RankedResponse, used: Sequence[int]
    ) -> tuple[list[str], list[str | None]]:
        """Responses and their critiques."""
        responses = [record.responses[index] for index in used]
        return (
            [response.text for response in responses],
            [critique_of(response, self._critique) for response in responses],
        )


def count_critiques(
    dataset: RankedDataset,
    *,
    critique: CritiqueSource,
    mode: PairMode,
    missing: Literal["fail", "skip"],
    runtime: Runtime,
) -> dict[str, int]:
    """Look for the critiques of all responses that are learnt from, before the first step.

    Returns:
        Numbers of ``responses`` and of those ``missing`` their critique, over all processes.

    Raises:
        DataError: Some are missing and that is not allowed; names the first rows.
    """
    if critique == "none":
        return {"responses": 0, "missing": 0}
    responses = 0
    absent: list[str] = []
    for record in dataset.share(rank=runtime.rank, world_size=runtime.world_size):
        names = response_names(record)
        for index in used_responses(record, mode)[0]:
            responses += 1
            if critique_of(record.responses[index], critique) is None:
                absent.append(names[index])
    everywhere: Sequence[str] = sorted(name for part in runtime.gather(absent) for name in part)
    if everywhere and missing == "fail":
        shown = "; ".join(first_few(everywhere))
        raise DataError(
            f"{len(everywhere)} responses have no {critique} critique: {shown}. Add "
            "them, or skip their critique loss with objective.missingCritique: skip"
        )
    total = int(runtime.sum([responses])[0])
    return {"responses": total, "missing": len(everywhere)}
