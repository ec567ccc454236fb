"""DeepSpeed's float32 masters of the few parameters that a forward pass reads as they are.

DeepSpeed casts every parameter of a module, makes its masters of what is left after that, and keeps
them in another place for each ZeRO stage. Here the values from before the cast become the masters,
and layers that compute in float32 get to see them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812

from mmrlhf_jobs.forward.exact import ExactLinear
from mmrlhf_jobs.models.weights import Weight, held

__all__ = ["ExactMasters"]


class ExactMasters:
    """Masters of the parameters of `ExactLinear` layers. Its methods are called by every process.

    Args:
        module: What is trained, before DeepSpeed has it.
    """

    def __init__(self, module: nn.Module) -> None:
        self._layers = [
            (f"{place}.{name}", layer, name)
            for place, layer in module.named_modules()
            if isinstance(layer, ExactLinear)
            for name, _ in layer.named_parameters(recurse=False)
        ]
        self._values = [getattr(layer, name).detach().clone() for _, layer, name in self._layers]

    def adopt(self) -> None:
        """Put the values from before the cast into the masters that DeepSpeed has made."""
        whole = zip(self._layers, self._values, strict=True)
        cast = [each for each in whole if getattr(*each[0][1:]).dtype != torch.float32]
        self._layers = [each for each, _ in cast]
        self._values = []
        for (_, layer, name), value in cast:
            self._set(getattr(layer, name), value)
        self.show()

    def show(self) -> None:
        """Show the layers their masters as they are now."""
        for _, layer, name in self._layers:
            layer.masters[name] = self._get(getattr(layer, name))

    def replace_in(self, weights: Mapping[str, Weight]) -> dict[str, Weight]:
        """The weights of the module with the masters in place of what they were rounded to."""
        shown = {key: layer.masters[name] for key, layer, name in self._layers if key in weights}
        return {**weights, **held(shown)}

    def _get(self, parameter: torch.Tensor) -> torch.Tensor:
        from deepspeed.utils import safe_get_full_fp32_param

        master: torch.Tensor = safe_get_full_fp32_param(parameter)
        return master.detach().clone()

    def _set(self, parameter: Any, value: torch.Tensor) -> None:  # noqa: ANN401 - it has DeepSpeed's attributes
        from deepspeed.utils import safe_set_full_fp32_param, safe_set_local_fp32_param

        if hasattr(parameter, "ds_id"):  # stage 3; its own function knows no padding
            share, rank = parameter.ds_tensor.numel(), torch.distributed.get_rank()
            own = value.flatten()[rank * share : (rank + 1) * share]
            safe_set_local_fp32_param(parameter, F.pad(own, (0, share - own.numel())))
        else:
            safe_set_full_fp32_param(parameter, value)
