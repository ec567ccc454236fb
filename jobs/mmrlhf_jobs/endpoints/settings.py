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
from typing import Annotated

import yaml
from annotated_types import MinLen
from pydantic import Strict, ValidationError

from mmrlhf_api.base import ApiModel
from mmrlhf_api.credentials import hide_passwords
from mmrlhf_api.model_servers import EndpointSettings
from mmrlhf_jobs.data.parsing import explain
from mmrlhf_jobs.errors import InputError, SpecError
from mmrlhf_jobs.storage.uris import StorageOptions, locate, storage_errors

__all__ = ["api_key", "load_endpoints"]


def api_key(endpoint: EndpointSettings) -> str | None:
    """The key of a server; None for one that needs none.

    Raises:
        SpecError: The environment variable is not set.
    """
    if endpoint.api_key_env is None:
        return None
    key = os.environ.get(endpoint.api_key_env)
    if not key:
        raise SpecError(
            f"endpoint {endpoint.name!r}: apiKeyEnv names {endpoint.api_key_env}, which is not set"
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
