"""ZeRO-3 from the first byte on: weights are divided while they are read, and stay so.

`DeepSpeedEngine` divides a module that is whole on every process. Here each weight becomes one of
DeepSpeed's divided ones as soon as it has its place in the model, so that no process ever holds
them all (transformers' own way with ZeRO-3 reads all of them on rank 0, and sends them on). Passes
before the training gather what a layer reads, by the hooks that the engine has as well. The names
are those of DeepSpeed 0.19 (``deepspeed/runtime/zero/partition_parameters.py``,
``deepspeed/runtime/zero/parameter_offload.py``).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any, Final

import torch
from torch import nn

from mmrlhf_jobs.models.shares import mark_share
from mmrlhf_jobs.process.gang import Runtime
from mmrlhf_jobs.training.engines.deepspeed_start import start_deepspeed

__all__ = ["SplitWeights"]

_HELD: Final = -1
"""In place of a module's number among those that read a weight: nobody may let go of it."""
_HOOKS: Final = ("pre_bwd_fn", "post_bwd_fn", "applied_pre_backward_ref_cnt")
"""What DeepSpeed leaves on modules, and would take for that of an engine that comes later."""


class SplitWeights:
    """Weights of which each process holds an equal part.

    Args:
        runtime: Process group, already joined.
        dtype: What the weights are in.
        in_main_memory: The parts stay there, and what a layer reads is gathered on the device.
    """

    def __init__(
        self, runtime: Runtime, dtype: torch.dtype, *, in_main_memory: bool = False
    ) -> None:
        start_deepspeed(runtime)
        import deepspeed

        self._runtime = runtime
        self._device = runtime.device
        self._dtype = dtype
        # Of a module without weights: for its settings, and its linear layers that keep no weight.
        self._init = deepspeed.zero.Init(
            module=nn.Module(),
            dtype=dtype,
            remote_device="cpu" if in_main_memory else None,
            pin_memory=in_main_memory and runtime.device.type == "cuda",
        )
        self._hooks: Any = None

    @torch.no_grad()
    def take(self, parameter: nn.Parameter) -> None:
        """Keep this process's part of a weight, and let go of the rest."""
        of_deepspeed: Any = parameter
        if parameter.is_floating_point():
            parameter.data = parameter.data.to(self._dtype)
        self._init._convert_to_deepspeed_param(parameter)  # noqa: SLF001
        of_deepspeed.partition()
        # Where it will be when it is whole.
        parameter.data = torch.empty(0, dtype=parameter.dtype, device=self._device)
        mark_share(parameter, _Share(of_deepspeed))

    def begin(self, module: nn.Module) -> None:
        """Let passes of a module, and of those in it, gather what they read.

        Every process must make as many, of the same modules.
        """
        from deepspeed.runtime.zero.parameter_offload import DeepSpeedZeRoOffload
        from deepspeed.utils.timer import NoopTimer

        self._hooks = DeepSpeedZeRoOffload(module, timers=NoopTimer(), ds_config=None)
        # It would learn the order of modules, which differs from pass to pass before the training.
        self._hooks.fwd_pre_hook.remove()
        for one in module.parameters():
            mark_share(one, _Share(one))

    @contextmanager
    def passes(self) -> Iterator[None]:
        """Inside, weights may be read; every process that shares them comes here."""
        modules: list[Any] = list(self._hooks.module.modules())
        _allow(modules, reading=True)
        try:
            yield
        finally:
            _allow(modules, reading=False)
            self._hooks.release_backward_leftovers()
            self._hooks.partition_all_parameters()

    def any(self, own: bool) -> bool:
        """Whether one of the processes says yes."""
        return self._runtime.any(own)

    def end(self) -> None:
        """Leave the module to an engine, or to nobody."""
        from deepspeed.runtime.zero import parameter_offload

        module: Any = self._hooks.module
        self._hooks.destroy()
        parameter_offload.FWD_MODULE_STACK.remove(module)
        for one in module.modules():
            one._external_params.clear()  # noqa: SLF001
            for name in _HOOKS:
                one.__dict__.pop(name, None)
        for weight in module.parameters():
            weight.is_external_param = False
        self._hooks = None


def _allow(modules: list[Any], *, reading: bool) -> None:
    """Whether a weight that is read by another module than its own is gathered."""
    for module in modules:
        module._parameters._in_forward = reading  # noqa: SLF001


class _Share:
    """A weight that DeepSpeed has divided."""

    def __init__(self, parameter: Any) -> None:  # noqa: ANN401 - it has DeepSpeed's attributes
        self._parameter = parameter

    @property
    def shape(self) -> torch.Size:
        """Of the whole weight."""
        shape: torch.Size = self._parameter.ds_shape
        return shape

    def whole(self) -> AbstractContextManager[None]:
        """All numbers are in the weight until this ends."""
        return _gathered(self._parameter)


@contextmanager
def _gathered(parameter: Any) -> Iterator[None]:  # noqa: ANN401
    parameter.all_gather()
    parameter.ds_active_sub_modules.add(_HELD)
    try:
        yield
    finally:
        parameter.ds_active_sub_modules.discard(_HELD)
        # A backward pass may have left it to `passes`.
        if not parameter.ds_active_sub_modules:
            parameter.partition()
