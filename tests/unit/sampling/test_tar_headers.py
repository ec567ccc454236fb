"""Tar headers that lead nowhere: they are an error, and no loop."""

from __future__ import annotations

import hashlib
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from mmrlhf_jobs.errors import DataError
from mmrlhf_jobs.sampling.corpora import tar_rows
from mmrlhf_jobs.sampling.corpora.raw_rows import RawRow
from mmrlhf_jobs.sampling.corpora.tar_rows import read_tar
from tests.unit.sampling.corpora import split_of


def size(number: int) -> bytes:
    """A size in base 256, which may be negative (GNU)."""
    if number >= 0:
        return b"%011o\0" % number
    return b"\xff" + (number & ((1 << 88) - 1)).to_bytes(11, "big")


def header(name: bytes, length: int, kind: bytes = b"0") -> bytes:
    block = bytearray(512)
    block[: len(name)] = name
    block[100:108] = block[108:116] = block[116:124] = b"0000644\0"
    block[124:136], block[136:148], block[148:156] = size(length), b"00000000000\0", b" " * 8
    block[156:157], block[257:265] = kind, b"ustar\x0000"
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block)


def member(name: bytes, content: bytes, kind: bytes = b"0", length: int | None = None) -> bytes:
    padded = content + b"\0" * (-len(content) % 512)
    return header(name, len(content) if length is None else length, kind) + padded


def pax(key: bytes, value: bytes) -> bytes:
    line = b" " + key + b"=" + value + b"\n"
    length = next(n for n in range(200) if n == len(str(n)) + len(line))
    return member(b"x", str(length).encode() + line, b"x")


GOOD = member(b"a.json", b"{}")
END = b"\0" * 1024
BAD = {
    "the member again": header(b"b.json", -512),
    "the one before": header(b"b.json", -2048),
    "a little back": header(b"b.json", -1),
    "far back": header(b"b.json", -(2**40)),
    "an unknown type": header(b"b", -512, b"Q"),
    "a long name": header(b"././@LongLink", -512, b"L"),
    "attributes": header(b"x", -1024, b"x"),
    "attributes of all": header(b"x", -1024, b"g"),
    "a size in attributes": pax(b"size", b"-512") + header(b"b.json", 0),
    "a sparse map": pax(b"GNU.sparse.map", b"1,x") + member(b"b.json", b"{}"),
    "a name of 2 MiB": member(b"././@LongLink", b"n" * 2**21, b"L") + GOOD,
    "names of names": member(b"././@LongLink", b"n", b"L") * 3000 + GOOD,
}  # fmt: skip


def read(path: Path, content: bytes) -> Iterator[RawRow]:
    path.write_bytes(content)
    return read_tar(split_of(path), hashlib.sha256())


@pytest.mark.parametrize("name", BAD)
@pytest.mark.parametrize("first", [GOOD, b""], ids=["second", "first"])
def test_a_header_that_leads_nowhere_is_an_error(
    name: str, first: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    headers = 0
    real: Callable[..., object] = __import__("tarfile").TarInfo.frombuf.__func__

    def counted(cls: type, *arguments: object) -> object:
        nonlocal headers
        headers += 1
        assert headers < 10_000, "reads for ever"
        return real(cls, *arguments)

    monkeypatch.setattr("tarfile.TarInfo.frombuf", classmethod(counted))
    with pytest.raises(DataError, match="not a readable tar file"):
        list(read(tmp_path / "a.tar", first + BAD[name] + END))


def cut(content: bytes, at: int) -> bytes:
    return content[:at]


def spoilt(content: bytes, at: int) -> bytes:
    return content[:at] + b"\xff" + content[at + 1 :]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda content: cut(content, len(GOOD) + 92), "truncated header"),
        (lambda content: cut(content, len(GOOD) + 511), "truncated header"),
        (lambda content: spoilt(content, len(GOOD) + 3), "bad checksum"),
        (lambda content: content + content, "something stands behind the end"),
        (lambda content: content + b"\0" * 5000 + b"x", "something stands behind the end"),
    ],
)
def test_a_second_member_that_cannot_be_read_is_not_lost_in_silence(
    change: Callable[[bytes], bytes], reason: str, tmp_path: Path
) -> None:
    content = GOOD + member(b"b.json", b'{"id": "b"}') + END
    with pytest.raises(DataError, match=reason):
        list(read(tmp_path / "a.tar", change(content)))


@pytest.mark.parametrize("end", [b"", END, END + b"\0" * 20_000])
def test_archives_may_end_in_zeros_or_none(end: bytes, tmp_path: Path) -> None:
    content = GOOD + member(b"b.json", b'{"id": "b"}')
    assert len(list(read(tmp_path / "a.tar", content + end))) == 2


def test_a_negative_size_is_refused_where_tarfile_takes_it() -> None:
    """Newer versions of Python refuse some of them before (CVE-2025-8194), others do not."""
    for kind in (b"0", b"Q", b"L", b"x"):
        with pytest.raises(tarfile.ReadError, match="a header says that -512 bytes follow"):
            tar_rows._Member.frombuf(header(b"b", -512, kind), "utf-8", "surrogateescape")


def test_honest_headers_are_read(tmp_path: Path) -> None:
    long = b"folder/" + b"n" * 150 + b".json"
    content = GOOD + member(b"././@LongLink", long + b"\0", b"L") + member(b"n", b'{"id": "b"}')
    content += pax(b"mtime", b"1.5") + member(b"c.json", b'{"id": "c"}') + member(b"d.json", b"")
    rows = list(read(tmp_path / "a.tar", content + END))
    assert [row.content for row in rows][:3] == [{}, {"id": "b"}, {"id": "c"}]
    assert [row.number for row in rows] == [1, 2, 3, 4]
