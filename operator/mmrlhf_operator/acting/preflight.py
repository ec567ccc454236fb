"""Looking up what a spec names before a GPU is taken: Secrets, bucket, data and model."""

from __future__ import annotations

import base64
import binascii
import functools
import hmac
import logging
import os
import re
import socket
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from mmrlhf_api import ArtifactStore, Job, kind_of
from mmrlhf_operator.acting.addresses import AddressRule
from mmrlhf_operator.acting.bounded_http import BoundedHttp, Resolve
from mmrlhf_operator.acting.object_store import Store, opened, trusting
from mmrlhf_operator.acting.outcomes import LookUpError, Outcome
from mmrlhf_operator.acting.recent import Recent
from mmrlhf_operator.acting.shares import Shares
from mmrlhf_operator.config import LookUps
from mmrlhf_operator.errors import ServerError
from mmrlhf_operator.kube.api import Api
from mmrlhf_operator.planning.reasons import OperatorReason
from mmrlhf_operator.rendering.containers import AWS_KEYS
from mmrlhf_operator.rendering.secrets import NamedSecret, named_secrets
from mmrlhf_operator.rendering.volumes import CA_KEY
from mmrlhf_operator.state.views import Finding

__all__ = ["Location", "Preflight", "locations"]

T = TypeVar("T")

_LOG = logging.getLogger(__name__)
_MISSING = {"data": OperatorReason.DATA_MISSING, "model": OperatorReason.MODEL_INCOMPLETE}
_SECRETS_AT_ONCE = 8
_FRESH_SECONDS = 30.0
"""For how long what is there is taken to be there still: the job itself looks again anyway."""
_TOKENS = frozenset({"kubernetes.io/service-account-token", "bootstrap.kubernetes.io/token"})
_PRINTABLE = re.compile(r"[!-~]+")


@dataclass(frozen=True, kw_only=True)
class Location:
    """Something on an object store that must be there.

    Attributes:
        field: Field of the spec that names it.
        uri: Where it is.
        reason: What is said when it is missing.
        child: Name below it that must be there too.
        within: Of a bucket: the prefix in it that is the job's.
    """

    field: str
    uri: str
    reason: OperatorReason
    child: str | None = None
    within: str = ""


