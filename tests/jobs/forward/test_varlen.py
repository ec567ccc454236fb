"""The kernel for cards by a stand-in for its inner call, and which form is chosen."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn.attention import varlen

from mmrlhf_jobs.attention import split
from mmrlhf_jobs.attention.backends import take_way
from mmrlhf_jobs.attention.forms import Asked, Card, Choice, choose_form
from mmrlhf_jobs.attention.merged import Inputs, merged_attention
from mmrlhf_jobs.attention.parts import PackedParts
from mmrlhf_jobs.attention.varlen import VARLEN_KERNEL
from mmrlhf_jobs.forward.responses import response_log_probs
from mmrlhf_jobs.forward.sharing import Comparison, Found, Sharing, compare_rows
from mmrlhf_jobs.models import EncodedGroup, LoadedModel
from tests.jobs.forward.test_attention import (
    layout_of,
    outcome,
    plainly,
    random_layout,
    tensors,
    visible,
)
from tests.jobs.forward.varlen_stand_in import StandIn

H100 = Asked("cuda", torch.bfloat16, 128, 128, Card((9, 0), flash=True))


@pytest.fixture
def stand_in(monkeypatch: pytest.MonkeyPatch) -> StandIn:
    kernel = StandIn()
    kernel.put(monkeypatch)
    return kernel


def attend(inputs: Inputs, parts: PackedParts, scale: float | None = None) -> Tensor:
    return merged_attention(*inputs, parts, kernel=VARLEN_KERNEL, scale=scale)


@pytest.mark.parametrize("heads", [(4, 4), (6, 2), (3, 1)])
@pytest.mark.parametrize("seed", range(4))
def test_output_and_gradients(stand_in: StandIn, heads: tuple[int, int], seed: int) -> None:
    layout = random_layout(seed)
    parts = PackedParts.of(layout, torch.device("cpu"))
    scale = None if seed % 2 else 0.4
    inputs = tensors(layout, heads, torch.float64)
    found = outcome(attend(inputs, parts, scale), inputs)
    expected = outcome(plainly(inputs, visible(layout), scale), inputs)
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-10)
    assert len(stand_in.calls) == 4


def test_two_calls_each_way_whatever_the_number_of_parts(stand_in: StandIn) -> None:
    layout = layout_of([5, 2], [[3, 1], [4]])
    inputs = tensors(layout, (2, 1), torch.float64)
    outcome(attend(inputs, PackedParts.of(layout, torch.device("cpu"))), inputs)
    own = [5, 3, 1, 2, 4]
    assert stand_in.calls == [
        ("forward", own, own, True),
        ("forward", [4, 4], [5, 2], False),
        ("backward", own, own, True),
        ("backward", [4, 4], [5, 2], False),
    ]


def test_sums_of_another_layout_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    def other(query: Tensor, *_: Any, **__: Any) -> tuple[Tensor, Tensor]:
        return query, query[..., 0]

    monkeypatch.setattr(varlen, "varlen_attn", other)
    layout = layout_of([5], [[3]])
    with pytest.raises(RuntimeError, match=r"gives sums of shape \(8, 2\), and \(2, 8\) was"):
        attend(tensors(layout, (2, 1), torch.float64), PackedParts.of(layout, torch.device("cpu")))


@pytest.mark.parametrize(
    ("asked", "form", "reason"),
    [
        (H100, "varlen", ""),
        (replace(H100, dtype=torch.float16), "varlen", ""),
        (replace(H100, head=256, value_head=256), "varlen", ""),
        (replace(H100, card=Card((8, 0), flash=True)), "varlen", ""),
        (replace(H100, dtype=torch.float32), "split", "bfloat16 and float16, not float32"),
        (replace(H100, head=72 + 4, value_head=76), "split", "by steps of 8, not of 76"),
        (replace(H100, head=264, value_head=264), "split", "up to 256 numbers"),
        (replace(H100, value_head=64), "split", "128 numbers for keys, 64 for values"),
        (
            replace(H100, card=Card((7, 5), flash=True)),
            "split",
            "from compute capability 8.0 on, not 7.5",
        ),
        (replace(H100, card=Card((9, 0), flash=False)), "split", "no flash attention"),
        (replace(H100, device="mps", card=None), "split", "on mps"),
        (Asked("cpu", torch.float64, 12, 12), "cpu", ""),
        (Asked("cpu", torch.float32, 12, 16), "split", "12 numbers for keys"),
    ],
)
def test_choice_of_a_form(asked: Asked, form: str, reason: str) -> None:
    found = choose_form(asked)
    assert found.form == form
    assert reason in found.reason
    assert bool(found.reason) == (form == "split"), "what is replaced is told"


class Chosen:
    """Takes the form of a card on a CPU, as long as two calls are asked for."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.asked = 0
        monkeypatch.setattr(split, "choose_form", self.choose)

    def choose(self, asked: Asked) -> Choice:
        self.asked += 1
        return choose_form(replace(H100, head=asked.head, value_head=asked.value_head))


