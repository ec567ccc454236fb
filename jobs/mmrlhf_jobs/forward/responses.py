"""Log-probabilities of all responses of several groups."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from mmrlhf_jobs.attention.backends import CAUSAL, AttentionBackend, shared_prefix_backend
from mmrlhf_jobs.attention.forms import Form
from mmrlhf_jobs.attention.parts import PackedParts
from mmrlhf_jobs.errors import ModelError
from mmrlhf_jobs.forward.continuation import StateParts, continue_layers
from mmrlhf_jobs.forward.logprobs import choose_chunk, logit_memory, token_log_probs
from mmrlhf_jobs.forward.packing import PackedRows, pack
from mmrlhf_jobs.models.adapter import EncodedGroup, VLMAdapter
from mmrlhf_jobs.models.logit_shape import LogitShape

__all__ = [
    "GroupModel",
    "LogProbHead",
    "ResponseLogProbs",
    "ResponseModel",
    "response_log_probs",
]


@dataclass(frozen=True)
class ResponseLogProbs:
    """Log-probabilities of N responses, in the order of groups and responses.

    Attributes:
        sums: ``[N]`` sum over the predicted tokens of each response, float32 (float64 for such a
            model).
        lengths: ``[N]`` int64 number of tokens summed.
        tokens_forwarded: Token places that went through the decoder, padding included.
        real_tokens: The same without padding.
    """

    sums: Tensor
    lengths: Tensor
    tokens_forwarded: int
    real_tokens: int


def response_log_probs(
    model: PreTrainedModel,
    adapter: VLMAdapter,
    groups: Sequence[EncodedGroup],
    *,
    shared_prefix: bool,
    chunk_tokens: int | None = None,
) -> ResponseLogProbs:
    """Compute the log-probability of every response given its prompt.

    Both forms give the same numbers and gradients. With a shared prefix a group of n responses
    costs ``P + sum(R_i)`` tokens instead of ``sum(P + R_i)``. Media are encoded once per group in
    both. The result for a group does not depend on padding or on the other groups.

    Args:
        model: The model, in the mode (train, eval) the caller wants.
        adapter: Adapter of its family.
        groups: Encoded groups, each with at least one response.
        shared_prefix: Prompt once per group instead of once per response.
        chunk_tokens: Response tokens whose logits exist at a time; None: as many as the device's
            memory is large enough for.

    Raises:
        ModelError: ``shared_prefix`` is asked for but the model cannot do it.
    """
    module = ResponseModel(model, adapter, shared_prefix=shared_prefix, chunk_tokens=chunk_tokens)
    return module(groups)  # type: ignore[no-any-return]


class GroupModel(nn.Module):
    """A model that reads groups, as a module whose forward pass engines can wrap.

    DeepSpeed and DDP act on ``forward`` of the module they are given. Under ZeRO-3 this one also
    has the output layer's weights gathered where they are read.

    Args:
        model: The model.
        adapter: Adapter of its family.
        shared_prefix: As in :func:`response_log_probs`.
        chunk_tokens: As in :func:`response_log_probs`.

    Attributes:
        every_part: Run tower and projector for groups without media too, because processes
            gather weights or sum gradients together (see `VLMAdapter.embed`). Whoever makes them
            sets it.
        taken: Forms that the attention of the last pass took, and why; empty for padded rows.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        adapter: VLMAdapter,
        *,
        shared_prefix: bool,
        chunk_tokens: int | None = None,
    ) -> None:
        super().__init__()
        self.model = model
        self.adapter = adapter
        self.shared_prefix = shared_prefix
        self.every_part = False
        self.taken: dict[Form, str] = {}
        self._log_probs = LogProbHead(model, adapter, chunk_tokens)
        self._has_state = continue_layers(adapter.decoder(model), adapter.state_layer)

    def pack(self, groups: Sequence[EncodedGroup]) -> PackedRows:
        """Lay out groups in rows, if the model can take them.

        Raises:
            ModelError: A shared prefix is asked for but the model cannot do it.
        """
        if not self.shared_prefix:
            return pack(groups, self.adapter.prompt_positions, shared_prefix=False)
        backend = self._shared_backend()
        if backend is None or not self.adapter.supports_shared_prefix:
            raise ModelError(
                "this model or its attention takes no mask per response (sliding windows, or "
                "attention flash_attention_2); set objective.sharedPrefix to auto or off"
            )
        return pack(
            groups, self.adapter.prompt_positions, shared_prefix=True, one_row=backend.packs
        )

    def _shared_backend(self) -> AttentionBackend | None:
        return shared_prefix_backend(self.adapter.decoder(self.model).config)

    def hidden_states(self, groups: Sequence[EncodedGroup], rows: PackedRows) -> Tensor:
        """Hidden states after the decoder's final norm, ``[rows * L, H]``, from one pass."""
        device = next(self.model.parameters()).device
        decoder = self.adapter.decoder(self.model)
        inputs = self.adapter.embed(
            self.model,
            rows.input_ids.to(device),
            rows.position_ids.to(device),
            groups,
            rows.copies,
            every_part=self.every_part,
        )
        backend = self._shared_backend() if self.shared_prefix else CAUSAL
        assert backend is not None  # `pack` refuses a model without one
        masks: dict[str, Any] = dict(
            backend.inputs(rows.layout, dtype=inputs.inputs_embeds.dtype, device=device)
        )
        if backend is CAUSAL:
            used = masks["attention_mask"]
            masks["attention_mask"] = self.adapter.attention_mask(self.model, inputs, used, None)
        parts: PackedParts | None = masks.get("packed_parts")
        # Layers write into it, up to the one that fails.
        self.taken = {} if parts is None else parts.taken
        if self.shared_prefix and self._has_state:
            masks["state_parts"] = StateParts.of(rows.layout, device)
        output = decoder(use_cache=False, **inputs.keywords(), **masks)
        hidden: Tensor = output.last_hidden_state
        return hidden.flatten(0, 1)


