"""The container of a video, told by its first bytes before FFmpeg sees them.

FFmpeg's own probing takes text for lists of files (ffconcat, HLS, DASH), for descriptions of
network streams (SDP) and for pictures of itself (tty), and opens what they name. Here a file is
handed to the one demuxer that its signature asks for, or to none
(https://ffmpeg.org/ffmpeg-formats.html).
"""

from __future__ import annotations

from typing import Final

__all__ = ["CONTAINERS", "container_of"]

_MOV_ATOMS: Final = (b"ftyp", b"moov", b"mdat", b"free", b"skip", b"wide", b"pnot", b"styp")

_STARTS: Final = (
    (b"\x1a\x45\xdf\xa3", "matroska"),  # EBML: Matroska and WebM
    (b"OggS", "ogg"),
    (b"FLV\x01", "flv"),
    (b"\x00\x00\x01\xba", "mpeg"),  # program stream
    (b"\x00\x00\x01\xb3", "mpegvideo"),  # elementary stream
    (bytes.fromhex("3026b2758e66cf11a6d900aa0062ce6c"), "asf"),  # WMV too
    (b"GIF87a", "gif"),
    (b"GIF89a", "gif"),
)

_RIFF_KINDS: Final = {
    b"AMV ": "avi",
    b"AVI ": "avi",
    b"AVIX": "avi",
    b"AVI\x19": "avi",
    b"WEBP": "webp_pipe",
}

# (bytes of a packet, where its sync byte is): plain, with time codes (M2TS), with error correction
_TS_PACKETS: Final = ((188, 0), (192, 4), (204, 0))
_TS_SYNC: Final = 0x47
_TS_PACKETS_SEEN: Final = 3

CONTAINERS: Final = frozenset(
    {"mov", "mpegts", *_RIFF_KINDS.values(), *(name for _, name in _STARTS)}
)
"""FFmpeg's names of the demuxers that are used; none of them opens another file by itself."""


def container_of(content: bytes) -> str | None:
    """FFmpeg's name of the demuxer for a file, one of :data:`CONTAINERS`; None if it is no video.

    Args:
        content: The whole file, or its first 612 bytes.
    """
    if content[4:8] in _MOV_ATOMS:
        return "mov"
    if content[:4] == b"RIFF":
        return _RIFF_KINDS.get(content[8:12])
    found = next((name for start, name in _STARTS if content.startswith(start)), None)
    return found or ("mpegts" if _is_transport_stream(content) else None)


def _is_transport_stream(content: bytes) -> bool:
    return any(
        sync[0::size] == bytes([_TS_SYNC]) * len(sync[0::size])
        for size, offset in _TS_PACKETS
        if len(sync := content[offset : offset + size * _TS_PACKETS_SEEN])
        > size * (_TS_PACKETS_SEEN - 1)
    )
