"""One forward pass for critique and score, against transformers and against two passes."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from mmrlhf_jobs.errors import TrainingError
from mmrlhf_jobs.models import EncodedGroup, LoadedModel, load_model
from mmrlhf_jobs.models.loading import Attention
from mmrlhf_jobs.objectives.preference import index_pairs
from mmrlhf_jobs.objectives.reward import center_loss, critique_loss, score_loss
from mmrlhf_jobs.reward_model.head import HeadKind
from mmrlhf_jobs.reward_model.scorer import ResponseRewards, RewardScorer
from tests.jobs.reward.conftest import make_scorer

PAIRS = torch.tensor([[0, 1], [0, 2], [1, 2], [4, 3], [5, 6]])


def joint_loss(output: ResponseRewards) -> Tensor:
    score = score_loss(output.scores, PAIRS)
    critique = critique_loss(output.critique_sums, output.critique_lengths)
    return score.total / len(PAIRS) + critique.numerator / critique.denominator


def gradients(scorer: RewardScorer, loss: Tensor) -> dict[str, Tensor]:
    scorer.zero_grad()
    loss.backward()
    return {
        name: parameter.grad.clone()
        for name, parameter in scorer.named_parameters()
        if parameter.grad is not None
    }


def assert_same_gradients(one: dict[str, Tensor], other: dict[str, Tensor]) -> None:
    assert one.keys() == other.keys()
    scale = max(float(value.abs().max()) for value in other.values())
    for name, value in one.items():
        # transformers takes its losses in float32, whose last bit is 1e-7.
        torch.testing.assert_close(value / scale, other[name] / scale, rtol=1e-6, atol=1e-6)


def plain_inputs(group: EncodedGroup, response: Tensor) -> dict[str, Tensor]:
    inputs = dict(group.media_inputs)
    if "pixel_values_videos.0" in inputs:
        inputs["pixel_values_videos"] = inputs.pop("pixel_values_videos.0")
    for name in ("pixel_values", "pixel_values_videos"):
        if name in inputs:
            inputs[name] = inputs[name].double()
    return {"input_ids": torch.cat([group.prompt_ids, response])[None], **inputs}


def test_critique_loss_is_that_of_the_plain_model(
    loaded: LoadedModel, groups: list[EncodedGroup]
) -> None:
    """The oracle: `model(labels=...).loss` of each response, gradient included."""
    scorer = make_scorer(loaded)
    output = scorer(groups)
    loss = critique_loss(output.critique_sums, output.critique_lengths)
    mine = gradients(scorer, loss.numerator / loss.denominator)
    total, tokens = torch.zeros((), dtype=torch.float64), 0
    for group in groups:
        for response, predicted in zip(group.responses, group.predicted, strict=True):
            if predicted == 0:
                continue
            inputs = plain_inputs(group, response)
            labels = torch.full_like(inputs["input_ids"], -100)
            labels[0, -predicted:] = response[-predicted:]
            total = total + loaded.model(**inputs, labels=labels).loss * predicted
            tokens += predicted
    assert int(loss.denominator) == tokens
    torch.testing.assert_close(
        (loss.numerator / loss.denominator).detach(), (total / tokens).detach()
    )
    plain = gradients(scorer, total / tokens)
    mine = {name: value for name, value in mine.items() if name in plain}
    assert_same_gradients(mine, plain)


@pytest.mark.parametrize("kind", ["linear", "mlp"])
def test_score_is_read_at_the_terminal_token(
    loaded: LoadedModel, groups: list[EncodedGroup], kind: HeadKind
) -> None:
    scorer = make_scorer(loaded, kind=kind)
    expected = []
    for group in groups:
        for response in group.responses:
            inputs = plain_inputs(group, response)
            hidden = loaded.model(**inputs, output_hidden_states=True).hidden_states[-1]
            (place,) = (inputs["input_ids"][0] == loaded.adapter.chat.terminal_id).nonzero()[-1]
            state = hidden[0, place]
            if kind == "mlp":
                state = torch.tanh(scorer.reward_head.inner(state))
            expected.append(scorer.reward_head.out.weight[0] @ state)
    torch.testing.assert_close(scorer(groups).scores, torch.stack(expected))


def test_another_last_token_is_refused(loaded: LoadedModel, groups: list[EncodedGroup]) -> None:
    """What truncation would do."""
    first = groups[0]
    cut = (first.responses[0][:-1], *first.responses[1:])
    with pytest.raises(TrainingError, match=r"not with <\|im_end\|>"):
        make_scorer(loaded)([EncodedGroup(first.prompt_ids, cut, first.media_inputs)])


@pytest.mark.parametrize("shared_prefix", [True, False])
def test_single_pass_is_the_two_pass_loss(
    loaded: LoadedModel, groups: list[EncodedGroup], shared_prefix: bool
) -> None:
    """The released code reads chosen and rejected apart, and critique and score apart."""
    scorer = make_scorer(loaded, shared_prefix=shared_prefix)
    output = scorer(groups)
    single = joint_loss(output)
    one = gradients(scorer, single)
    apart = make_scorer(loaded, shared_prefix=False)
    apart.load_state_dict(scorer.state_dict())
    alone = [
        EncodedGroup(group.prompt_ids, (response,), group.media_inputs, (given,))
        for group in groups
        for response, given in zip(group.responses, group.given, strict=True)
    ]
    scores = torch.cat([apart([group]).scores for group in alone])
    reread = [apart([group]) for group in alone]
    critique = -torch.stack([each.critique_sums[0] for each in reread]).sum()
    tokens = sum(int(each.critique_lengths[0]) for each in reread)
    double = score_loss(scores, PAIRS).total / len(PAIRS) + critique / tokens
    torch.testing.assert_close(single.detach(), double.detach())
    assert_same_gradients(one, gradients(apart, double))
    lengths = [(len(group.prompt_ids), list(map(len, group.responses))) for group in groups]
    if shared_prefix:
        assert output.real_tokens == sum(prompt + sum(own) for prompt, own in lengths)
    else:
        assert output.real_tokens == sum(prompt * len(own) + sum(own) for prompt, own in lengths)
    read_apart = 2 * sum(each.real_tokens for each in reread)
    assert read_apart == 2 * sum(prompt * len(own) + sum(own) for prompt, own in lengths)


def test_scores_do_not_depend_on_the_batch_or_the_padding(
    loaded: LoadedModel, groups: list[EncodedGroup]
) -> None:
    scorer = make_scorer(loaded)
    together = scorer(groups).scores
    alone = torch.cat([scorer([group]).scores for group in groups])
    torch.testing.assert_close(together, alone, rtol=1e-9, atol=1e-9)
    backwards = scorer(groups[::-1]).scores
    sizes = [len(group.responses) for group in groups]
    parts = backwards.split(sizes[::-1])[::-1]
    torch.testing.assert_close(together, torch.cat(parts), rtol=1e-9, atol=1e-9)
    reordered = EncodedGroup(
        groups[0].prompt_ids,
        groups[0].responses[::-1],
        groups[0].media_inputs,
        groups[0].given[::-1],
    )
    swapped = scorer([reordered]).scores
    torch.testing.assert_close(swapped.flip(0), together[: sizes[0]], rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("side", ["left", "right"])
def test_scores_are_those_of_a_stock_batch_padded_on_either_side(
    loaded: LoadedModel, groups: list[EncodedGroup], side: str
) -> None:
    """What transformers makes of the responses as one padded batch, wherever the padding is."""
    scorer = make_scorer(loaded)
    for group in groups:
        sequences = [torch.cat([group.prompt_ids, response]) for response in group.responses]
        longest = max(map(len, sequences))
        assert len(set(map(len, sequences))) > 1
        ids = torch.zeros((len(sequences), longest), dtype=torch.int64)
        mask = torch.zeros_like(ids)
        ends = []
        for row, sequence in enumerate(sequences):
            begin = longest - len(sequence) if side == "left" else 0
            ids[row, begin : begin + len(sequence)] = sequence
            mask[row, begin : begin + len(sequence)] = 1
            ends.append(begin + len(sequence) - 1)
        one = plain_inputs(group, group.responses[0])
        media = {
            name: torch.cat([value] * len(sequences))
            for name, value in one.items()
            if name != "input_ids"
        }
        hidden = loaded.model(
            input_ids=ids, attention_mask=mask, **media, output_hidden_states=True
        ).hidden_states[-1]
        states = hidden[torch.arange(len(sequences)), torch.tensor(ends)]
        expected = states @ scorer.reward_head.out.weight[0]
        torch.testing.assert_close(scorer([group]).scores, expected, rtol=1e-6, atol=1e-6)


def test_eager_attention_gives_the_same_scores(tiny: Path, groups: list[EncodedGroup]) -> None:
    scores = []
    names: tuple[Attention, ...] = ("sdpa", "eager")
    for name in names:
        loaded = load_model(tiny, dtype="float64", attention=name)
        scores.append(make_scorer(loaded)(groups).scores)
    torch.testing.assert_close(scores[0], scores[1], rtol=1e-6, atol=1e-6)


def test_bradley_terry_is_that_of_trl() -> None:
    """The formulas of `RewardTrainer._compute_loss`, with its centering."""
    generator = torch.Generator().manual_seed(1)
    scores = torch.randn(7, dtype=torch.float64, generator=generator).requires_grad_()
    chosen, rejected = scores[PAIRS[:, 0]], scores[PAIRS[:, 1]]
    expected = -torch.nn.functional.logsigmoid(chosen - rejected).mean()
    expected = expected + 0.01 * torch.mean((chosen + rejected) ** 2)
    (expected_gradient,) = torch.autograd.grad(expected, scores)
    loss = score_loss(scores, PAIRS)
    mine = loss.total / len(PAIRS) + 0.01 * center_loss(scores, PAIRS) / len(PAIRS)
    (gradient,) = torch.autograd.grad(mine, scores)
    torch.testing.assert_close(mine.detach(), expected.detach())
    torch.testing.assert_close(gradient, expected_gradient)
    assert loss.gaps.tolist() == pytest.approx((chosen - rejected).tolist())


def test_no_pairs_lose_nothing() -> None:
    scores = torch.ones(3, requires_grad=True)
    none = index_pairs([()], [3])
    assert float(score_loss(scores, none).total.detach()) == 0.0
    assert float(center_loss(scores, none).detach()) == 0.0
