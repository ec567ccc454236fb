"""Requests to servers that send too much, too slowly, or from elsewhere."""

from __future__ import annotations

import gzip
import socket
import ssl
import threading
from typing import Any

import pytest

from mmrlhf_operator.acting.addresses import AddressRule
from mmrlhf_operator.acting.bounded_http import BoundedHttp
from mmrlhf_operator.acting.outcomes import LookUpError, Outcome
from tests.patience import PATIENCE
from tests.ports import free_port
from tests.unit.operator.strange_servers import MIB, Connection, answering, serving

MOST = 65536
HERE = AddressRule.of(allowed=["127.0.0.0/8", "::1/128"])
OK = b"HTTP/1.1 200 OK\r\n"


def client(**parts: Any) -> BoundedHttp:
    settings: dict[str, Any] = {"seconds": 60.0, "answer_bytes": MOST, "rule": HERE}
    return BoundedHttp(tls=no_tls, **{**settings, **parts})


def no_tls() -> ssl.SSLContext:
    raise AssertionError("no https here")


def outcome(http: BoundedHttp, url: str, method: str = "GET") -> Outcome:
    with pytest.raises(LookUpError) as caught:
        http.send(method, url, {})
    return caught.value.outcome


def endless_headers(connection: Connection) -> None:
    connection.send(OK)
    connection.flood(b"X-More: " + b"x" * 1000 + b"\r\n")


def one_long_header(connection: Connection) -> None:
    connection.send(OK + b"X-More: ")
    connection.flood(b"x" * 4096)


def endless_status(connection: Connection) -> None:
    connection.flood(b"HTTP/1.1 " * 500)


def endless_continue(connection: Connection) -> None:
    connection.flood(b"HTTP/1.1 100 Continue\r\n\r\n" * 100)


def endless_chunks(connection: Connection) -> None:
    connection.send(OK + b"Transfer-Encoding: chunked\r\n\r\n")
    connection.flood(b"10000\r\n" + b"x" * 65536 + b"\r\n")


def endless_crumbs(connection: Connection) -> None:
    connection.send(OK + b"Transfer-Encoding: chunked\r\n\r\n")
    connection.flood(b"1\r\nx\r\n" * 1000)


def endless_chunk_extension(connection: Connection) -> None:
    connection.send(OK + b"Transfer-Encoding: chunked\r\n\r\n1;")
    connection.flood(b"x" * 4096)


def one_huge_chunk(connection: Connection) -> None:
    connection.send(OK + b"Transfer-Encoding: chunked\r\n\r\nffffffffffff\r\n")
    connection.flood(b"x" * 65536)


def endless_trailers(connection: Connection) -> None:
    connection.send(OK + b"Transfer-Encoding: chunked\r\n\r\n0\r\n")
    connection.flood(b"X-More: y\r\n" * 1000)


def huge_length(connection: Connection) -> None:
    connection.send(OK + b"Content-Length: 99999999999999\r\n\r\n")
    connection.flood(b"x" * 65536)


def no_length(connection: Connection) -> None:
    connection.send(OK + b"\r\n")
    connection.flood(b"x" * 65536)


@pytest.mark.parametrize(
    "answer",
    [
        endless_headers,
        one_long_header,
        endless_status,
        endless_continue,
        endless_chunks,
        endless_crumbs,
        endless_chunk_extension,
        one_huge_chunk,
        endless_trailers,
        huge_length,
        no_length,
    ],
    ids=lambda answer: answer.__name__,
)
def test_an_answer_is_cut_whatever_it_goes_on_with(answer: Any) -> None:
    with serving(answer) as server:
        found = outcome(client(), server.endpoint)
        server.wait_for_ends()
        assert found in {Outcome.TOO_LONG, Outcome.NO_HTTP}
        assert server.sent < 32 * MIB  # what the buffers of two kernels hold, not the gigabyte


@pytest.mark.parametrize("length", [2**40, 2**62])
def test_no_memory_is_taken_for_a_length_that_a_server_gives(length: int) -> None:
    def answer(connection: Connection) -> None:
        connection.send(OK + f"Content-Length: {length}\r\n\r\nx".encode())

    with serving(answer) as server:
        assert outcome(client(), server.endpoint) is Outcome.NO_HTTP  # it broke off


def test_an_answer_within_bounds_is_given_as_it_came() -> None:
    body = gzip.compress(bytes(32 * MIB))
    assert len(body) < MOST
    with serving(answering("200 OK", body, Content_Encoding="gzip", ETag="e")) as server:
        answer = client().send("GET", f"{server.endpoint}/a%20b?c=d", {"X-Ours": b"yes"})
    assert answer.body == body  # a bomb stays as small as it was sent
    assert (answer.status, dict(answer.headers)["ETag"]) == (200, "e")
    (head,) = server.heads
    assert head.startswith("GET /a%20b?c=d HTTP/1.1\r\n")
    assert f"Host: 127.0.0.1:{server.port}\r\n" in head
    assert "X-Ours: yes\r\n" in head
    assert "Accept-Encoding: identity\r\n" in head


def test_ipv6_is_spoken_too() -> None:
    with serving(answering("204 No Content"), host="::1") as server:
        assert client().send("GET", server.endpoint, {}).status == 204
    assert f"Host: [::1]:{server.port}\r\n" in server.heads[0]


def test_a_head_has_no_body() -> None:
    with serving(lambda one: one.send(OK + b"Content-Length: 99999\r\n\r\n")) as server:
        answer = client().send("HEAD", server.endpoint, {})
    assert (answer.status, answer.body) == (200, b"")


