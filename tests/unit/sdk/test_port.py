"""The port of a local run stays its own from when it is chosen to when torchrun listens."""

from __future__ import annotations

import errno
import socket

import pytest
from torch.distributed import TCPStore  # type: ignore[attr-defined]

from mmrlhf.local.port import hold_port

ADDRESSES = ["0.0.0.0", "127.0.0.1", *(["::1"] if socket.has_dualstack_ipv6() else [])]


@pytest.mark.parametrize("address", ADDRESSES)
def test_nobody_else_gets_the_port(address: str) -> None:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with (
        hold_port() as port,
        socket.socket(family) as other,
        pytest.raises(OSError, match="in use") as told,
    ):
        other.bind((address, port))
    assert told.value.errno == errno.EADDRINUSE


def test_the_store_of_torchrun_listens_on_the_port_and_answers() -> None:
    with hold_port() as port, hold_port() as another:
        assert port != another
        served = TCPStore("127.0.0.1", port, 1, is_master=True)
        served.set("key", "value")
        assert TCPStore("127.0.0.1", port, 1, is_master=False).get("key") == b"value"
