"""The ways to a server, straight and by a proxy: what they do is the same."""

from __future__ import annotations

import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from typing import Any

import pytest

from mmrlhf.client.access import Access, Tls
from mmrlhf.client.cluster import Cluster
from mmrlhf.client.credentials import Credential, Credentials, Fixed, Renewed
from mmrlhf.errors import UnreachableError, UsageError
from tests.cluster.certificates import Authority, Pair
from tests.patience import PATIENCE
from tests.unit.sdk.scripted_server import END, WHOLE, ScriptedServer, Tunnel

Reach = Callable[..., Cluster]
THING = {"kind": "Thing"}
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
REFUSED = b'HTTP/1.1 401 Unauthorized\r\nContent-Length: 18\r\n\r\n{"kind": "Status"}'


@pytest.fixture(params=["straight", "by a proxy"])
def reach(request: pytest.FixtureRequest) -> Iterator[Reach]:
    """Make a client of a server."""
    with ExitStack() as stack:

        def reach(
            server: ScriptedServer,
            *,
            tls: Tls | None = None,
            credentials: Credentials | None = None,
            below: str = "",
            seconds: float | None = None,
            acting: tuple[tuple[str, str], ...] = (),
        ) -> Cluster:
            proxy, address = None, server.address
            if request.param == "by a proxy":
                proxy = address
                if address.startswith("https:"):
                    proxy = stack.enter_context(Tunnel(server.port)).address
            return Cluster(
                Access(
                    server=address + below,
                    tls=tls or Tls(),
                    credentials=credentials or Fixed(Credential()),
                    proxy=proxy,
                    namespace="default",
                    context=None,
                    user=None,
                    acting=acting,
                ),
                request_timeout=seconds,
            )

        yield reach


def test_a_connection_serves_one_request_after_another(reach: Reach) -> None:
    with ScriptedServer() as server:
        cluster = reach(server)
        assert [cluster.get("/version") for _ in range(3)] == [THING] * 3
        assert list(cluster.lines("/log", query={})) == [b'{"kind": "Thing"}']
        assert cluster.get("/version") == THING
        assert server.connections == 1


def test_names_and_tokens_are_sent_in_utf_8(reach: Reach) -> None:
    """As client-go sends them; the libraries here know latin-1 alone."""
    shown = Fixed(Credential(authorization="Bearer \u00fc\u20ac"))
    with ScriptedServer() as server:
        cluster = reach(server, credentials=shown, acting=(("Impersonate-User", "\u017d\u00e9"),))
        assert cluster.get("/version") == THING
        assert "Authorization: Bearer \u00fc\u20ac\r\n" in server.heads[0]
        assert "Impersonate-User: \u017d\u00e9\r\n" in server.heads[0]


def test_one_that_the_server_has_closed_meanwhile_is_made_anew(reach: Reach) -> None:
    closing = WHOLE.replace(b"OK\r\n", b"OK\r\nConnection: close\r\n")
    with ScriptedServer([(WHOLE, END), (closing,)]) as server:
        cluster = reach(server)
        assert cluster.get("/version") == THING
        assert server.ended.acquire(timeout=60 * PATIENCE)
        assert cluster.get("/version") == THING
        assert cluster.get("/version") == THING
        assert server.connections == 3


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        ((END,), "it has closed the connection without an answer"),
        ((WHOLE[:-5], END), "its answer breaks off"),
        ((CHUNKED + b"5\r\n{}", END), "its answer breaks off"),
        ((CHUNKED + b"2\r\n{}\r\n", END), "its answer breaks off|Response ended prematurely"),
        ((b"SSH-2.0-OpenSSH\r\n", END), "SSH-2.0-OpenSSH"),
    ],
)
@pytest.mark.parametrize("streamed", [False, True])
def test_an_answer_that_breaks_off_is_none(
    reach: Reach, answer: tuple[bytes, ...], told: str, streamed: bool
) -> None:
    with ScriptedServer([answer]) as server:
        cluster = reach(server)
        with pytest.raises(UnreachableError, match=f"^cannot reach .*: .*({told})"):
            list(cluster.lines("/log", query={})) if streamed else cluster.get("/version")
        assert cluster.get("/version") == THING


def test_a_server_that_says_nothing_is_given_up(reach: Reach) -> None:
    with ScriptedServer([(b"HTTP/1.1 200 OK\r\n", WHOLE)]) as server:
        cluster = reach(server, seconds=0.2)
        with pytest.raises(UnreachableError, match="it does not answer in time"):
            cluster.get("/version")


def test_a_log_may_be_silent_for_longer_than_a_request_may_take(reach: Reach) -> None:
    with ScriptedServer([(CHUNKED + b"4\r\none\n\r\n", b"4\r\ntwo\n\r\n0\r\n\r\n")]) as server:
        lines = reach(server, seconds=0.1).lines("/log", query={})
        assert next(lines) == b"one\n"
        later = threading.Timer(0.5, server.go_on.release)
        later.start()
        assert next(lines) == b"two\n"
        later.join()


