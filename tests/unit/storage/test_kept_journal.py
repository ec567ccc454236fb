"""A journal in an artifact store: what was put is there for the next writer."""

from __future__ import annotations

from pathlib import Path

import pytest

from mmrlhf_jobs.errors import DamagedError
from mmrlhf_jobs.storage import kept_journal
from mmrlhf_jobs.storage.artifacts import ArtifactStore
from mmrlhf_jobs.storage.kept_journal import KeptJournal

KEY = "run/journal"


def opened(folder: Path, disk: str, *, writer: str) -> KeptJournal:
    store = ArtifactStore(str(folder / "store"))
    return KeptJournal(folder / disk / "journal", store, KEY, writer=writer)


def test_a_later_writer_has_what_earlier_ones_put_and_its_own_counts(tmp_path: Path) -> None:
    text = "line\nbreak \u2028 and \x85"
    first = opened(tmp_path, "a", writer="000001-x")
    first.put("k", {"text": text})
    first.put("other", {"n": 1})
    first.put("k", {"text": "again"})
    second = opened(tmp_path, "b", writer="000002-x")
    assert (second.get("k"), second.get("other"), len(second)) == ({"text": "again"}, {"n": 1}, 2)
    second.put("other", {"text": text})
    third = opened(tmp_path, "c", writer="000003-x")
    assert third.get("other") == {"text": text}


@pytest.mark.parametrize("cut", [True, False])
def test_what_is_folded_is_read_alike_also_where_folding_was_cut_off(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cut: bool
) -> None:
    monkeypatch.setattr(kept_journal, "_FOLD", 4)
    journal = opened(tmp_path, "a", writer="000001-x")
    if cut:
        monkeypatch.setattr(ArtifactStore, "remove", lambda *_: None)
    for number in range(10):
        journal.put(f"k{number % 7}", {"n": number})
    monkeypatch.undo()
    files = sorted(path.name for path in (tmp_path / "store" / KEY).iterdir())
    assert len(files) == (12 if cut else 4)
    assert "000001-x-00000004-folded.jsonl" in files
    again = opened(tmp_path, "b", writer="000002-x")
    assert [again.get(f"k{n}") for n in range(7)] == [{"n": n} for n in (7, 8, 9, 3, 4, 5, 6)]


def test_what_a_writer_is_making_or_has_left_of_it_is_not_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = opened(tmp_path, "a", writer="000001-x")
    journal.put("k", {"n": 1})

    def killed(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", killed)
        patch.setattr(Path, "unlink", killed)
        with pytest.raises(KeyboardInterrupt):
            journal.put("k", {"n": 2})
    left = [path for path in (tmp_path / "store" / KEY).iterdir() if path.name.startswith(".")]
    assert len(left) == 1
    again = opened(tmp_path, "b", writer="000002-x")
    again.catch_up()
    assert again.get("k") == {"n": 1}


def test_writers_at_once_see_what_others_have_put_when_they_catch_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kept_journal, "_FOLD", 2)
    one, other = (opened(tmp_path, name, writer=f"000001-x-{name}") for name in "ab")
    for number in range(3):
        one.put(f"k{number}", {"n": number})
    other.put("own", {"n": 9})
    assert (len(one), len(other)) == (3, 1)
    read = list[str]()
    text_of = ArtifactStore.read_text

    def noted(self: ArtifactStore, key: str) -> str | None:
        read.append(key)
        return text_of(self, key)

    monkeypatch.setattr(ArtifactStore, "read_text", noted)
    other.catch_up()
    one.catch_up()
    assert len(one) == len(other) == 4
    assert (other.get("k1"), one.get("own")) == ({"n": 1}, {"n": 9})
    assert len(read) == 3, "a folded file and one more, and one: what is its own is not read"
    one.catch_up()
    assert len(read) == 3


def test_a_file_that_is_folded_while_it_is_looked_for_is_read_where_it_is_then(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kept_journal, "_FOLD", 2)
    writer = opened(tmp_path, "a", writer="000001-x-0")
    writer.put("k0", {"n": 0})
    sizes_of = ArtifactStore.sizes

    def fold_after(self: ArtifactStore, key: str) -> dict[str, int]:
        found = sizes_of(self, key)
        monkeypatch.setattr(ArtifactStore, "sizes", sizes_of)
        writer.put("k1", {"n": 1})
        return found

    monkeypatch.setattr(ArtifactStore, "sizes", fold_after)
    reader = opened(tmp_path, "b", writer="000001-x-1")
    assert (reader.get("k0"), reader.get("k1")) == ({"n": 0}, {"n": 1})


def test_a_file_that_is_none_of_a_journal_is_named(tmp_path: Path) -> None:
    ArtifactStore(str(tmp_path / "store")).write_text(f"{KEY}/000001-x-00000001.jsonl", "{}\n")
    with pytest.raises(DamagedError, match=r"000001-x-00000001.jsonl, line 1 is no result"):
        opened(tmp_path, "a", writer="000002-x")
