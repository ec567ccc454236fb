"""Verdicts and measures of both models as the gate reads them.

Of each model there is the length of its responses, for the alarm of drift, and where a reward model
has judged its scores, for a mean. What is missing has no value, by which the gate judges nothing.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from mmrlhf_jobs.evaluation.comparison.pairs import Pair, PairVerdict
from mmrlhf_jobs.evaluation.responses import question_key

__all__ = ["gate_results", "gate_verdicts"]


def gate_verdicts(
    verdicts: Mapping[str, PairVerdict],
    *,
    candidate: str | None = None,
    champion: str | None = None,
) -> dict[str, Any]:
    """GateVerdicts/v1: each query with either model first, or once where places do not count.

    Args:
        verdicts: By the id of the query.
        candidate: Digest of the artifact whose responses the candidate's are; None: not known.
        champion: The same of the champion.
    """
    rows: list[dict[str, Any]] = []
    for query, verdict in verdicts.items():
        for candidate_first, word in verdict.said.items():
            row: dict[str, Any] = {"query": query, "winner": word.value}
            if candidate_first is not None:
                row["first"] = "candidate" if candidate_first else "champion"
            rows.append(row)
    named = {"candidate": candidate, "champion": champion}
    known = {whose: digest for whose, digest in named.items() if digest is not None}
    return {"version": "GateVerdicts/v1", **known, "verdicts": rows}


def gate_results(
    pairs: Sequence[Pair],
    verdicts: Mapping[str, PairVerdict],
    *,
    candidate: str | None = None,
    champion: str | None = None,
) -> tuple[dict[str, Any], dict[str, Any]]:
    """GateResults/v1 of candidate and of champion: length of each response, and its score.

    Args:
        pairs: All pairs; those without a verdict are left out.
        verdicts: By the id of the query.
        candidate: Digest of the artifact whose responses the candidate's are; None: not known.
        champion: The same of the champion.
    """
    judged = [pair for pair in pairs if pair.name in verdicts]
    data = hashlib.sha256()
    for pair in judged:
        data.update(f"{pair.name}\0{question_key(pair.query)}\0".encode())
    scored = any(one.scores is not None for one in verdicts.values())

    def results(
        text: Callable[[Pair], str | None], place: int, artifact: str | None
    ) -> dict[str, Any]:
        return {
            "version": "GateResults/v1",
            "data": data.hexdigest(),
            **({} if artifact is None else {"artifact": artifact}),
            "rows": [
                {
                    "query": pair.name,
                    "figures": _figures(text(pair), verdicts[pair.name], place, scored=scored),
                }
                for pair in judged
            ],
        }

    ours = results(lambda pair: pair.candidate, 0, candidate)
    return ours, results(lambda pair: pair.champion, 1, champion)


def _figures(
    text: str | None, verdict: PairVerdict, place: int, *, scored: bool
) -> dict[str, float | None]:
    length = None if text is None else len(text)
    if not scored:
        return {"length": length}
    score = None if verdict.scores is None else verdict.scores[place]
    return {"length": length, "reward": score}
