"""What is wrong with an answer."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from mmrlhf_jobs.endpoints.answers import Answer, GarbageError, foreign_id, parse_answer
from mmrlhf_jobs.endpoints.checks import check_expansion, check_response
from mmrlhf_jobs.endpoints.critiques import PROMPT
from mmrlhf_jobs.endpoints.requests import ChatRequest, ImagePart, Sampling, TextPart
from mmrlhf_jobs.endpoints.tally import Tally

COMMENT = "Names 3 dogs but the picture shows only two of them."


@pytest.mark.parametrize(
    ("text", "finish", "verdict"),
    [
        ("It names 3 dogs, but the picture shows only two dogs; a clear fault.", "stop", None),
        ("1. It names 3 dogs.\n2. The picture shows only two of them: wrong.", "stop", None),
        ("", "stop", "empty"),
        (" \n", "stop", "empty"),
        ("It names", "content_filter", "filtered"),
        ("I'm sorry, but I can't help with that request, whatever it may be.", "stop", "refusal"),
        ("It names 3 dogs, but the picture shows only two dogs; this is", "length", "truncated"),
        ("It names dogs; the picture shows two.", "stop", "tooShort"),
        ("The sign is read well, and nothing at all is left out of it.", "stop", "unrelated"),
        ("It names 3 dogs, but the picture shows only two dogs, 50 cm.", "stop", "addedNumbers"),
    ],
)  # fmt: skip
def test_expansions_are_judged(text: str, finish: str, verdict: str | None) -> None:
    answer = Answer(text, finish_reason=finish)
    assert check_expansion(answer, comment=COMMENT, context="How many dogs?\nThree.") == verdict


def test_numbers_of_question_and_answer_may_be_taken_up() -> None:
    answer = Answer("It names 3 dogs, but the picture shows only two dogs, not 5.")
    assert check_expansion(answer, comment=COMMENT, context="Are there 5?") is None


def test_a_number_may_be_written_in_another_way() -> None:
    answer = Answer("It names 3 dogs, but the picture shows only 2 dogs among 1000 cats.")
    context = "How many dogs are among the 1,000 cats?"
    assert check_expansion(answer, comment=COMMENT, context=context) is None


def test_scripts_without_spaces_are_not_judged_by_their_words() -> None:
    comment = "\u989c\u8272\u6b63\u786e\uff0c\u5f62\u72b6\u9519\u8bef\uff0c\u6570\u91cf\u6b63\u786e"
    text = "\u56de\u7b54\u7684\u989c\u8272\u662f\u5bf9\u7684\uff0c\u4f46\u5f62\u72b6\u4e0d\u5bf9"
    assert check_expansion(Answer(text), comment=comment, context="") is None


@pytest.mark.parametrize(
    ("answer", "verdict"),
    [
        (Answer("Two dogs.", "stop"), None),
        (Answer("None.", "stop"), None),
        (Answer("C", "stop"), None),
        (Answer("Use <b>bold</b> and [1, 2].", "stop"), None),
        (Answer(" "), "empty"),
        (Answer("Two dogs, one of which", "length"), "truncated"),
        (Answer("", "length", reasoning="Let me see"), "unfinishedThought"),
        (Answer("I'm sorry, but I can't help with that."), "refusal"),
        (Answer("[Insert your answer here]"), "placeholder"),
        (Answer("{response}"), "placeholder"),
        (Answer("..."), "placeholder"),
        (Answer("TODO"), "placeholder"),
        (Answer("Two dogs.<|im_end|>\n<|im_start|>user"), "markup"),
        (Answer("<image> shows two dogs."), "markup"),
        (Answer("Two dogs.</s>"), "markup"),
    ],
)
def test_responses_that_are_no_finished_answers_are_kept_apart(
    answer: Answer, verdict: str | None
) -> None:
    assert check_response(answer) == verdict


@pytest.mark.parametrize(
    ("finish", "verdict"),
    [
        (None, None), ("", None), ("stop", None), ("STOP", None), ("end_turn", None),
        ("eos_token", None), ("stop_sequence", None),
        ("length", "truncated"), ("MAX_TOKENS", "truncated"), ("max_tokens", "truncated"),
        ("model_length", "truncated"),
        ("content_filter", "filtered"), ("SAFETY", "filtered"), ("sensitive", "filtered"),
        ("abort", "brokenOff"), ("error", "brokenOff"), ("network_error", "brokenOff"),
        ("tool_calls", "brokenOff"), ("insufficient_system_resource", "brokenOff"),
    ],
)  # fmt: skip
def test_answers_that_the_server_ended_are_kept_apart(
    finish: str | None, verdict: str | None
) -> None:
    answer = Answer("It names 3 dogs, but the picture shows only two dogs; a clear fault.", finish)
    assert check_response(answer) == verdict
    assert check_expansion(answer, comment=COMMENT, context="") == verdict


def test_an_answer_of_all_tokens_without_a_word_was_cut_off() -> None:
    answer = Answer("Two dogs, one of which", None, completion_tokens=8)
    assert check_response(answer, most_tokens=8) == "truncated"
    assert check_response(answer, most_tokens=9) is None
    assert check_response(replace(answer, finish_reason="stop"), most_tokens=8) is None


def test_a_refusal_is_a_response_to_a_question_about_safety() -> None:
    refusal = Answer("I'm sorry, but I can't help with that.")
    assert check_response(refusal, safety=True) is None
    assert check_response(replace(refusal, finish_reason="length"), safety=True) == "truncated"


@pytest.mark.parametrize(
    ("content", "text", "reasoning"),
    [
        ("<think>Two? Yes.</think>\n\nTwo dogs.", "Two dogs.", "Two? Yes."),
        ("Two? Yes.\n</think>\nTwo dogs.", "Two dogs.", "Two? Yes."),
        ("<think>\n\n</think>\nTwo dogs.", "Two dogs.", ""),
        ("<think>Two? Let me", "", "Two? Let me"),
        ("Two dogs.", "Two dogs.", None),
        ("\u25c1think\u25b7Two?\u25c1/think\u25b7Two dogs.", "Two dogs.", "Two?"),
        ("[THINK]Two?[/THINK]Two dogs.", "Two dogs.", "Two?"),
        ("<seed:think>Two?</seed:think>Two dogs.", "Two dogs.", "Two?"),
        ("<|START_THINKING|>Two?<|END_THINKING|>Two dogs.", "Two dogs.", "Two?"),
        (("<|channel|>analysis<|message|>Two?<|end|><|start|>assistant<|channel|>final<|message|>"
         "Two dogs."), "Two dogs.", "Two?<|end|><|start|>assistant"),
        ("[THINK]Two? Let me", "", "Two? Let me"),
        ([{"type": "thinking", "thinking": [{"type": "text", "text": "Two?"}]},
          {"type": "text", "text": "Two dogs."}], "Two dogs.", "Two?"),
        ([{"type": "text", "text": "Two "}, {"type": "text", "text": "dogs."}], "Two dogs.", None),
    ],
)  # fmt: skip
def test_what_a_model_thinks_is_no_part_of_its_answer(
    content: Any, text: str, reasoning: str | None
) -> None:
    answer = parse_answer(body(content), {}, request_id="r")
    assert (answer.text, answer.reasoning) == (text, reasoning)
    assert Answer.from_dict(answer.to_dict()) == answer
    if isinstance(content, str):
        older = {"text": content, "finish_reason": "stop"}
        assert Answer.from_dict(older).text == text
    tally = Tally()
    tally.count(answer, None)
    assert tally.to_dict()["reasoned"] == (reasoning is not None)


def test_what_a_server_gives_apart_stays_apart() -> None:
    message = {"role": "assistant", "content": "Two dogs.", "reasoning_content": "Two? Yes."}
    choice = {"message": message, "finish_reason": "stop"}
    answer = parse_answer(json.dumps({"choices": [choice]}).encode(), {}, request_id="r")
    assert (answer.text, answer.reasoning) == ("Two dogs.", "Two? Yes.")


def body(content: object, **changes: object) -> bytes:
    choice = {"message": {"role": "assistant", "content": content}, "finish_reason": "stop"}
    return json.dumps({"id": "x", "model": "m", "choices": [choice], **changes}).encode()


def test_an_answer_is_read() -> None:
    usage = {"prompt_tokens": 5, "completion_tokens": 2}
    answer = parse_answer(body("Hi", usage=usage), {}, request_id="mmrlhf-0123456789ab-1")
    assert answer == Answer("Hi", "stop", 5, 2, "m")
    assert Answer.from_dict(answer.to_dict()) == answer


@pytest.mark.parametrize(
    "content",
    [b"", b"<html>", b"[]", b"{}", b'{"choices": []}', b'{"choices": [{}]}', b"\xff", b"null",
     body(3), body(["a"]), body("half \ud83d")],
)  # fmt: skip
def test_garbage_is_no_answer(content: bytes) -> None:
    with pytest.raises(GarbageError):
        parse_answer(content, {}, request_id="mmrlhf-0123456789ab-1")


def test_a_refusal_apart_from_the_content_is_the_text() -> None:
    choice = {"message": {"content": None, "refusal": "I can't help with that."}}
    answer = parse_answer(json.dumps({"choices": [choice]}).encode(), {}, request_id="r")
    assert answer.text == "I can't help with that."
    assert answer.refused
    assert answer.finish_reason is None
    choice["message"]["refusal"] = "Nie mogę w tym pomóc."
    told = parse_answer(json.dumps({"choices": [choice]}).encode(), {}, request_id="r")
    assert check_response(told) == "refusal", "in any language"
    assert check_response(told, safety=True) is None
    assert answer.usage is None


def test_ids_tell_whose_answer_it_is() -> None:
    mine, other = "mmrlhf-0123456789ab-1", "mmrlhf-0123456789ab-11"
    for content, headers in (
        (body("x", id=f"chatcmpl-{mine}"), {}),
        (body("x"), {"X-Request-Id": mine}),
    ):
        assert parse_answer(content, headers, request_id=mine).verified
        assert foreign_id(content, headers, request_id=mine) is None
        assert foreign_id(content, headers, request_id=other) == mine
    assert not parse_answer(body("x", id="chatcmpl-1"), {}, request_id=mine).verified
    assert foreign_id(body("x", id="chatcmpl-1"), {}, request_id=mine) is None


def request(**changes: object) -> ChatRequest:
    fields: dict[str, object] = {
        "model": "m",
        "parts": (ImagePart("a.png", "0" * 64), TextPart("What?")),
        "sampling": Sampling(),
        **changes,
    }
    return ChatRequest(**fields)  # type: ignore[arg-type]


def test_the_key_follows_from_all_that_the_answer_depends_on() -> None:
    others = [
        request(model="n"),
        request(revision="2"),
        request(sample=1),
        request(sampling=Sampling(temperature=1.0)),
        request(sampling=Sampling(seed=1)),
        request(parts=(ImagePart("a.png", "1" * 64), TextPart("What?"))),
        request(parts=(TextPart("What?"), ImagePart("a.png", "0" * 64))),
        request(parts=(ImagePart("a.png", "0" * 64), TextPart("What? "))),
        request(parts=(TextPart("0" * 64), TextPart("What?"))),
    ]
    assert len({one.key for one in [request(), *others]}) == len(others) + 1
    assert request(parts=(ImagePart("b.png", "0" * 64), TextPart("What?"))).key == request().key


def test_the_prompt_is_that_of_table_7() -> None:
    words = " ".join(PROMPT.split())
    assert words.startswith("You will receive an image-related question, an answer, and a comment")
    assert words.endswith(
        "[Question:] {question} [Answer:] {answer} [Human Comment for the answer:] {reason}"
        " Expanded Comment:"
    )
