"""The file that says which servers to ask, and how hard.

::

    endpoints:
    - name: gpt-4o
      baseUrl: https://api.openai.com/v1
      model: gpt-4o-2024-08-06
      apiKeyEnv: OPENAI_API_KEY
      requestsPerMinute: 500
      concurrency: 32
      price: {input: 2.5, output: 10}

Keys never stand in the file: it names the environment variable that holds one.
"""

from __future__ import annotations

import os
from typing import Annotated, Self
from urllib.parse import urlsplit

import yaml
from annotated_types import Ge, Le, MinLen
from pydantic import Strict, ValidationError, model_validator

from mmrlhf_api.base import ApiModel
from mmrlhf_api.credentials import has_password, hide_passwords
from mmrlhf_api.scalars import NonNegativeFloat, PositiveFloat, PositiveInt, Seed
from mmrlhf_jobs.data.parsing import explain
from mmrlhf_jobs.endpoints.requests import Sampling
from mmrlhf_jobs.errors import InputError, SpecError
from mmrlhf_jobs.storage.uris import StorageOptions, locate, storage_errors

__all__ = ["EndpointSettings", "Price", "RetrySettings", "SamplingSettings", "load_endpoints"]


class SamplingSettings(ApiModel):
    """How the server is to choose tokens."""

    max_tokens: PositiveInt = 1024
    """Most tokens of an answer; an answer that reaches it is cut off."""
    temperature: NonNegativeFloat | None = 0.0
    """Sampling temperature; 0 is greedy, null leaves it to the server."""
    top_p: Annotated[float, Ge(0), Le(1)] | None = None
    """Nucleus sampling; null leaves it to the server."""
    seed: Seed | None = None
    """Seed of the sampling; sample k of a question gets seed + k. Null sends none."""

    def sampling(self, sample: int = 0) -> Sampling:
        """For one of several samples."""
        return Sampling(
            max_tokens=self.max_tokens,
            temperature=self.temperature,
            top_p=self.top_p,
            seed=None if self.seed is None else self.seed + sample,
        )


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

    name: Annotated[str, MinLen(1)]
    """Name in records and reports, unique in the file."""
    base_url: str
    """URL that ``/chat/completions`` is added to, such as ``https://api.openai.com/v1``."""
    model: Annotated[str, MinLen(1)]
    """Name of the model at the server."""
    revision: str | None = None
    """State of the model, if the name does not tell; kept answers of another one are not used."""
    api_key_env: str | None = None
    """Environment variable that holds the key; null for a server that needs none."""
    concurrency: PositiveInt = 8
    """Most requests at once."""
    requests_per_minute: PositiveFloat | None = None
    """Most requests a minute; null for no limit."""
    timeout_seconds: PositiveFloat = 300.0
    """Seconds from sending a request to the end of its answer."""
    sampling: SamplingSettings = SamplingSettings()
    """How the server is to choose tokens."""
    retry: RetrySettings = RetrySettings()
    """What is asked again."""
    price: Price | None = None
    """What it costs; null if that is of no interest."""
    max_cost: PositiveFloat | None = None
    """The run ends when it has cost more than this, in the currency of the price."""

    @model_validator(mode="after")
    def _can_be_used(self) -> Self:
        if urlsplit(self.base_url).scheme not in ("http", "https"):
            got = hide_passwords(self.base_url)
            raise ValueError(f"baseUrl must start with http:// or https://, got {got!r}")
        if has_password(self.base_url):
            raise ValueError("baseUrl must not carry user:password@; name a variable in apiKeyEnv")
        if self.max_cost is not None and self.price is None:
            raise ValueError("maxCost needs a price")
        return self

    def api_key(self) -> str | None:
        """The key.

        Raises:
            SpecError: The environment variable is not set.
        """
        if self.api_key_env is None:
            return None
        key = os.environ.get(self.api_key_env)
        if not key:
            raise SpecError(
                f"endpoint {self.name!r}: apiKeyEnv names {self.api_key_env}, which is not set"
            )
        return key


class _File(ApiModel):
    """A file of endpoints."""

    endpoints: Annotated[tuple[EndpointSettings, ...], Strict(strict=False), MinLen(1)]
    """The endpoints."""


def load_endpoints(uri: str, storage: StorageOptions | None = None) -> tuple[EndpointSettings, ...]:
    """Read a file of endpoints, YAML or JSON.

    Raises:
        SpecError: The file is no YAML, or a field is wrong.
        InputError: It cannot be read.
    """
    location = locate(uri, storage)
    with storage_errors(uri, "read"):
        if not location.fs.isfile(location.path):
            raise InputError(f"{uri}: there is no such file")
        text = location.fs.cat_file(location.path)
    try:
        endpoints = _File.model_validate(yaml.safe_load(text)).endpoints
    except ValidationError as error:
        field, reason = explain(error)
        reason = hide_passwords(reason)
        raise SpecError(f"{uri}, field {field or 'endpoints'}: {reason}") from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise SpecError(f"{uri}: not valid YAML: {error}") from error
    names = [endpoint.name for endpoint in endpoints]
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise SpecError(f"{uri}: two endpoints are called {repeated[0]!r}")
    return endpoints
