"""Rows of several responses, or of one, against the model's own forward pass.

What an adapter knows of a family (positions, places of features, masks) is right if
log-probabilities and gradients are those of the model as transformers runs it, on inputs as its
processor makes them.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import cycle
from typing import Final

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from mmrlhf_jobs.attention.forms import Form
from mmrlhf_jobs.forward.responses import ResponseLogProbs, ResponseModel
from mmrlhf_jobs.models.adapter import EncodedGroup, VLMAdapter
from mmrlhf_jobs.models.shares import shape_of

__all__ = ["TOLERANCES", "Deviation", "PlainPass", "choose_queries", "sample_weights"]

_MOST_RESPONSES: Final = 3
"""Responses of a query that are compared; each is a whole forward pass of the plain model."""
_SIGNS: Final = (1.0, -0.5)
"""Responses weigh differently, so that what belongs to one shows in gradients."""
_SMALL: Final = 0.01
"""A gradient below this share of all sampled ones is measured against the share."""


@dataclass(frozen=True)
class Deviation:
    """How far two ways to compute the same are apart.

    Attributes:
        log_prob: Largest difference of a response's mean log-probability, in nats a token.
        gradient: Largest difference of a sampled weight's gradient, as a share of its norm.
    """

    log_prob: float
    gradient: float

    def within(self, limit: Deviation, *, times: float = 1.0) -> bool:
        """Whether both are at most `times` as large as those of another."""
        # Written so that NaN is outside.
        return self.log_prob <= times * limit.log_prob and self.gradient <= times * limit.gradient

    def __str__(self) -> str:
        return f"{self.log_prob:.2g} nats a token, {self.gradient:.2g} of a gradient"


TOLERANCES: Final = {
    torch.float64: Deviation(1e-4, 1e-3),
    torch.float32: Deviation(1e-3, 1e-2),
    torch.float16: Deviation(2e-2, 5e-2),
    torch.bfloat16: Deviation(5e-2, 2e-1),
}
"""What rounding may do, by the number format of the forward pass; a wrong mask does more."""


def choose_queries(groups: Sequence[EncodedGroup]) -> list[EncodedGroup]:
    """The first query with media and the first without, with a few of their responses each.

    All tokens of these count as predicted, so that there is something to compare where a response
    is only read, as by a reward model without critiques.
    """
    chosen = [
        next((group for group in groups if bool(group.media_inputs) == media), None)
        for media in (True, False)
    ]
    return [
        EncodedGroup(
            group.prompt_ids,
            group.responses[:_MOST_RESPONSES],
            group.media_inputs,
        )
        for group in chosen
        if group is not None
    ]


class PlainPass:
    """Log-probabilities and gradients of the model's own forward pass, to compare others with.

    Args:
        model: The model, with ``requires_grad`` as the job wants it.
        adapter: Adapter of its family.
        groups: Queries, as :func:`choose_queries` picks them.
        rows: What computes their rows; None: what is made of the model for it.

    Attributes:
        taken: Forms that the attention of the rows took that were last looked at, and why.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        adapter: VLMAdapter,
        groups: Sequence[EncodedGroup],
        rows: ResponseModel | None = None,
    ) -> None:
        self._model = model
        self._rows = rows or ResponseModel(model, adapter, shared_prefix=False)
        self._adapter = adapter
        self._device = next(model.parameters()).device
        self._weights = list(sample_weights(model, adapter))
        self.taken: dict[Form, str] = {}
        # Videos of several lengths cannot go into one plain pass of some families.
        self.groups = [
            group
            for group in groups
            if adapter.plain_inputs(model, group, group.responses[0]) is not None
        ]
        self._means: list[Tensor] = []
        self._gradients = self._no_gradients()
        for group, signs in zip(self.groups, self._signs(), strict=True):
            for index, sign in enumerate(signs):
                mean = self._plain_mean(group, index)
                self._add_gradients(self._gradients, sign * mean)
                self._means.append(mean.detach())

    @property
    def is_finite(self) -> bool:
        """Whether the plain pass itself gives numbers to compare with."""
        return all(bool(one.isfinite().all()) for one in (*self._means, *self._gradients))

    @property
    def responses(self) -> int:
        """Number of responses that are compared."""
        return len(self._means)

    def deviation(self, *, shared_prefix: bool) -> Deviation:
        """How far rows ``[prompt | r1 | r2 | ...]``, or ``[prompt | r]``, are from it.

        Raises:
            ModelError: The model cannot take such rows.
        """
        means, gradients = [], self._no_gradients()
        rows = self._rows
        rows.shared_prefix = shared_prefix
        for group, signs in zip(self.groups, self._signs(), strict=True):
            try:
                found: ResponseLogProbs = rows([group])
            finally:
                self.taken = rows.taken
            mean = found.sums / found.lengths.clamp(min=1)
            self._add_gradients(gradients, (mean * mean.new_tensor(signs)).sum())
            means += list(mean.detach())
        apart = [
            float((own - plain).detach().abs())
            for own, plain in zip(means, self._means, strict=True)
        ]
        norms = [float(plain.norm()) for plain in self._gradients]
        floor = _SMALL * max(norms, default=0.0)
        shares = [
            float((own - plain).norm()) / max(norm, floor, 1e-30)
            for own, plain, norm in zip(gradients, self._gradients, norms, strict=True)
        ]
        return Deviation(log_prob=_largest(apart), gradient=_largest(shares))

    def _signs(self) -> Iterator[tuple[float, ...]]:
        signs = cycle(_SIGNS)
        for group in self.groups:
            yield tuple(next(signs) for _ in group.responses)

    def _plain_mean(self, group: EncodedGroup, index: int) -> Tensor:
        """Mean log-probability of the predicted tokens of a response."""
        response = group.responses[index]
        inputs = self._adapter.plain_inputs(self._model, group, response)
        assert inputs is not None  # left out at the start
        count = group.predicted[index]
        places: dict[str, int] = {}
        if "logits_to_keep" in inspect.signature(type(self._model).forward).parameters:
            places["logits_to_keep"] = count + 1
        output = self._model(**self._moved(inputs), use_cache=False, **places)
        logits = output.logits[0, -count - 1 : -1]
        logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
        targets = response[len(response) - count :].to(logits.device)
        chosen = torch.log_softmax(logits, -1).gather(1, targets[:, None])
        return chosen.sum() / max(count, 1)

    def _moved(self, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        dtype = next(self._model.parameters()).dtype
        return {
            name: value.to(self._device, dtype if value.is_floating_point() else None)
            for name, value in inputs.items()
        }

    def _no_gradients(self) -> list[Tensor]:
        return [torch.zeros_like(weight) for weight in self._weights]

    def _add_gradients(self, sums: list[Tensor], value: Tensor) -> None:
        if not self._weights or not value.requires_grad:
            return
        found = torch.autograd.grad(value, self._weights, allow_unused=True)
        for total, own in zip(sums, found, strict=True):
            if own is not None:
                total.add_(own)


def sample_weights(model: PreTrainedModel, adapter: VLMAdapter) -> Iterator[nn.Parameter]:
    """A few trained matrices: first, middle and last of the decoder and of the rest."""
    embeddings = {
        id(one)
        for layer in (model.get_input_embeddings(), model.get_output_embeddings())
        for one in (layer.parameters() if layer is not None else ())
    }
    in_decoder = {id(one) for one in adapter.decoder(model).parameters()}
    trained = [
        one
        for one in model.parameters()
        if one.requires_grad and len(shape_of(one)) >= 2 and id(one) not in embeddings
    ]
    for inside in (True, False):
        part = [one for one in trained if (id(one) in in_decoder) == inside]
        places = {0, len(part) // 2, len(part) - 1} if part else set()
        yield from (part[place] for place in sorted(places))


def _largest(values: Sequence[float]) -> float:
    """The largest, NaN if any is."""
    return next((one for one in values if one != one), max(values, default=0.0))  # noqa: PLR0124
