"""Look-ups in stores that lie, flood, drip and send elsewhere, and what is told of them."""

from __future__ import annotations

import asyncio
import base64
import gzip
import logging
import re
import threading
from collections.abc import Mapping
from typing import Any

import pytest
from fsspec.utils import glob_translate

from mmrlhf_api import Job, parse_job
from mmrlhf_operator.acting import bounded_http
from mmrlhf_operator.acting.object_store import _expression
from mmrlhf_operator.acting.preflight import Preflight
from mmrlhf_operator.acting.recent import Recent
from mmrlhf_operator.config import LookUps
from mmrlhf_operator.errors import ServerError
from mmrlhf_operator.operator import own_addresses
from mmrlhf_operator.state.views import Finding
from tests.unit.operator.strange_servers import MIB, Connection, Server, answering, serving
from tests.unit.operator.world import job_body

KEYS = {"AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret"}
HERE = LookUps(addresses=("127.0.0.0/8",))
CANARY = "CANARY-a8f3"


class Secrets:
    """An API server that has Secrets and nothing else."""

    def __init__(self, secrets: Mapping[str, Any] | None = None, *, refuses: int = 0) -> None:
        self.secrets = {"s3": KEYS} if secrets is None else secrets
        self.refuses = refuses
        self.asked: list[str] = []

    async def find(self, path: str) -> dict[str, Any] | None:
        self.asked.append(path)
        if self.refuses:
            raise ServerError(status=self.refuses, reason="", message="no", request=path)
        found = self.secrets.get(path.rpartition("/")[2])
        if found is None:
            return None
        encoded = {
            key: base64.b64encode(value.encode()).decode()
            for key, value in found.items()
            if key != "type"
        }
        return {"data": encoded, "type": found.get("type", "Opaque")}


def a_job(
    endpoint: str | None, *, namespace: str = "default", secret: str | None = "s3", **changes: Any
) -> Job:
    store: dict[str, Any] = {"uri": "s3://bucket/runs"}
    store |= {"endpoint": endpoint} if endpoint else {}
    store |= {"credentialsSecret": secret} if secret else {}
    body = job_body(artifacts=store, **changes)
    body["metadata"]["namespace"] = namespace
    return parse_job(body, source="test")


def preflight(
    secrets: Secrets | None = None, *, seconds: float = 60.0, settings: LookUps = HERE, **parts: Any
) -> Preflight:
    api: Any = secrets or Secrets()
    return Preflight(api, seconds=seconds, settings=settings, **parts)


async def look(answer: Any, **parts: Any) -> tuple[Finding | None, Server]:
    """What is found of a job whose store answers so; its model is asked for by a list."""
    with serving(answer) as server:
        job = a_job(server.endpoint, model__uri="s3://bucket/model")
        return await preflight(**parts).check(job), server


def found_then(answer: Any) -> Any:
    """The bucket is there, no object is, and lists are answered so."""

    def both(connection: Connection) -> None:
        if not connection.head.startswith("HEAD"):
            answer(connection)
        elif connection.head.split(" ")[1].count("/") == 1:
            answering("200 OK")(connection)
        else:
            answering("404 Not Found")(connection)

    return both


def listed(body: bytes, **headers: str) -> Any:
    return found_then(answering("200 OK", body, **headers))


async def test_a_store_that_has_everything() -> None:
    finding, server = await look(answering("200 OK"))
    assert finding is None
    assert server.lines == [
        "HEAD /bucket",
        "HEAD /bucket/model",
        "HEAD /bucket/model/config.json",
    ]
    assert all("Authorization: AWS4-HMAC-SHA256 Credential=key/" in one for one in server.heads)


