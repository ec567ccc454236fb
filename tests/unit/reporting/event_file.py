"""Reads TensorBoard's event files by their published format, checking every check sum.

https://www.tensorflow.org/tutorials/load_data/tfrecord: length, its CRC, data, its CRC; the CRC is
that of Castagnoli (RFC 3720, B.4), rotated by 15 bits and moved by a constant.
"""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

__all__ = ["read_events", "read_scalars"]


def _masked_crc(data: bytes) -> int:
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = (crc >> 1) ^ (0x82F63B78 if crc & 1 else 0)
    crc ^= 0xFFFFFFFF
    return (((crc >> 15) | (crc << 17)) + 0xA282EAD8) & 0xFFFFFFFF


def read_events(path: Path) -> list[Any]:
    """All events of a file."""
    from tensorboardX.proto import event_pb2

    content, place, events = path.read_bytes(), 0, []
    while place < len(content):
        header = content[place : place + 8]
        (length,) = struct.unpack("<Q", header)
        data = content[place + 12 : place + 12 + length]
        sums = content[place + 8 : place + 12] + content[place + 12 + length :][:4]
        assert struct.unpack("<II", sums) == (_masked_crc(header), _masked_crc(data))
        events.append(event_pb2.Event.FromString(data))
        place += 16 + length
    return events


def read_scalars(path: Path) -> list[tuple[int, dict[str, float]]]:
    """Step and figures of each event that has any."""
    return [
        (event.step, {value.tag: value.simple_value for value in event.summary.value})
        for event in read_events(path)
        if event.HasField("summary")
    ]
