"""Text of others on terminals and pages: nothing steers, and ordinary text stays as it is."""

from __future__ import annotations

import json
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmrlhf_api.errors import JobFileError
from mmrlhf_api.jobfile import parse_job
from mmrlhf_api.plain_text import make_html, make_safe
from tests.unit.api.specimens import changed

ANY = st.text(
    st.characters(exclude_categories=())
    | st.sampled_from("\x1b\x9b\n\t\r\u202e\u2066<&\u200b\u2060\ufeff\U000e0041")
)
OVERRIDES = {chr(code) for code in (*range(0x202A, 0x202F), *range(0x2066, 0x206A))}
UNSEEN = {
    chr(code)
    for code in (
        *(0x180E, 0x200B, 0xFEFF, 0xE0001),
        *range(0x2060, 0x2065),
        *range(0x206A, 0x2070),
        *range(0xFFF9, 0xFFFC),
        *range(0xE0020, 0xE0080),
    )
}


def steers(character: str) -> bool:
    """A control, a separator of lines, a surrogate, an override, or a character unseen."""
    odd = unicodedata.category(character) in {"Cc", "Cs", "Zl", "Zp"}
    return odd or character in OVERRIDES or character in UNSEEN


@given(ANY, st.booleans())
def test_nothing_that_steers_is_left_and_all_else_stays(text: str, lines: bool) -> None:
    kept = {"\n", "\t"} if lines else set()
    found = make_safe(text, lines=lines)
    assert {character for character in found if steers(character)} <= kept
    found.encode()
    # Each character by itself: it is what it was, or an escape of it.
    for character in text:
        shown = make_safe(character, lines=lines)
        if steers(character) and character not in kept:
            assert shown.startswith("\\")
            assert shown.encode().decode("unicode_escape") == character
        else:
            assert shown == character
    assert found == "".join(make_safe(character, lines=lines) for character in text)


@given(ANY)
def test_a_page_gets_text_and_no_elements(text: str) -> None:
    found = make_html(text)
    assert not set(found) & set("<>\"'\x1b\n")
    assert make_html("plain words") == "plain words"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b]0;OWNED\x07", r"\x1b]0;OWNED\x07"),
        ("\x9b2J", r"\x9b2J"),
        ("a\nerror: b", r"a\nerror: b"),
        ("\x7f\x08\x00", r"\x7f\x08\x00"),
        ("invoice\u202efdp.exe", r"invoice\u202efdp.exe"),
        ("\ud800", r"\ud800"),
        ("\x1b]8;;http://evil/\x07good", r"\x1b]8;;http://evil/\x07good"),
        ("te\u200bam\ufeff\u2060", r"te\u200bam\ufeff\u2060"),
        ("a\U000e0069\U000e0067b", r"a\U000e0069\U000e0067b"),
        ("\u0645\u06cc\u200c\u062e", None),
        ("cafe\u0301 \u4f60\u597d \u05d0 \U0001f469\u200d\U0001f680 \xa0", None),
        (r"a\nb [red]", None),
    ],
)
def test_what_is_shown(text: str, shown: str | None) -> None:
    assert make_safe(text) == (text if shown is None else shown)


@pytest.mark.parametrize(
    "field", ["bad\x1b[2Jkey", "bad\nerror: all is well", "bad\u202ekey", "x" * 10_000]
)
def test_a_field_of_a_job_file_steers_nothing(field: str) -> None:
    body = json.loads(json.dumps(changed()))
    body["spec"][field] = 1
    with pytest.raises(JobFileError) as caught:
        parse_job(body, source="job.yaml")
    (line,) = str(caught.value).splitlines()
    assert make_safe(line) == line
    assert len(line) < 2_000
