"""MM-RLHF's own ``data.jsonl``: every response of a question with scores, ranks and reasons.

A row is ``{"id", "question", "answer", "image" | "video", "models_output", "faithfulness",
"helpfulness", "ethical", "final_ranking", "score_reasons", "ranking_reason"}``. The release does
not document the types of the values, so all that name the same are read: responses as a list or by
the name of their model; scores and reasons likewise; ranks as places in the order of the responses
(1 is best), places by name, or names from the best on, ties as a list within it or as ``a > b =
c``. The report counts rankings that contradict the scores: many of them mean another way of
writing.

Source: https://github.com/Kwai-YuanQi/MM-RLHF (README, "Data Preparation") and the fields of
https://huggingface.co/datasets/yifanzhang114/MM-RLHF.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from mmrlhf_jobs.data.importers.dpo_pairs import category_of, read_media
from mmrlhf_jobs.data.importers.judged_rows import RankedRow, RankedText
from mmrlhf_jobs.data.importers.marks import marked
from mmrlhf_jobs.data.importers.media_files import MediaFiles
from mmrlhf_jobs.data.importers.prompts import Message, make_prompt
from mmrlhf_jobs.data.importers.ratings import make_scores, read_number
from mmrlhf_jobs.data.importers.raw_rows import RawPairRow, unpacked
from mmrlhf_jobs.data.importers.report import ImportReport

__all__ = ["SCORES", "read_mm_rlhf"]

SCORES: Final = {"faithfulness": "faithfulness", "helpfulness": "helpfulness", "ethical": "ethics"}
_USED: Final = frozenset(
    {"id", "question", "answer", "image", "video", "models_output", "final_ranking", "category"}
    | {"score_reasons", "ranking_reason", *SCORES}
)


def read_mm_rlhf(row: RawPairRow, media: MediaFiles, report: ImportReport) -> Sequence[RankedRow]:
    """Read a row.

    Raises:
        RowFault: It is wrong, names missing media, or does not rank all responses.
    """
    report.ignore_others(row.fields, _USED)
    items = read_media(row, media)
    text = row.text("question")
    prompt = make_prompt(row, [Message("user", marked(text), "question")], items)
    names, texts = _responses(row)
    places = _places(row, names)
    scores = {ours: _by_response(row, theirs, names) for theirs, ours in SCORES.items()}
    reasons = _by_response(row, "score_reasons", names)
    ranked = [
        RankedText(
            text=text,
            place=places[position],
            model=names[position],
            scores=make_scores(
                {name: read_number(values[position]) for name, values in scores.items()}
            ),
            comment=_text_of(reasons[position]),
        )
        for position, text in enumerate(texts)
    ]
    reference = row.fields.get("answer")
    return [
        RankedRow(
            file=row.file,
            row=row.row,
            source_id=row.name_of(),
            prompt=prompt,
            texts=tuple(ranked),
            category=category_of(row, items),
            dataset="MM-RLHF",
            reason=_text_of(row.fields.get("ranking_reason")),
            reference_answer=reference if isinstance(reference, str) and reference else None,
        )
    ]


def _responses(row: RawPairRow) -> tuple[list[str | None], list[str]]:
    """Names of models, as far as they are known, and their responses."""
    value = row.value("models_output")
    names: list[str | None]
    if isinstance(value, Mapping):
        names, texts = [str(name) for name in value], list(value.values())
    elif isinstance(value, list) and all(isinstance(one, Mapping) for one in value):
        names = [_text_of(one.get("model") or one.get("name")) for one in value]
        texts = [one.get("response") or one.get("output") or one.get("text") for one in value]
    elif isinstance(value, list):
        names, texts = [None] * len(value), value
    else:
        raise row.error("models_output", "must be a list of responses, or one by model")
    for position, text in enumerate(texts):
        if not isinstance(text, str) or not text.strip():
            raise row.error(f"models_output[{names[position] or position}]", "is missing or empty")
    return names, texts


def _by_response(row: RawPairRow, name: str, names: Sequence[str | None]) -> list[Any]:
    """Values of a field in the order of the responses; None where there is none."""
    value = unpacked(row.fields.get(name))
    if value is None:
        return [None] * len(names)
    if isinstance(value, Mapping):
        return [value.get(each) for each in names]
    if isinstance(value, list) and len(value) == len(names):
        return value
    raise row.error(name, f"must have a value for each of {len(names)} responses")


def _places(row: RawPairRow, names: Sequence[str | None]) -> list[float]:
    """Place of each response; the smaller the better."""
    value = row.value("final_ranking")
    if isinstance(value, str):
        value = [[name.strip() for name in tied.split("=")] for tied in value.split(">")]
    if isinstance(value, Mapping):
        value = [value.get(name) for name in names]
    numbers = [read_number(one) for one in value] if isinstance(value, list) else []
    if len(numbers) == len(names) and None not in numbers:
        return [number for number in numbers if number is not None]
    if not isinstance(value, list):
        raise row.error("final_ranking", "must be a list of places or of names")
    place: dict[str, float] = {}
    for number, tied in enumerate(value):
        for name in tied if isinstance(tied, list) else [tied]:
            if not isinstance(name, str) or name in place or name not in names:
                raise row.error("final_ranking", f"{name!r} is no response, or there twice")
            place[name] = float(number)
    missing = [name for name in names if name not in place]
    if missing:
        raise row.error("final_ranking", f"has no place for {', '.join(map(str, missing))}")
    return [place[name] for name in names if name is not None]


def _text_of(value: Any) -> str | None:  # noqa: ANN401 - any JSON
    """A text; those of several in a list or an object as lines of one."""
    if isinstance(value, str):
        return value if value.strip() else None
    if isinstance(value, Mapping):
        lines = [f"{name}: {one}" for name, one in value.items() if isinstance(one, str)]
    elif isinstance(value, list):
        lines = [one for one in value if isinstance(one, str)]
    else:
        return None
    return "\n".join(line for line in lines if line.strip()) or None
