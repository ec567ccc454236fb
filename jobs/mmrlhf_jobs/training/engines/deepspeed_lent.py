"""Weights of ZeRO-3 for rank 0 to read one by one, after the training.

DeepSpeed's own way puts all of them together in the memory of rank 0
(``_zero3_consolidated_16bit_state_dict``). Here rank 0 says which it wants next, and all processes
gather that one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn

from mmrlhf_jobs.models.weights import Weight, held
from mmrlhf_jobs.process.gang import Runtime

__all__ = ["lend_weights"]


@contextmanager
def lend_weights(
    module: nn.Module,
    optimizer: Any,  # noqa: ANN401 - DeepSpeed's
    runtime: Runtime,
) -> Iterator[Mapping[str, Weight]]:
    """Weights and buffers of a module by name; none but on rank 0, for which the others wait.

    Args:
        module: What DeepSpeed trains.
        optimizer: DeepSpeed's, of stage 3.
        runtime: Process group; every process must come here.
    """
    optimizer.checkpoint_event_prologue()  # divides those that are kept whole
    # With parameters themselves: names of one weight have the same.
    state: dict[str, Any] = module.state_dict(keep_vars=True)
    divided = {id(one): one for one in state.values() if hasattr(one, "ds_id")}
    parameters = list(divided.values())
    if runtime.is_main:
        lent = {
            id(one): Weight(one.ds_shape, one.dtype, _Reading(parameters, place, runtime))
            for place, one in enumerate(parameters)
        }
        try:
            whole = held({name: one for name, one in state.items() if id(one) not in lent})
            yield {name: lent.get(id(one)) or whole[name] for name, one in state.items()}
        finally:
            runtime.on_main(_nothing)
    else:
        while (place := runtime.on_main(_nothing)) is not None:
            _gather(parameters[place])
        yield {}
    optimizer.checkpoint_event_epilogue()


def _nothing() -> int | None:
    """No weight is wanted any more."""
    return None


class _Reading:
    """Has a weight gathered by all processes."""

    def __init__(self, parameters: list[Any], place: int, runtime: Runtime) -> None:
        self._parameters = parameters
        self._place = place
        self._runtime = runtime

    def __call__(self) -> Tensor:
        """The weight, in main memory."""
        self._runtime.on_main(lambda: self._place)
        return _gather(self._parameters[self._place])


def _gather(parameter: Any) -> Tensor:  # noqa: ANN401 - it has DeepSpeed's attributes
    import deepspeed

    with deepspeed.zero.GatheredParameters(parameter):
        # Its memory is the weight's for as long as somebody has it, and not DeepSpeed's.
        found: Tensor = parameter.detach().cpu()
    return found