@pytest.mark.parametrize("begin", [b"", b"HTTP/1.1 200 OK\r\nX-A: ", OK + b"\r\n"])
def test_a_server_that_drips_has_one_deadline_for_all_it_sends(begin: bytes) -> None:
    """Each look at the clock is a second later, and lets one byte through."""
    drops, now = threading.Semaphore(0), [0.0]

    def clock() -> float:
        now[0] += 1.0
        drops.release()
        return now[0]

    def answer(connection: Connection) -> None:
        connection.inner.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.send(begin)
        while drops.acquire(timeout=60 * PATIENCE):
            connection.send(b"x")

    with serving(answer) as server:
        assert outcome(client(seconds=30.0, clock=clock), server.endpoint) is Outcome.SLOW
        assert now[0] <= 32
        assert server.sent <= len(begin) + 34


def test_a_server_that_says_nothing_is_left_when_the_time_is_over() -> None:
    now = [0.0]  # it stands while the request is made, however busy the machine
    with serving(lambda one: one.wait_for_end()) as server:
        http = client(seconds=0.5, clock=lambda: now[0])
        assert outcome(http, server.endpoint) is Outcome.SLOW
        server.wait_for_ends()  # the connection is closed, not left to the garbage collector
        now[0] = 0.5
        assert outcome(http, server.endpoint) is Outcome.SLOW
        assert len(server.heads) == 1  # no request after the deadline


@pytest.mark.parametrize(
    "text", ["SSH-2.0-OpenSSH\r\n", "<html>\r\n\r\n", "HTTP/1.1 abc OK\r\n\r\n", "", "\r\n" * 9]
)
def test_what_is_no_http_is_told_in_words_of_ours(text: str) -> None:
    with (
        serving(lambda one: one.send(text.encode())) as server,
        pytest.raises(LookUpError) as caught,
    ):
        client().send("GET", server.endpoint, {})
    assert caught.value.outcome in {Outcome.NO_HTTP, Outcome.NO_CONNECTION}
    assert not text.strip() or text.strip() not in str(caught.value)


def test_a_header_that_cannot_be_sent_is_not_repeated() -> None:
    with serving(answering("200 OK")) as server, pytest.raises(LookUpError) as caught:
        client().send("GET", server.endpoint, {"X-Token": "CANARY\n"})
    assert "CANARY" not in str(caught.value)
    assert server.heads in ([], [""])


def test_a_closed_port_and_an_unknown_name() -> None:
    assert outcome(client(), f"http://127.0.0.1:{free_port()}") is Outcome.NO_CONNECTION

    def unknown(*_: Any, **__: Any) -> list[tuple[Any, ...]]:
        raise socket.gaierror(-2, "Name or service not known")

    assert outcome(client(resolve=unknown), "http://store.invalid") is Outcome.NO_ADDRESS
    assert outcome(client(), f"http://{'a' * 64}.invalid") is Outcome.NO_ADDRESS


@pytest.mark.parametrize("url", ["ftp://a", "http://", "http://a:99999", "http://[::1", "a"])
def test_addresses_that_are_none(url: str) -> None:
    assert outcome(client(), url) is Outcome.UNNAMEABLE


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "2130706433", "[::ffff:127.0.0.1]"])
def test_this_machine_is_not_asked_unless_that_is_allowed(host: str) -> None:
    with serving(answering("200 OK")) as server:
        http = client(rule=AddressRule())
        assert outcome(http, f"http://{host}:{server.port}") is Outcome.FORBIDDEN
    assert server.heads == []


def test_a_name_that_means_another_address_the_second_time_is_judged_again() -> None:
    """DNS rebinding: what is judged is what is connected to."""
    asked: list[str] = []

    def resolve(host: str, port: int, **_: Any) -> list[tuple[Any, ...]]:
        asked.append(host)
        address = "127.0.0.1" if len(asked) == 1 else "127.6.6.6"
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port))]

    with serving(answering("200 OK")) as server:
        http = client(resolve=resolve, rule=AddressRule.of(allowed=["127.0.0.1/32"]))
        url = f"http://rebinding.example:{server.port}"
        assert http.send("GET", url, {}).status == 200
        assert outcome(http, url) is Outcome.FORBIDDEN
    assert asked == ["rebinding.example"] * 2  # once a request, and not again to connect
    assert len(server.heads) == 1


def test_one_address_that_is_not_asked_refuses_a_name_whole() -> None:
    def resolve(_: str, port: int, **__: Any) -> list[tuple[Any, ...]]:
        return [
            (socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port))
            for address in ("127.0.0.1", "169.254.169.254")
        ]

    with serving(answering("200 OK")) as server:
        http = client(resolve=resolve)
        assert outcome(http, f"http://a.example:{server.port}") is Outcome.FORBIDDEN
    assert server.heads == []


def test_redirects_are_answers_and_are_not_followed() -> None:
    with serving(answering("200 OK")) as other:
        redirect = answering("302 Found", Location=f"{other.endpoint}/there")
        with serving(redirect) as server:
            answer = client().send("GET", server.endpoint, {})
    assert answer.status == 302
    assert other.heads == []


def test_proxies_of_the_environment_are_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(answering("502 Bad Gateway")) as proxy, serving(answering("200 OK")) as server:
        for name in ("http_proxy", "HTTP_PROXY", "all_proxy"):
            monkeypatch.setenv(name, proxy.endpoint)
        assert client().send("GET", server.endpoint, {}).status == 200
    assert proxy.heads == []
