"""Which addresses the operator asks on behalf of a job, in whatever notation."""

from __future__ import annotations

import ipaddress
import socket

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmrlhf_operator.acting.addresses import AddressRule

REFUSED = [
    "127.0.0.1",
    "127.255.3.4",
    "0.0.0.0",
    "0.1.2.3",
    "169.254.169.254",
    "169.254.0.1",
    "224.0.0.1",
    "255.255.255.255",
    "100.100.100.200",
    "168.63.129.16",
    "192.0.0.192",
    "::",
    "::1",
    "fe80::1",
    "fe80::1%eth0",
    "febf::1",
    "ff02::1",
    "fd00:ec2::254",
    "fd20:ce::254",
    "::ffff:127.0.0.1",
    "::ffff:a9fe:a9fe",
    "::127.0.0.1",
    "::ffff:0:169.254.169.254",
    "64:ff9b::169.254.169.254",
    "64:ff9b::7f00:1",
    "2002:7f00:1::",
    "2002:a9fe:a9fe::1",
    "no address",
    "",
]
ASKED = [
    "10.96.0.17",
    "172.16.3.4",
    "192.168.1.1",
    "100.64.0.1",
    "8.8.8.8",
    "169.253.255.255",
    "128.0.0.1",
    "2001:db8::1",
    "fd12:3456::1",
    "::ffff:10.1.2.3",
    "64:ff9b::8.8.8.8",
    "2002:808:808::1",
]


@pytest.mark.parametrize("address", REFUSED)
def test_addresses_of_the_machine_and_the_cloud_are_not_asked(address: str) -> None:
    assert not AddressRule().permits(address)


@pytest.mark.parametrize("address", ASKED)
def test_addresses_where_stores_are_may_be_asked(address: str) -> None:
    assert AddressRule().permits(address)


@pytest.mark.parametrize("address", ["10.96.0.1", "::ffff:10.96.0.1", "64:ff9b::10.96.0.1"])
def test_the_api_server_is_not_asked(address: str) -> None:
    rule = AddressRule.of(reserved=["10.96.0.1", "kubernetes.default.svc"])
    assert not rule.permits(address)
    assert rule.permits("10.96.0.2")
    assert not AddressRule.of(reserved=["::ffff:10.96.0.1"]).permits("10.96.0.1")
    assert not AddressRule.of(reserved=["[fd12::1]"]).permits("fd12::1")


def test_the_administrator_may_allow_a_network() -> None:
    rule = AddressRule.of(allowed=["127.0.0.0/8", "fe80::/10"], reserved=["127.0.0.1"])
    assert rule.permits("127.0.0.1")
    assert rule.permits("::ffff:127.0.0.1")
    assert rule.permits("fe80::1%eth0")
    assert not rule.permits("::1")
    assert not rule.permits("169.254.169.254")


@given(st.ip_addresses(v=4, network="127.0.0.0/8") | st.ip_addresses(v=4, network="169.254.0.0/16"))
def test_no_notation_within_ipv6_hides_an_address(address: ipaddress.IPv4Address) -> None:
    number, rule = int(address), AddressRule()
    for prefix, behind in (
        (0, 0),
        (0xFFFF << 32, 0),
        (0xFFFF << 48, 0),
        (0x64FF9B << 96, 0),
        (0x2002 << 112, 80),
    ):
        assert not rule.permits(str(ipaddress.IPv6Address(prefix | number << behind)))


@pytest.mark.parametrize("host", ["2130706433", "0x7f000001", "0177.0.0.1", "127.1", "localhost"])
def test_what_the_resolver_makes_of_a_name_is_what_is_judged(host: str) -> None:
    found = socket.getaddrinfo(host, 80, type=socket.SOCK_STREAM)
    assert found
    assert not any(AddressRule().permits(str(entry[4][0])) for entry in found)
