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


def test_a_file_that_is_none_of_a_journal_is_named(tmp_path: Path) -> None:
    ArtifactStore(str(tmp_path / "store")).write_text(f"{KEY}/000001-x-00000001.jsonl", "{}\n")
    with pytest.raises(DamagedError, match=r"000001-x-00000001.jsonl, line 1 is no result"):
        opened(tmp_path, "a", writer="000002-x")
