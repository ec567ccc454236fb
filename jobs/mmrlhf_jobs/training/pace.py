"""How fast a training goes and when it will be done."""

from __future__ import annotations

from collections.abc import Callable

__all__ = ["Pace"]

_WEIGHT = 0.2


class Pace:
    """Moving averages over steps; recent steps weigh more.

    Args:
        total_steps: Steps of the whole job.
        clock: Seconds, growing steadily.
    """

    def __init__(self, *, total_steps: int, clock: Callable[[], float]) -> None:
        self._total_steps = total_steps
        self._clock = clock
        self._last = clock()
        self._seconds: float | None = None
        self._tokens = 0.0

    def note(self, *, step: int, tokens: int) -> dict[str, float]:
        """Note that a step is done.

        Args:
            step: Steps done in the job.
            tokens: Tokens of this step.

        Returns:
            ``seconds`` of the step, and averaged ``tokensPerSecond`` and ``etaSeconds``.
        """
        now = self._clock()
        seconds, self._last = now - self._last, now
        if self._seconds is None:
            self._seconds, self._tokens = seconds, float(tokens)
        else:
            self._seconds += _WEIGHT * (seconds - self._seconds)
            self._tokens += _WEIGHT * (tokens - self._tokens)
        return {
            "seconds": seconds,
            "tokensPerSecond": self._tokens / max(self._seconds, 1e-9),
            "etaSeconds": self._seconds * (self._total_steps - step),
        }
