"""Looking up what a spec names before a GPU is taken: Secrets, bucket, data and model."""

from __future__ import annotations

import asyncio
import base64
import functools
from collections.abc import Mapping
from dataclasses import dataclass

from mmrlhf_api import ArtifactStore, Job, kind_of
from mmrlhf_operator.acting.object_store import opened
from mmrlhf_operator.kube.api import Api
from mmrlhf_operator.planning.reasons import OperatorReason
from mmrlhf_operator.rendering.containers import AWS_KEYS
from mmrlhf_operator.rendering.volumes import CA_KEY
from mmrlhf_operator.state.views import Finding

__all__ = ["Location", "Preflight", "locations", "secrets"]

_MISSING = {"data": OperatorReason.DATA_MISSING, "model": OperatorReason.MODEL_INCOMPLETE}


@dataclass(frozen=True, kw_only=True)
class Location:
    """Something on an object store that must be there.

    Attributes:
        field: Field of the spec that names it.
        uri: Where it is.
        reason: What is said when it is missing.
        child: Name below it that must be there too.
    """

    field: str
    uri: str
    reason: OperatorReason
    child: str | None = None


class Preflight:
    """Looks up what specs name, with the jobs' own credentials.

    Args:
        api: The API server, for Secrets.
        seconds: Limit for the checks of one job.
    """

    def __init__(self, api: Api, *, seconds: float) -> None:
        self._api = api
        self._seconds = seconds

    async def check(self, job: Job) -> Finding | None:
        """Return what is in the way of a job, None when nothing is.

        What cannot be seen from here, such as a path in the pods, is left to the job itself.
        """
        values: dict[str, Mapping[str, str]] = {}
        for name, (field, keys) in secrets(job).items():
            found = await self._api.find(
                f"/api/v1/namespaces/{job.metadata.namespace}/secrets/{name}"
            )
            if found is None:
                return Finding(
                    reason=OperatorReason.SECRET_MISSING,
                    message=f"{field}: there is no Secret {name} in {job.metadata.namespace}",
                )
            data = {key: _decode(value) for key, value in (found.get("data") or {}).items()}
            missing = [key for key in keys if not data.get(key)]
            if missing:
                return Finding(
                    reason=OperatorReason.SECRET_INCOMPLETE,
                    message=f"{field}: Secret {name} lacks {', '.join(missing)}",
                )
            values[name] = data
        return await self._check_store(job, values)

    async def _check_store(
        self, job: Job, values: Mapping[str, Mapping[str, str]]
    ) -> Finding | None:
        wanted = locations(job)
        store = job.spec.artifacts
        if not wanted:
            return None
        credentials = values.get(store.credentials_secret or "", {})
        authority = values.get(store.ca_secret or "", {}).get(CA_KEY)
        look = functools.partial(_look, store, credentials, authority, wanted)
        try:
            async with asyncio.timeout(self._seconds):
                return await asyncio.to_thread(look)
        except TimeoutError:
            return Finding(
                reason=OperatorReason.STORAGE_UNREACHABLE,
                message=(
                    f"spec.artifacts: {store.endpoint or 'the object store'} did not answer within"
                    f" {self._seconds:.0f} s"
                ),
            )


def secrets(job: Job) -> dict[str, tuple[str, tuple[str, ...]]]:
    """Return the Secrets that a job names, with the field that does and the keys it needs."""
    found: dict[str, tuple[str, tuple[str, ...]]] = {}

    def need(name: str, field: str, *keys: str) -> None:
        known = found.get(name, (field, ()))
        found[name] = (known[0], tuple(dict.fromkeys((*known[1], *keys))))

    store = job.spec.artifacts
    if store.credentials_secret is not None:
        required = [key for key, needed in AWS_KEYS.items() if needed]
        need(store.credentials_secret, "spec.artifacts.credentialsSecret", *required)
    if store.ca_secret is not None:
        need(store.ca_secret, "spec.artifacts.caSecret", CA_KEY)
    for index, name in enumerate(job.spec.pod_template.image_pull_secrets):
        need(name, f"spec.podTemplate.imagePullSecrets[{index}]")
    for index, variable in enumerate(job.spec.pod_template.env):
        if variable.secret_key_ref is not None:
            reference = variable.secret_key_ref
            need(reference.name, f"spec.podTemplate.env[{index}].secretKeyRef", reference.key)
    return found


def locations(job: Job) -> list[Location]:
    """Return what must be on the object store; paths in the pods are not ours to see."""
    bucket = job.spec.artifacts.uri.removeprefix("s3://").split("/", 1)[0]
    found = [
        Location(
            field="spec.artifacts.uri",
            uri=f"s3://{bucket}" if job.spec.artifacts.uri.startswith("s3://") else "/",
            reason=OperatorReason.BUCKET_MISSING,
        )
    ]
    found += [
        Location(
            field=f"spec.{given.field}",
            uri=given.uri,
            reason=_MISSING[given.content],
            child=given.child,
        )
        for given in kind_of(job).inputs(job.spec)
    ]
    return [location for location in found if location.uri.startswith("s3://")]


def _look(
    settings: ArtifactStore,
    credentials: Mapping[str, str],
    authority: str | None,
    wanted: list[Location],
) -> Finding | None:
    with opened(settings, credentials, authority) as store:
        for location in wanted:
            uri = location.uri.rstrip("/")
            try:
                if not store.holds(uri):
                    return _missing(location, f"there is no {uri}")
                if location.child is not None and not store.holds(f"{uri}/{location.child}"):
                    return _missing(location, f"{uri} has no {location.child}")
            except PermissionError as error:
                return Finding(
                    reason=OperatorReason.STORAGE_DENIED,
                    message=f"{location.field}: {uri}: access denied: {error}",
                )
            except OSError as error:
                return Finding(
                    reason=OperatorReason.STORAGE_UNREACHABLE,
                    message=f"spec.artifacts: {settings.endpoint or 'S3'}: {error}",
                )
    return None


def _missing(location: Location, what: str) -> Finding:
    return Finding(reason=location.reason, message=f"{location.field}: {what}")


def _decode(value: str) -> str:
    return base64.b64decode(value).decode(errors="replace")
