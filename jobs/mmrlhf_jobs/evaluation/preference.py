"""How well a policy agrees with the ranks of held-out data."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields

import torch

from mmrlhf_jobs.data.pairs import Pair

__all__ = ["PreferenceScores", "PreferenceTally"]


@dataclass(frozen=True)
class PreferenceScores:
    """Agreement of a policy with the ranks, over all pairs of a data set.

    Attributes:
        pairs: Pairs with differing ranks.
        preference_accuracy: Share of pairs whose chosen response is strictly more likely under the
            policy, ``log pi(y_w|x) > log pi(y_l|x)``: the ranking accuracy of arXiv 2405.19534.
        preference_margin: Mean of ``log pi(y_w|x) - log pi(y_l|x)``, nats.
        reward_accuracy: Share of pairs with a positive implicit reward margin, the
            ``rewards/accuracies`` of TRL. Nothing before training, when policy is reference.
        reward_margin: Mean implicit reward margin without beta,
            ``log pi(y_w)/ref(y_w) - log pi(y_l)/ref(y_l)``, nats.
    """

    pairs: int
    preference_accuracy: float
    preference_margin: float
    reward_accuracy: float
    reward_margin: float

    def named(self, prefix: str = "") -> dict[str, float]:
        """Figures by wire name: ``preferenceAccuracy``, or ``afterPreferenceAccuracy``."""
        named = {}
        for item in fields(self):
            words = item.name.split("_")
            name = "".join(word.capitalize() for word in words)
            name = prefix + name if prefix else name[0].lower() + name[1:]
            named[name] = float(getattr(self, item.name))
        return named


class PreferenceTally:
    """Counts pairs as they come, by category; two tallies add up to one."""

    def __init__(self) -> None:
        self._sums: dict[str, list[float]] = defaultdict(lambda: [0.0] * 5)

    def add(
        self,
        category: str,
        *,
        policy: torch.Tensor,
        reference: torch.Tensor,
        pairs: Iterable[Pair],
    ) -> None:
        """Count the pairs of one query.

        Args:
            category: Category of the query.
            policy: Log-probabilities of the responses under the policy, float[R], nats.
            reference: The same under the reference policy.
            pairs: Indices into the responses.
        """
        gains = policy.double() - reference.double()
        sums = self._sums[category]
        for chosen, rejected in pairs:
            margin = float(policy[chosen].double() - policy[rejected].double())
            gain = float(gains[chosen] - gains[rejected])
            for index, value in enumerate((1.0, margin > 0, margin, gain > 0, gain)):
                sums[index] += value

    def vector(self, categories: Iterable[str]) -> list[float]:
        """Sums in the order of the categories, to be added up over processes."""
        return [value for category in categories for value in self._sums[category]]

    @staticmethod
    def scores(
        categories: Iterable[str], vector: list[float]
    ) -> tuple[PreferenceScores | None, Mapping[str, PreferenceScores]]:
        """Scores overall and by category; categories without pairs are left out."""
        rows = {c: vector[5 * i : 5 * i + 5] for i, c in enumerate(categories)}
        by_category = {c: _scores(row) for c, row in rows.items() if row[0] > 0}
        total = [sum(column) for column in zip(*rows.values(), strict=True)]
        return (_scores(total) if total and total[0] > 0 else None), by_category


def _scores(row: list[float]) -> PreferenceScores:
    pairs, correct, margin, gained, gain = row
    return PreferenceScores(
        pairs=int(pairs),
        preference_accuracy=correct / pairs,
        preference_margin=margin / pairs,
        reward_accuracy=gained / pairs,
        reward_margin=gain / pairs,
    )