def test_lines_come_as_they_are_written(reach: Reach) -> None:
    with ScriptedServer(
        [(CHUNKED + b"6\r\none\ntw\r\n", b"2\r\no\n\r\n5\r\nthree\r\n0\r\n\r\n")]
    ) as server:
        cluster = reach(server)
        lines = cluster.lines("/log", query={})
        assert next(lines) == b"one\n"
        server.go_on.release()
        assert list(lines) == [b"two\n", b"three"]
        assert cluster.get("/version") == THING
        assert server.connections == 1


def test_who_has_read_enough_leaves_the_connection(reach: Reach) -> None:
    with ScriptedServer([(CHUNKED + b"4\r\none\n\r\n", b"4\r\ntwo\n\r\n")]) as server:
        cluster = reach(server)
        lines = cluster.lines("/log", query={})
        assert next(lines) == b"one\n"
        lines.close()  # type: ignore[attr-defined]
        assert cluster.get("/version") == THING
        assert server.connections == 2


def test_a_server_may_be_below_another_path(reach: Reach) -> None:
    with ScriptedServer() as server:
        cluster = reach(server, below="/k8s/clusters/c-1")
        cluster.list("/apis/x", query={"labelSelector": "a=b c"})
        target = server.heads[-1].split(" ")[1].removeprefix(server.address)
        assert target == "/k8s/clusters/c-1/apis/x?limit=500&labelSelector=a%3Db+c"


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    made = Authority(tmp_path_factory.mktemp("authority"))
    made.create()
    return made


@pytest.fixture(scope="module")
def identity(authority: Authority) -> Pair:
    """What the server of these tests shows."""
    return authority.server("k8s.test", names=["k8s.test"], addresses=["127.0.0.1"])


def serving(identity: Pair, authority: Authority) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(identity.certificate, identity.key)
    context.load_verify_locations(authority.pair.certificate)
    context.verify_mode = ssl.CERT_OPTIONAL
    return context


@pytest.mark.filterwarnings("ignore::urllib3.exceptions.InsecureRequestWarning")
@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({}, None),
        ({"server_name": "k8s.test"}, None),
        ({"server_name": "other.test"}, "certificate verify failed: Hostname mismatch"),
        ({"ca": None}, "certificate verify failed: "),
        ({"ca": None, "verify": False}, None),
        ({"ca": None, "verify": False, "server_name": "other.test"}, None),
    ],
    ids=str,
)
def test_who_the_server_is_is_checked(
    reach: Reach,
    authority: Authority,
    identity: Pair,
    changes: dict[str, Any],
    told: str | None,
) -> None:
    tls = replace(Tls(ca=authority.pair.certificate.read_bytes()), **changes)
    with ScriptedServer(tls=serving(identity, authority)) as server:
        cluster = reach(server, tls=tls)
        if told is None:
            assert cluster.get("/version") == THING
            return
        with pytest.raises(UnreachableError, match=told):
            cluster.get("/version")
        assert server.heads == []


def test_a_client_shows_its_certificate_and_one_that_is_renewed(
    reach: Reach, authority: Authority, identity: Pair
) -> None:
    def certificate(user: str) -> Credential:
        pair = authority.client(user, user=user)
        return Credential(certificate=pair.certificate.read_bytes(), key=pair.key.read_bytes())

    made = iter([certificate("jane"), certificate("ann")])
    tls = Tls(ca=authority.pair.certificate.read_bytes())
    with ScriptedServer([(WHOLE,), (REFUSED,)], tls=serving(identity, authority)) as server:
        cluster = reach(server, tls=tls, credentials=Renewed(lambda: next(made)))
        assert [cluster.get("/version") for _ in range(3)] == [THING] * 3
        assert server.subjects == [((("commonName", name),),) for name in ("jane", "ann")]


@pytest.mark.parametrize(
    ("server", "told"),
    [
        ("ftp://127.0.0.1", "server ftp://127.0.0.1: its scheme must be http or https"),
        ("https://127.0.0.1:port", "server https://127.0.0.1:port: "),
        ("https://", "server https://: names no host"),
    ],
)
def test_an_address_that_is_none(server: str, told: str) -> None:
    access = Access(
        server=server,
        tls=Tls(),
        credentials=Fixed(Credential()),
        proxy=None,
        namespace="default",
        context=None,
        user=None,
    )
    with pytest.raises(UsageError, match=f"^{told}"):
        Cluster(access).get("/version")


@pytest.mark.parametrize(
    "name",
    [
        "no.invalid",
        "b\N{LATIN SMALL LETTER U WITH DIAERESIS}.invalid",
        "\N{LATIN SMALL LETTER U WITH DIAERESIS}..b",
    ],
)
def test_a_name_that_nobody_has(name: str) -> None:
    access = Access(
        server=f"http://{name}",
        tls=Tls(),
        credentials=Fixed(Credential()),
        proxy=None,
        namespace="default",
        context=None,
        user=None,
    )
    with pytest.raises(UnreachableError, match="its name does not resolve"):
        Cluster(access).get("/version")