class Preflight:
    """Looks up what specs name, with the jobs' own credentials.

    Stores are strangers: a look takes so many bytes and seconds and no more, goes to no address
    that is the cluster's own, and no namespace takes the threads of others. What a store says
    reaches neither status nor log.

    Args:
        api: The API server, for Secrets.
        seconds: Limit for the look into the store of one job.
        settings: The other limits.
        reserved: Addresses that are never asked, such as that of the API server.
        clock: Tells the time, in seconds.
        resolve: Finds the addresses of a name.
    """

    def __init__(
        self,
        api: Api,
        *,
        seconds: float,
        settings: LookUps | None = None,
        reserved: Iterable[str] = (),
        clock: Callable[[], float] = time.monotonic,
        resolve: Resolve = socket.getaddrinfo,
    ) -> None:
        settings = settings or LookUps()
        each = settings.threads_per_namespace
        self._api = api
        self._seconds = seconds
        self._reading = Shares(at_once=_SECRETS_AT_ONCE, each=each)
        self._looking = Shares(at_once=settings.threads, each=each)
        rule = AddressRule.of(allowed=settings.addresses, reserved=reserved)
        self._found = Recent(seconds=_FRESH_SECONDS, clock=clock)
        self._salt = os.urandom(32)
        self._http = functools.partial(
            BoundedHttp,
            seconds=seconds,
            answer_bytes=settings.answer_bytes,
            rule=rule,
            clock=clock,
            resolve=resolve,
        )

    async def check(self, job: Job) -> Finding | None:
        """Return what is in the way of a job, None when nothing is.

        What cannot be seen from here, such as a path in the pods, is left to the job itself.
        """
        store = job.spec.artifacts
        values: dict[str, Mapping[str, str]] = {}
        async with self._reading.held(job.metadata.namespace):
            for name, secret in _secrets(job).items():
                try:
                    found = await self._api.find(
                        f"/api/v1/namespaces/{job.metadata.namespace}/secrets/{name}"
                    )
                except ServerError as error:
                    if error.status != 403:
                        raise
                    _LOG.info("%s: Secrets are not looked up: %s", _name(job), error.message)
                    return None
                if found is None:
                    where = job.metadata.namespace
                    return Finding(
                        reason=OperatorReason.SECRET_MISSING,
                        message=f"{secret.field}: there is no Secret {name} in {where}",
                    )
                data = {key: _decode(text) for key, text in (found.get("data") or {}).items()}
                signs = name == store.credentials_secret
                flaw = _flaw(found.get("type"), secret.keys, data, signs=signs)
                if flaw is not None:
                    return Finding(
                        reason=flaw[0], message=f"{secret.field}: Secret {name} {flaw[1]}"
                    )
                if name in {store.credentials_secret, store.ca_secret}:
                    values[name] = data
        return await self._check_store(job, values)

    async def look(self, job: Job, work: Callable[[Store], T]) -> T:
        """Do work on the object store of a job, with its own credentials.

        Args:
            job: Says where the store is, and by what Secrets.
            work: Done in a thread; raises LookUpError alone.

        Raises:
            LookUpError: Nothing was found out.
        """
        store = job.spec.artifacts
        values: dict[str, Mapping[str, str]] = {}
        async with self._reading.held(job.metadata.namespace):
            for name in filter(None, (store.credentials_secret, store.ca_secret)):
                try:
                    found = await self._api.find(
                        f"/api/v1/namespaces/{job.metadata.namespace}/secrets/{name}"
                    )
                except ServerError as error:
                    raise LookUpError(Outcome.DENIED) from error
                data = (found or {}).get("data") or {}
                values[name] = {key: _decode(text) for key, text in data.items()}
        credentials = values.get(store.credentials_secret or "", {})
        authority = values.get(store.ca_secret or "", {}).get(CA_KEY)

        def within() -> T:
            http = self._http(tls=functools.cache(lambda: trusting(authority)))
            with opened(store, credentials, http) as there:
                return work(there)

        try:
            return await self._looking.run_thread(
                job.metadata.namespace, within, seconds=self._seconds
            )
        except TimeoutError as error:
            raise LookUpError(Outcome.SLOW) from error

    async def _check_store(
        self, job: Job, values: Mapping[str, Mapping[str, str]]
    ) -> Finding | None:
        wanted = locations(job)
        store = job.spec.artifacts
        if not wanted:
            return None
        credentials = values.get(store.credentials_secret or "", {})
        authority = values.get(store.ca_secret or "", {}).get(CA_KEY)

        # A sweep, or a morning's jobs, name the same data, model and Secret.
        seen = self._digest(job, wanted, credentials, authority)
        if self._found.holds(seen):
            return None

        def look() -> Finding | None:
            tls = functools.cache(lambda: trusting(authority))
            return _look(
                _name(job),
                store,
                credentials,
                self._http(tls=tls),
                wanted,
                judges=not _has_means_of_its_own(job),
            )

        try:
            finding = await self._looking.run_thread(
                job.metadata.namespace, look, seconds=self._seconds
            )
        except TimeoutError:
            return _unseen(LookUpError(Outcome.SLOW), store, "spec.artifacts")
        if finding is None:
            self._found.note(seen)
        return finding

    def _digest(
        self,
        job: Job,
        wanted: Sequence[Location],
        credentials: Mapping[str, str],
        authority: str | None,
    ) -> bytes:
        """What stands for a look; keys are in it, and cannot be found out from it."""
        parts = (
            job.metadata.namespace,
            job.spec.artifacts.model_dump_json(),
            repr(wanted),
            repr(_has_means_of_its_own(job)),
            repr(sorted(credentials.items())),
            repr(authority),
        )
        return hmac.digest(self._salt, "\0".join(parts).encode(), "sha256")


def _secrets(job: Job) -> dict[str, NamedSecret]:
    """Each Secret that a job names once: the first field that does, and all keys that it needs."""
    found: dict[str, NamedSecret] = {}
    for secret in named_secrets(job):
        known = found.get(secret.name, secret)
        keys = tuple(dict.fromkeys((*known.keys, *secret.keys)))
        found[secret.name] = NamedSecret(known.field, secret.name, keys)
    return found