async def test_jobs_that_name_the_same_make_one_look_of_it() -> None:
    now, secrets = [0.0], Secrets()
    with serving(answering("200 OK")) as server:
        looks = preflight(secrets, clock=lambda: now[0])

        async def asks(**changes: Any) -> int:
            before = len(server.lines)
            job = a_job(server.endpoint, **{"model__uri": "s3://bucket/model", **changes})
            assert await looks.check(job) is None
            return len(server.lines) - before

        assert await asks() == 3
        assert await asks() == 0
        assert await asks(namespace="another") == 3
        assert await asks(model__uri="s3://bucket/other") == 3
        secrets.secrets = {"s3": {**KEYS, "AWS_SECRET_ACCESS_KEY": "renewed"}}
        assert await asks() == 3
        now[0] = 29.0
        assert await asks() == 0
        now[0] = 30.0
        assert await asks() == 3


async def test_what_was_missing_is_looked_for_again() -> None:
    with serving(answering("404 Not Found")) as server:
        looks, job = preflight(), a_job(server.endpoint)
        for number in (1, 2):
            finding = await looks.check(job)
            assert finding is not None
            assert finding.reason == "BucketMissing"
            assert len(server.lines) == number


def test_what_is_remembered_has_an_end() -> None:
    recent = Recent(seconds=10, clock=lambda: 0.0, most=2)
    for seen in "abac":
        recent.note(seen)
    assert [recent.holds(seen) for seen in "abcd"] == [True, False, True, False]


async def test_an_input_that_is_missing_is_named() -> None:
    finding, _ = await look(listed(b"<ListBucketResult></ListBucketResult>"))
    assert finding is not None
    assert (finding.reason, finding.message) == (
        "ModelIncomplete",
        "spec.model.uri: there is no s3://bucket/model",
    )


def pages(*keys: list[str]) -> Any:
    """Lists are answered with these keys, a page after the other."""

    def answer(connection: Connection) -> None:
        if connection.head.startswith("HEAD"):
            answering("200 OK")(connection)
            return
        line = connection.head.split(" ")[1]
        asked = int(line.partition("continuation-token=")[2].partition("&")[0] or 0)
        last = asked + 1 == len(keys)
        more = "" if last else f"<NextContinuationToken>{asked + 1}</NextContinuationToken>"
        found = "".join(f"<Contents><Key>{key}</Key></Contents>" for key in keys[asked])
        body = f"<IsTruncated>{str(not last).lower()}</IsTruncated>{more}{found}"
        listed = f"<ListBucketResult>{body}</ListBucketResult>"
        answering("200 OK", listed.encode())(connection)

    return answer


@pytest.mark.parametrize(
    ("keys", "there"),
    [
        ([["data/a.jsonl"]], True),
        ([["data/a.txt"], ["data/deep/a.jsonl"], ["data/z.jsonl"]], True),
        ([[]], False),
        ([["data/a.txt", "data/deep/a.jsonl", "data/ajsonl"], ["data/b.parquet"]], False),
        ([["data/x"]] * 21, True),  # too many to look at: the job will tell
    ],
)
async def test_a_pattern_is_looked_up_as_jobs_read_it(keys: list[list[str]], there: bool) -> None:
    with serving(pages(*keys)) as server:
        job = a_job(server.endpoint, data__train__uri="s3://bucket/data/*.jsonl")
        finding = await preflight().check(job)
    lists = [line for line in server.lines if "list-type=2" in line]
    assert all("prefix=data%2F&" in f"{line}&" for line in lists)
    assert len(lists) == min(len(keys), 20)
    told = "spec.data.train.uri: there is nothing that matches s3://bucket/data/*.jsonl"
    assert (finding is None) is there
    assert finding is None or (finding.reason, finding.message) == ("DataMissing", told)


@pytest.mark.parametrize("pattern", ["a/*.jsonl", "a/**/x", "**", "a?[bc]*", "a.b/[!x]*"])
def test_patterns_match_what_those_of_jobs_do(pattern: str) -> None:
    ours, theirs = (re.compile(read(pattern)) for read in (_expression, glob_translate))
    keys = [
        "a/b.jsonl",
        "a/b/c.jsonl",
        "a/bxjsonl",
        "a/x",
        "a/b/x",
        "abb",
        "axc/",
        "a.b/y",
        "a.b/x",
    ]
    assert [bool(ours.fullmatch(key)) for key in keys] == [
        bool(theirs.fullmatch(key)) for key in keys
    ]


