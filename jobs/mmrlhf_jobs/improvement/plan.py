"""How responses are sampled from a policy."""

from __future__ import annotations

from dataclasses import dataclass

from mmrlhf_jobs.data.conversation import as_json
from mmrlhf_jobs.data.identity import digest_of
from mmrlhf_jobs.data.queries import QueryRecord

__all__ = ["SamplingPlan"]


@dataclass(frozen=True)
class SamplingPlan:
    """How to sample.

    Attributes:
        samples: Responses of each query (paper 5.4: 8).
        temperature: Above 0; the released script samples at 0.8.
        top_p: Nucleus; 1 samples from all tokens.
        max_new_tokens: Most tokens of a response.
        seed: Seed of all streams.
    """

    samples: int = 8
    temperature: float = 0.8
    top_p: float = 1.0
    max_new_tokens: int = 1024
    seed: int = 0

    def __post_init__(self) -> None:
        if not (2 <= self.samples <= 16 and self.temperature > 0 and 0 < self.top_p <= 1):
            raise ValueError(f"2 to 16 samples, a temperature above 0, top_p in (0, 1]: {self}")

    def seed_of(self, query: QueryRecord, sample: int) -> int:
        """Seed of one sample's stream."""
        asked = as_json(query.asked)
        digest = digest_of("sample", self.seed, asked, list(query.media_sha256s), sample)
        return int.from_bytes(digest[:8], "little") >> 1
