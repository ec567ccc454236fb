"""A few queries that the model answers before and after training, for the report."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from PIL import Image

from mmrlhf_jobs.data.media import load_media
from mmrlhf_jobs.data.media_folders import MediaFolders
from mmrlhf_jobs.data.records import RankedResponse
from mmrlhf_jobs.evaluation.generation import generate_answers
from mmrlhf_jobs.models.adapter import EncodedGroup, LoadedModel
from mmrlhf_jobs.pages.run_report import Sample
from mmrlhf_jobs.queries.preference import QueryEncoder
from mmrlhf_jobs.storage.uris import StorageOptions

__all__ = ["Samples", "shrink", "take_samples"]

_PICTURES: Final = 4
"""Pictures of a query; of a video its first frames."""
_EDGE: Final = 256


@dataclass(frozen=True)
class Samples:
    """Queries, answered by the model as it was loaded.

    Attributes:
        loaded: The model, whose weights are whole in this process before and after training.
        prompts: The queries, encoded.
        shown: Text and small pictures of each.
        before: Their answers.
        max_new_tokens: Tokens after which answers are cut off.
    """

    loaded: LoadedModel
    prompts: list[EncodedGroup]
    shown: list[tuple[str, tuple[str, ...]]]
    before: list[str]
    max_new_tokens: int

    def finish(self) -> list[Sample]:
        """Answer them again, with the model as it is now."""
        after = _answer(self.loaded, self.prompts, self.max_new_tokens)
        return [
            Sample(question, pictures, before, now)
            for (question, pictures), before, now in zip(
                self.shown, self.before, after, strict=True
            )
        ]


def take_samples(
    loaded: LoadedModel,
    records: Iterable[RankedResponse],
    encoder: QueryEncoder,
    *,
    media_root: str | MediaFolders,
    storage: StorageOptions | None,
    max_new_tokens: int,
) -> Samples:
    """Show, encode and answer queries.

    Args:
        loaded: The model as it was loaded.
        records: A few records.
        encoder: Makes queries of them.
        media_root: Folder that relative media URIs start from, or all that media may be in.
        storage: How to reach an object store.
        max_new_tokens: Tokens after which answers are cut off.
    """
    prompts, shown = [], []
    for record in records:
        prompts.append(encoder.encode(record))
        media = load_media(record, media_root, storage=storage)
        frames = [frame for one in media for frame in one.frames][:_PICTURES]
        shown.append((record.query.text, tuple(map(shrink, frames))))
    before = _answer(loaded, prompts, max_new_tokens)
    return Samples(loaded, prompts, shown, before, max_new_tokens)


def shrink(picture: Image.Image) -> str:
    """A picture that fits into 256 by 256, as the data URL of a JPEG."""
    small = picture.convert("RGB")
    small.thumbnail((_EDGE, _EDGE))
    buffer = io.BytesIO()
    small.save(buffer, "JPEG", quality=75)
    return f"data:image/jpeg;base64,{base64.b64encode(buffer.getvalue()).decode()}"


def _answer(loaded: LoadedModel, prompts: list[EncodedGroup], limit: int) -> list[str]:
    model, training = loaded.model, loaded.model.training
    model.eval()
    try:
        return generate_answers(loaded, prompts, max_new_tokens=limit)
    finally:
        model.train(training)