async def test_an_answer_without_end_is_cut_and_takes_no_memory() -> None:
    def flood(connection: Connection) -> None:
        connection.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        connection.flood(b"100000\r\n" + bytes(MIB) + b"\r\n")

    finding, server = await look(found_then(flood))
    assert finding is not None
    assert finding.reason == "StorageUnreachable"
    assert "longer than any of an object store" in finding.message
    server.wait_for_ends(3)
    assert server.sent < 32 * MIB


@pytest.mark.parametrize(
    "body",
    [
        b"<Error>" + CANARY.encode(),
        b"{}",
        b"<a>" * 10000,
        b'<!DOCTYPE a [<!ENTITY b "' + b"c" * 1000 + b'"><!ENTITY d "' + b"&b;" * 1000 + b'">]>'
        b"<ListBucketResult><Name>" + b"&d;" * 1000 + b"</Name></ListBucketResult>",
        b"\xff\xfe\x00",
    ],
    ids=["broken", "json", "deep", "entities", "bytes"],
)
async def test_an_answer_that_is_no_list_is_the_fault_of_the_store(body: bytes) -> None:
    finding, _ = await look(listed(body))
    assert finding is not None
    assert finding.reason in {"StorageUnreachable", "ModelIncomplete"}
    assert CANARY not in finding.message


