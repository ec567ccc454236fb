"""How many held-out questions a model answers rightly: ``evaluate(model, data)``."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from examples.digits.answers import judge
from mmrlhf_jobs.data.dataset import RankedDataset
from mmrlhf_jobs.data.media import load_media
from mmrlhf_jobs.data.records import RankedResponse
from mmrlhf_jobs.data.sources import Source
from mmrlhf_jobs.evaluation.generation import generate_answers
from mmrlhf_jobs.models.adapter import EncodedGroup, LoadedModel
from mmrlhf_jobs.models.loading import load_model

__all__ = ["AnswerScores", "Judge", "evaluate"]

_BATCH = 50
_MAX_NEW_TOKENS = 96


class Judge(Protocol):
    """Says whether an answer is right."""

    def __call__(self, *, question: str, reference: str, text: str) -> bool:
        """Whether a text answers a question as the reference answer does."""
        ...


@dataclass(frozen=True)
class AnswerScores:
    """Right answers by category.

    Attributes:
        right: Questions answered rightly, by category.
        asked: Questions asked, by category.
        verdicts: Whether each was answered rightly, by record.
    """

    right: dict[str, int]
    asked: dict[str, int]
    verdicts: dict[str, bool]

    @property
    def accuracy(self) -> float:
        """Share of all questions answered rightly."""
        return sum(self.right.values()) / sum(self.asked.values())


def evaluate(
    model: Path, data: Path, *, judge: Judge = judge, max_new_tokens: int = _MAX_NEW_TOKENS
) -> AnswerScores:
    """Asks every held-out question once, greedily, and judges what the model says.

    Args:
        model: Hugging Face model folder.
        data: Folder that ``generate`` wrote.
        judge: Says whether an answer is right.
        max_new_tokens: Tokens after which an answer is cut off.
    """
    loaded = load_model(model, dtype="float32", attention="sdpa")
    dataset = RankedDataset.open(Source(str(data / "heldout.jsonl")))
    asked = [
        (record, loaded.adapter.encode(record.query.text, load_media(record, str(data)), ()))
        for record in dataset.share()
    ]
    # Alike in length, alike in the time they take.
    asked.sort(key=lambda item: len(item[1].prompt_ids))
    right: Counter[str] = Counter()
    verdicts: dict[str, bool] = {}
    for record, text in _answer(loaded, asked, max_new_tokens):
        reference = record.query.reference_answer
        assert reference is not None, "every record of the example has a reference answer"
        verdict = judge(question=record.query.text, reference=reference, text=text)
        right[record.category] += verdict
        verdicts[record.record_id] = verdict
    return AnswerScores(
        right=dict(right),
        asked=dict(Counter(record.category for record, _ in asked)),
        verdicts=verdicts,
    )


def _answer(
    loaded: LoadedModel, asked: list[tuple[RankedResponse, EncodedGroup]], max_new_tokens: int
) -> Iterable[tuple[RankedResponse, str]]:
    for start in range(0, len(asked), _BATCH):
        batch = asked[start : start + _BATCH]
        prompts = [group for _, group in batch]
        texts = generate_answers(loaded, prompts, max_new_tokens=max_new_tokens)
        for (record, _), text in zip(batch, texts, strict=True):
            yield record, text
