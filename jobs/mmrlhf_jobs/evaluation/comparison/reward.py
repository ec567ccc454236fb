"""A reward model as judge of pairs: the higher score wins, whatever stands first."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from mmrlhf_jobs.data.conversation import as_json
from mmrlhf_jobs.data.identity import digest_of
from mmrlhf_jobs.data.media import LoadedMedia
from mmrlhf_jobs.data.queries import QueryRecord
from mmrlhf_jobs.errors import DataError
from mmrlhf_jobs.evaluation.comparison.pairs import Pair, PairVerdict
from mmrlhf_jobs.evaluation.gate.judging import Said
from mmrlhf_jobs.reward_model.judge import CritiqueRewardModel
from mmrlhf_jobs.storage.journal import Journal

__all__ = ["judge_by_reward"]


def judge_by_reward(
    model: CritiqueRewardModel,
    pairs: Sequence[Pair],
    journal: Journal,
    *,
    load: Callable[[QueryRecord], Sequence[LoadedMedia]],
    count: Callable[[int, int], None],
) -> dict[str, PairVerdict]:
    """Verdicts by the id of the query; scores are kept, so that the same again computes none.

    Equal responses are scored as well: the gate compares means of scores over all queries.

    Args:
        model: The reward model.
        pairs: What to judge.
        journal: Keeps scores.
        load: Loads the media of a query.
        count: Told how many are done, and of how many.
    """
    found: dict[str, PairVerdict] = {}
    for done, pair in enumerate(pairs, 1):
        found[pair.name] = _judge(model, pair, journal, load)
        count(done, len(pairs))
    return found


def _judge(
    model: CritiqueRewardModel,
    pair: Pair,
    journal: Journal,
    load: Callable[[QueryRecord], Sequence[LoadedMedia]],
) -> PairVerdict:
    if pair.candidate is None or pair.champion is None:
        given = PairVerdict.given(pair, placed=False)
        assert given is not None
        return given
    texts = [pair.candidate, pair.champion]
    key = _key(model, pair, texts)
    kept = journal.get(key)
    if kept is None:
        try:
            verdicts = model.score(pair.query.asked, load(pair.query), texts)
        except DataError as error:
            # Told by its word: a response may be too long for the reward model.
            return PairVerdict.of(Said.ERROR, placed=False, reason=error.fault or "unusable")
        kept = {"scores": [float(one.score) for one in verdicts]}
        if not all(map(math.isfinite, kept["scores"])):
            return PairVerdict.of(Said.ERROR, placed=False, reason="notFinite")
        journal.put(key, kept)
    ours, theirs = kept["scores"]
    word = Said.TIE
    if ours != theirs and not pair.is_same:
        word = Said.CANDIDATE if ours > theirs else Said.CHAMPION
    return PairVerdict({None: word}, scores=(ours, theirs))


def _key(model: CritiqueRewardModel, pair: Pair, texts: Sequence[str]) -> str:
    identity = model.identity()
    return digest_of(
        "compared",
        [identity.template, identity.model, identity.image_settings, identity.precision],
        as_json(pair.query.asked),
        list(pair.query.media_sha256s),
        list(texts),
    ).hex()
