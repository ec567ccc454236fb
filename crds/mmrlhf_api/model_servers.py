"""Model servers that are asked over HTTP, as a file of endpoints and a StepJob name them.

Keys are never named: a field says which environment variable holds one, and in a cluster that
variable comes from a Secret (``podTemplate.env``).
"""

from __future__ import annotations

from typing import Annotated, Any

from annotated_types import Ge, Le, MaxLen, MinLen
from pydantic import model_validator

from mmrlhf_api.base import ApiModel
from mmrlhf_api.rules import Rule
from mmrlhf_api.scalars import (
    Matching,
    NonNegativeFloat,
    PositiveFloat,
    PositiveInt,
    Seed,
    VariableName,
    Word,
)

__all__ = ["EndpointSettings", "Price", "RetrySettings", "SamplingSettings"]


class SamplingSettings(ApiModel):
    """How the server is to choose tokens."""

    max_tokens: PositiveInt = 1024
    """Most tokens of an answer; an answer that reaches it is cut off."""
    temperature: NonNegativeFloat = 0.0
    """Sampling temperature; 0 is greedy."""
    server_temperature: bool = False
    """Send no temperature and leave it to the server, as models want that take none; in a file of
    endpoints ``temperature: null`` says the same."""
    top_p: Annotated[float, Ge(0), Le(1)] | None = None
    """Nucleus sampling; without it, it is left to the server."""
    seed: Seed | None = None
    """Seed of the sampling; sample k of a question gets seed + k. Without it, none is sent."""

    @model_validator(mode="before")
    @classmethod
    def _left_to_the_server(cls, data: Any) -> Any:  # noqa: ANN401 - whatever was written
        if isinstance(data, dict) and data.get("temperature", 0.0) is None:
            rest = {name: value for name, value in data.items() if name != "temperature"}
            return {"serverTemperature": True, **rest}
        return data


class RetrySettings(ApiModel):
    """What is asked again, how often and when."""

    attempts: PositiveInt = 5
    """Most times that a request is sent; answers of status 429 do not count."""
    first_wait: PositiveFloat = 1.0
    """Seconds before the second attempt; doubled for each further one, with full jitter."""
    longest_wait: PositiveFloat = 60.0
    """Most seconds between two attempts, but for what Retry-After asks."""
    patience: PositiveFloat = 1800.0
    """Seconds after which a request that only meets status 429 is given up."""
    budget: Annotated[float, Ge(0), Le(1)] = 0.2
    """Retries allowed as a share of all requests, so that a server in trouble is not asked ever
    more; 429 does not count."""
    rejected_attempts: PositiveInt = 2
    """Most times that a request is sent whose answers are refused by the step's checks."""


class Price(ApiModel):
    """What the server costs."""

    input: NonNegativeFloat
    """For a million tokens of requests, in any currency."""
    output: NonNegativeFloat
    """For a million tokens of answers, in the same currency."""


class EndpointSettings(ApiModel):
    """One server with one model."""

    name: Word
    """Name in records and reports, unique among the servers."""
    base_url: Annotated[
        str,
        MinLen(1),
        MaxLen(2048),
        Matching(
            r"^https?://[^\s/@]+(/\S*)?$",
            "a URL that starts with http:// or https:// and carries no user:password@; apiKeyEnv"
            " names a key",
        ),
    ]
    """URL that ``/chat/completions`` is added to, such as ``https://api.openai.com/v1``."""
    model: Word
    """Name of the model at the server."""
    revision: Word | None = None
    """State of the model, if the name does not tell; kept answers of another one are not used."""
    api_key_env: VariableName | None = None
    """Environment variable that holds the key; without it, the server needs none. In a cluster
    podTemplate.env gives it, from a Secret."""
    concurrency: PositiveInt = 8
    """Most requests at once."""
    requests_per_minute: PositiveFloat | None = None
    """Most requests a minute; without it, there is no limit."""
    timeout_seconds: PositiveFloat = 300.0
    """Seconds from sending a request to the end of its answer."""
    sampling: SamplingSettings = SamplingSettings()
    """How the server is to choose tokens."""
    retry: RetrySettings = RetrySettings()
    """What is asked again."""
    price: Price | None = None
    """What it costs; without it, costs are not counted."""
    max_cost: PositiveFloat | None = None
    """The run ends when it has cost more than this, in the currency of the price."""

    rules = (
        Rule(
            "!has(self.maxCost) || has(self.price)",
            "maxCost needs a price",
            check=lambda self: self.max_cost is None or self.price is not None,
        ),
    )