async def test_a_compressed_bomb_is_not_opened() -> None:
    bomb = gzip.compress(b"<ListBucketResult>" + bytes(512 * MIB // 16), 9)
    finding, server = await look(listed(bomb, Content_Encoding="gzip"))
    assert finding is not None
    assert finding.reason == "StorageUnreachable"
    assert server.sent < 4 * MIB


async def test_what_a_store_says_is_told_nowhere(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    error = f"<Error><Code>{CANARY}</Code><Message>{CANARY}\x7f</Message></Error>".encode()
    told = set()
    for status in (f"400 {CANARY}", "401 No", "403 No", "404 No", "418 No", "500 No", "503 No"):
        finding, server = await look(found_then(answering(status, error, X_Amz_Id_2=CANARY)))
        assert finding is not None
        assert CANARY not in finding.message
        told.add((finding.reason, finding.message.replace(server.endpoint, "")))
    assert CANARY not in caplog.text
    assert len(told) == 4  # refused, denied, missing, failed: not one for each status


async def test_a_code_that_s3_knows_is_told() -> None:
    error = b"<Error><Code>SignatureDoesNotMatch</Code><Message>no</Message></Error>"
    finding, _ = await look(found_then(answering("403 Forbidden", error)))
    assert finding is not None
    assert finding.reason == "StorageDenied"
    assert finding.message == (
        "spec.model.uri: s3://bucket/model: access denied (SignatureDoesNotMatch)"
    )


@pytest.mark.parametrize("status", ["301 Moved", "302 Found", "307 Temporary", "308 Permanent"])
async def test_redirects_are_told_and_not_followed(status: str) -> None:
    with serving(answering("200 OK")) as other:
        for location, words in (
            (f"{other.endpoint}/x", "redirects to another address"),
            ("https://store.example/x", "redirects to https://"),
        ):
            elsewhere = answering(status, Location=location, X_Amz_Bucket_Region="eu-evil-1")
            finding, server = await look(elsewhere)
            assert finding is not None
            assert finding.reason == "StorageUnreachable"
            assert words in finding.message
            assert len(server.heads) == 1
    assert other.heads == []


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "2130706433", "[::ffff:127.0.0.1]"])
async def test_this_machine_is_refused_by_default_and_sees_no_request(host: str) -> None:
    with serving(answering("200 OK")) as server:
        job = a_job(f"http://{host}:{server.port}/latest/meta-data")
        finding = await preflight(settings=LookUps()).check(job)
    assert finding is not None
    assert finding.reason in {"PolicyRefused", "StorageUnreachable"}  # botocore knows fewer
    assert server.heads == []


async def test_the_api_server_is_refused() -> None:
    with serving(answering("200 OK")) as server:
        look_up = preflight(settings=HERE, reserved=["127.0.0.1"])
        assert await look_up.check(a_job(server.endpoint)) is None  # as the administrator says
        elsewhere = preflight(settings=LookUps(), reserved=["10.96.0.1"])
        finding = await elsewhere.check(a_job("https://10.96.0.1"))
    assert finding is not None
    assert finding.reason == "PolicyRefused"
    assert "API server" in finding.message


@pytest.mark.parametrize(
    ("server", "told"),
    [("https://10.96.0.1:443", "10.96.0.1"), ("https://[fd12::1]:443", "fd12::1")],
)
def test_the_operator_knows_where_the_api_server_is(
    server: str, told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    assert own_addresses(server) == [told]
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.96.0.9")
    assert own_addresses("http://localhost") == ["localhost", "10.96.0.9"]


async def test_a_store_that_says_nothing_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bounded_http, "_READ_SECONDS", 0.2)
    finding, server = await look(lambda one: one.wait_for_end())
    assert finding is not None
    assert finding.reason == "StorageUnreachable"
    assert "in time" in finding.message
    server.wait_for_ends(2)
    assert server.lines == ["HEAD /bucket"] * 2


async def test_a_look_that_cannot_be_ended_is_not_waited_for() -> None:
    """A resolver knows no deadline."""
    let_go = threading.Event()

    def resolve(*_: Any, **__: Any) -> list[tuple[Any, ...]]:
        let_go.wait(600)
        return []

    finding = await preflight(seconds=0.2, resolve=resolve).check(a_job("http://a.example"))
    let_go.set()
    assert finding is not None
    assert (finding.reason, "in time" in finding.message) == ("StorageUnreachable", True)


def looking_for(namespace: str) -> int:
    names = [thread.name for thread in threading.enumerate()]
    return names.count(f"look-up for {namespace}")


async def test_a_namespace_takes_its_share_of_threads_and_no_other_waits_for_it() -> None:
    """Twenty looks that do not end, and one of somebody else."""
    silent, let_go = threading.Semaphore(0), threading.Event()

    def say_nothing(_: Connection) -> None:
        silent.release()
        let_go.wait(600)

    settings = HERE.model_copy(update={"threads": 4, "threads_per_namespace": 2})
    with serving(say_nothing) as bad, serving(answering("200 OK")) as good:
        checker = preflight(settings=settings)
        looks = [
            asyncio.create_task(checker.check(a_job(bad.endpoint, namespace="tenant-a")))
            for _ in range(20)
        ]
        for _ in range(2):
            assert await asyncio.to_thread(silent.acquire, timeout=600)
        assert await checker.check(a_job(good.endpoint, namespace="tenant-b")) is None
        assert looking_for("tenant-a") == 2
        assert len(bad.heads) == 2
        for task in looks:
            task.cancel()  # the jobs are deleted: the threads are still busy, and so is the share
        await asyncio.gather(*looks, return_exceptions=True)
        late = asyncio.create_task(checker.check(a_job(bad.endpoint, namespace="tenant-a")))
        assert await checker.check(a_job(good.endpoint, namespace="tenant-b")) is None
        assert looking_for("tenant-a") == 2
        let_go.set()
        assert await late is not None


@pytest.mark.parametrize(
    ("secret", "reason", "words"),
    [
        ({"AWS_SESSION_TOKEN": f"{CANARY}\n"}, "SecretIncomplete", "ends with a line break"),
        ({"AWS_ACCESS_KEY_ID": f"{CANARY}\r\n"}, "SecretIncomplete", "AWS_ACCESS_KEY_ID"),
        ({"AWS_SECRET_ACCESS_KEY": f" {CANARY}"}, "SecretIncomplete", "what no key holds"),
        ({"AWS_SESSION_TOKEN": f"{CANARY}\x00"}, "SecretIncomplete", "AWS_SESSION_TOKEN"),
        ({"AWS_SESSION_TOKEN": f"{CANARY}é"}, "SecretIncomplete", "AWS_SESSION_TOKEN"),
        ({"AWS_SECRET_ACCESS_KEY": ""}, "SecretIncomplete", "lacks AWS_SECRET_ACCESS_KEY"),
        ({"type": "kubernetes.io/service-account-token"}, "PolicyRefused", "token"),
    ],
)
async def test_no_value_of_a_secret_is_told(
    secret: dict[str, str], reason: str, words: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "mmrlhf_operator")
    with serving(answering("200 OK")) as server:
        secrets = Secrets({"s3": {**KEYS, **secret}})
        finding = await preflight(secrets).check(a_job(server.endpoint))
    assert finding is not None
    assert finding.reason == reason
    assert words in finding.message
    assert "spec.artifacts.credentialsSecret: Secret s3" in finding.message
    assert CANARY not in finding.message + caplog.text
    assert server.heads == []


@pytest.mark.parametrize("text", [CANARY, "-----BEGIN CERTIFICATE-----\n" + CANARY, "\x00"])
async def test_an_authority_that_is_none_is_told_without_its_text(text: str) -> None:
    job = a_job("https://127.0.0.1:1", secret=None, artifacts__caSecret="ca")
    finding = await preflight(Secrets({"ca": {"ca.crt": text}})).check(job)
    assert finding is not None
    assert finding.reason == "SecretIncomplete"
    assert "no certificate in PEM" in finding.message
    assert CANARY not in finding.message


async def test_secrets_that_may_not_be_read_are_left_to_the_job() -> None:
    with serving(answering("403 Forbidden")) as server:
        assert await preflight(Secrets(refuses=403)).check(a_job(server.endpoint)) is None
    assert server.heads == []
    with pytest.raises(ServerError):
        await preflight(Secrets(refuses=500)).check(a_job(server.endpoint))


def by_prefix(connection: Connection) -> None:
    """A store whose keys are for one prefix of a bucket alone."""
    method, target = connection.head.split(" ")[:2]
    if method == "GET" and "prefix=runs%2F" in target:
        answering("200 OK", b"<ListBucketResult></ListBucketResult>")(connection)
    elif method == "HEAD" and target.count("/") > 1:
        answering("200 OK")(connection)
    else:
        answering("403 Forbidden")(connection)


async def test_keys_that_are_for_a_prefix_are_as_good() -> None:
    finding, server = await look(by_prefix)
    assert finding is None
    assert server.lines[:1] == ["HEAD /bucket"]
    assert "prefix=runs%2F" in server.lines[1]


async def test_what_is_denied_to_keys_beside_which_a_job_has_others_is_left_to_the_job() -> None:
    with serving(answering("403 Forbidden")) as server:
        for name in ("AWS_PROFILE", "AWS_WEB_IDENTITY_TOKEN_FILE"):
            env = [{"name": name, "value": "team"}]
            job = a_job(server.endpoint, podTemplate={"env": env})
            assert await preflight().check(job) is None


async def test_what_is_denied_to_a_job_without_keys_is_left_to_the_job() -> None:
    """It may have the role of a cloud, which the operator has not."""
    with serving(answering("403 Forbidden")) as server:
        assert await preflight().check(a_job(server.endpoint, secret=None)) is None
        finding = await preflight().check(a_job(server.endpoint))
    assert not any("Authorization" in head for head in server.heads[:1])
    assert finding is not None
    assert finding.reason == "StorageDenied"


@pytest.mark.parametrize(
    "changes",
    [
        {"artifacts__endpoint": "http://a:99999"},
        {"artifacts__endpoint": "http://exa_mple..org"},
        {"artifacts__region": "no/region"},
        {"artifacts__region": "x.evil.example#"},
        {"artifacts__uri": "s3://B_a!d/x"},
    ],
)
async def test_what_an_s3_client_does_not_take_is_told(changes: dict[str, Any]) -> None:
    try:
        job = a_job("http://127.0.0.1:9", **changes)
    except Exception:  # noqa: BLE001 - the types refuse it already
        return
    finding = await preflight().check(job)
    assert finding is not None
    assert finding.reason == "StorageUnreachable"
