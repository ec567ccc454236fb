"""Which interface leads to the other processes of a job."""

from __future__ import annotations

import socket

import psutil
import pytest

from mmrlhf_jobs.process.network import find_interface

INTERFACES = {
    "lo": ["127.0.0.1", "::1"],
    "eth0": ["10.0.0.7", "fe80::1%eth0"],
    "net1": ["192.168.3.4", "fd00::7"],
}


@pytest.mark.parametrize(
    ("host", "own", "expected"),
    [
        # As Debian's installer writes it: nobody else reaches what listens there.
        ("127.0.1.1", "10.0.0.7", "eth0"),
        ("127.0.0.1", "192.168.3.4", "net1"),
        ("::1", "fd00::7", "net1"),
        # A pod: its name has its address.
        ("10.0.0.7", "10.0.0.7", None),
        # Another network than that of node 0 is a choice of whoever named the host.
        ("192.168.3.4", "10.0.0.7", None),
        # All processes on one machine.
        ("127.0.1.1", "127.0.0.1", None),
        ("::1", "::1", None),
        # Nothing is known.
        (None, "10.0.0.7", None),
        ("127.0.1.1", None, None),
        ("127.0.1.1", "10.9.9.9", None),
    ],
)
def test_the_interface_is_named_where_the_name_of_the_host_leads_nowhere(
    host: str | None, own: str | None, expected: str | None
) -> None:
    asked = []

    def way(to: str) -> str | None:
        asked.append(to)
        return own

    found = find_interface("node-0", host=lambda: host, way=way, interfaces=lambda: INTERFACES)
    assert found == expected
    assert asked == ["node-0"]


def test_of_this_machine_it_is_what_the_system_says(monkeypatch: pytest.MonkeyPatch) -> None:
    assert find_interface("127.0.0.1") is None
    assert find_interface("no such name") is None
    monkeypatch.setattr(socket, "gethostname", lambda: "localhost")
    for name, addresses in psutil.net_if_addrs().items():
        for one in addresses:
            if one.family == socket.AF_INET and not one.address.startswith("127."):
                assert find_interface(one.address) == name