def compare(loaded: LoadedModel, groups: list[EncodedGroup]) -> Comparison:
    return compare_rows(loaded.model, loaded.adapter, groups[:2], wanted=True)


def attention_of(loaded: LoadedModel) -> str:
    config: Any = loaded.adapter.decoder(loaded.model).config
    return str(config._attn_implementation)


def sums(loaded: LoadedModel, groups: list[EncodedGroup], *, shared: bool = True) -> Tensor:
    with torch.no_grad():
        return response_log_probs(loaded.model, loaded.adapter, groups, shared_prefix=shared).sums


def test_a_whole_model_by_the_kernel_is_the_plain_model(
    loaded: LoadedModel,
    groups: list[EncodedGroup],
    stand_in: StandIn,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    Chosen(monkeypatch)
    found = compare(loaded, groups)
    assert found.trusted
    assert (found.forms, found.fallbacks) == (("varlen",), ())
    assert found.shared is not None
    assert found.shared.log_prob < 1e-9
    assert found.shared.gradient < 1e-6
    assert {call[0] for call in stand_in.calls} == {"forward", "backward"}


def test_a_kernel_that_raises_is_left_for_the_next_form(
    loaded: LoadedModel, groups: list[EncodedGroup], monkeypatch: pytest.MonkeyPatch
) -> None:
    # Without a stand-in: the real operator has no kernel for CPUs.
    chosen = Chosen(monkeypatch)
    expected = sums(loaded, groups, shared=False)
    found = compare(loaded, groups)
    assert found.trusted
    assert found.forms == ("split",)
    (told,) = found.fallbacks
    assert told.startswith("attention by varlen is not used: rows that share a prompt fail: ")
    assert "_flash_attention_forward" in told
    chosen.asked = 0
    torch.testing.assert_close(sums(loaded, groups), expected, rtol=1e-9, atol=1e-9)
    assert chosen.asked == 0, "the model goes on by what was found"


def test_a_kernel_that_is_wrong_is_left_for_the_next_form(
    loaded: LoadedModel,
    groups: list[EncodedGroup],
    stand_in: StandIn,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    Chosen(monkeypatch)
    stand_in.put(monkeypatch, fault=1.05)
    found = compare(loaded, groups)
    assert found.trusted
    assert found.forms == ("split",)
    (told,) = found.fallbacks
    assert told.startswith("attention by varlen is not used: rows that share a prompt are ")
    assert "nats a token" in told
    assert found.shared is not None
    assert found.shared.log_prob < 1e-9


def test_rows_that_no_form_gets_right_are_told(
    loaded: LoadedModel, groups: list[EncodedGroup], monkeypatch: pytest.MonkeyPatch
) -> None:
    Chosen(monkeypatch)
    monkeypatch.setattr(split, "split_attention", lambda q, *_, **__: 0 * q)
    found = compare(loaded, groups)
    assert not found.trusted
    assert found.way == attention_of(loaded) == "mmrlhf_sdpa"
    assert found.forms == ()
    assert "rows that share a prompt are" in found.reason
    (told,) = found.fallbacks
    assert "by varlen is not used" in told


def test_a_form_without_memory_leaves_the_model_as_it_was(
    loaded: LoadedModel, groups: list[EncodedGroup], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any, **__: Any) -> Any:
        raise torch.OutOfMemoryError

    Chosen(monkeypatch)
    monkeypatch.setattr(split, "split_attention", full)
    with pytest.raises(torch.OutOfMemoryError):
        compare(loaded, groups)
    assert attention_of(loaded) == "mmrlhf_sdpa"


def test_processes_take_the_form_that_one_of_them_has_found(
    loaded: LoadedModel, groups: list[EncodedGroup], monkeypatch: pytest.MonkeyPatch
) -> None:
    Chosen(monkeypatch)
    told: list[str] = []
    first = Sharing(loaded.model, loaded.adapter, told.append)
    found = first.find(groups[:2])
    assert found == Found(shared=True, way="mmrlhf_sdpa_split")
    assert len(told) == 1
    take_way(loaded.adapter.decoder(loaded.model).config, "mmrlhf_sdpa")
    other = Sharing(loaded.model, loaded.adapter, pytest.fail)
    other.take(found)
    assert other.find(groups[:2]) == found
    assert attention_of(loaded) == "mmrlhf_sdpa_split"