def locations(job: Job) -> list[Location]:
    """Return what must be on the object store; paths in the pods are not ours to see."""
    bucket, _, prefix = job.spec.artifacts.uri.removeprefix("s3://").partition("/")
    found = [
        Location(
            field="spec.artifacts.uri",
            uri=f"s3://{bucket}" if job.spec.artifacts.uri.startswith("s3://") else "/",
            within=f"{prefix.strip('/')}/" if prefix.strip("/") else "",
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
    name: str,
    settings: ArtifactStore,
    credentials: Mapping[str, str],
    http: BoundedHttp,
    wanted: list[Location],
    *,
    judges: bool,
) -> Finding | None:
    field = "spec.artifacts"
    try:
        with opened(settings, credentials, http) as store:
            for location in wanted:
                uri = location.uri.rstrip("/")
                field = f"{location.field}: {uri}"
                try:
                    if not store.holds(uri, within=location.within):
                        found = "nothing that matches" if "*" in uri else "no"
                        return _missing(location, f"there is {found} {uri}")
                    if location.child is not None and not store.holds(f"{uri}/{location.child}"):
                        return _missing(location, f"{uri} has no {location.child}")
                except LookUpError as error:
                    # Without keys of its own, or with others beside, the job may have means that
                    # the operator has not.
                    if error.outcome is not Outcome.DENIED or (credentials and judges):
                        raise
    except LookUpError as error:
        _LOG.info("%s: %s: %s %s", name, field, error.outcome.name, error.code or "")
        return _unseen(error, settings, field)
    return None


def _unseen(error: LookUpError, settings: ArtifactStore, field: str) -> Finding:
    words = f"{error.outcome} ({error.code})" if error.code else str(error.outcome)
    if error.outcome is Outcome.DENIED:
        return Finding(reason=OperatorReason.STORAGE_DENIED, message=f"{field}: {words}")
    forbidden = error.outcome in {Outcome.FORBIDDEN, Outcome.ELSEWHERE}
    return Finding(
        reason=OperatorReason.POLICY_REFUSED if forbidden else OperatorReason.STORAGE_UNREACHABLE,
        message=f"spec.artifacts: {settings.endpoint or 'S3'}: {words}",
    )


def _has_means_of_its_own(job: Job) -> bool:
    """Whether the environment of the pods says who they are to the store, whatever the Secret."""
    return any(variable.name.startswith("AWS_") for variable in job.spec.pod_template.env)


def _missing(location: Location, what: str) -> Finding:
    return Finding(reason=location.reason, message=f"{location.field}: {what}")


def _flaw(
    kind: str | None, keys: Iterable[str], data: Mapping[str, str], *, signs: bool
) -> tuple[OperatorReason, str] | None:
    """Say what is wrong with a Secret; none of its values is ever told.

    Args:
        kind: Its type.
        keys: What it must hold.
        data: What it holds.
        signs: Whether requests are signed with it.
    """
    if kind in _TOKENS:
        words = "is a token of the cluster's own, which pods of jobs do not get; name another"
        return OperatorReason.POLICY_REFUSED, words
    missing = [key for key in keys if not data.get(key)]
    if missing:
        return OperatorReason.SECRET_INCOMPLETE, f"lacks {', '.join(missing)}"
    for key in AWS_KEYS if signs else ():
        value = data.get(key, "")
        if value and _PRINTABLE.fullmatch(value) is None:
            what = "ends with a line break" if value[-1] in "\r\n" else "holds what no key holds"
            words = f"has a {key} that {what}; create it anew, as with --from-literal"
            return OperatorReason.SECRET_INCOMPLETE, words
    if CA_KEY in keys:
        try:
            trusting(data[CA_KEY])
        except ValueError as error:
            return OperatorReason.SECRET_INCOMPLETE, f"has a {CA_KEY} that holds {error}"
    return None


def _name(job: Job) -> str:
    return f"{job.kind} {job.metadata.namespace}/{job.metadata.name}"


def _decode(value: str) -> str:
    try:
        return base64.b64decode(value).decode(errors="replace")
    except (binascii.Error, ValueError):
        return ""