class ResponseModel(GroupModel):
    """Module whose forward pass is :func:`response_log_probs`."""

    def forward(self, groups: Sequence[EncodedGroup]) -> ResponseLogProbs:
        """Log-probabilities of the groups' responses; see :func:`response_log_probs`."""
        rows = self.pack(groups)
        hidden = self.hidden_states(groups, rows)
        device = hidden.device
        predicting = hidden.index_select(0, rows.sources.to(device))
        log_probs = self._log_probs(predicting, rows.targets.to(device))
        return ResponseLogProbs(
            sums=torch.stack([part.sum() for part in log_probs.split(rows.lengths.tolist())]),
            lengths=rows.lengths.to(device),
            tokens_forwarded=rows.input_ids.numel(),
            real_tokens=rows.real_tokens,
        )


class LogProbHead(nn.Module):
    """Hidden states to log-probabilities, as a module of its own without parameters of its own.

    ZeRO-3 gathers the weights that a module reads before its forward pass and, by a hook on the
    tensors it returns, before its backward pass.
    """

    def __init__(
        self, model: PreTrainedModel, adapter: VLMAdapter, chunk_tokens: int | None
    ) -> None:
        super().__init__()
        # In a tuple, or the model would be registered as a child a second time.
        self._owner = (model, adapter)
        self._chunk_tokens = chunk_tokens

    def forward(self, hidden: Tensor, targets: Tensor) -> Tensor:
        """Log-probability ``[T]`` of each target after the hidden states ``[T, H]``."""
        model, adapter = self._owner
        layer = adapter.output_layer(model)
        chunk = self._chunk_tokens
        if chunk is None:
            chunk = choose_chunk(layer.out_features, logit_memory(hidden.device))
        return token_log_probs(
            hidden,
            layer.weight,
            layer.bias,
            targets,
            chunk_tokens=chunk,
            shape=LogitShape.of(adapter.decoder(model).config),
        )
