"""DeepSpeed behind the engine interface: ZeRO over several processes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import torch
from torch import nn

from mmrlhf_api import Optimizer, Parallelism
from mmrlhf_jobs.errors import SpecError
from mmrlhf_jobs.models.adapter import EncodedGroup
from mmrlhf_jobs.models.shares import count_numbers
from mmrlhf_jobs.models.weights import Weight, held
from mmrlhf_jobs.process.gang import Runtime
from mmrlhf_jobs.training.engines.deepspeed_lent import lend_weights
from mmrlhf_jobs.training.engines.deepspeed_masters import ExactMasters
from mmrlhf_jobs.training.engines.deepspeed_shares import ZeroShares
from mmrlhf_jobs.training.engines.deepspeed_split import SplitWeights
from mmrlhf_jobs.training.engines.deepspeed_start import start_deepspeed
from mmrlhf_jobs.training.engines.interface import Engine, make_optimizer
from mmrlhf_jobs.training.engines.loss_scale import scale_exhausted
from mmrlhf_jobs.training.engines.registry import EngineSpec, register
from mmrlhf_jobs.training.engines.state import Fragment
from mmrlhf_jobs.training.engines.tensor_files import SavedState
from mmrlhf_jobs.training.engines.torch_engine import TorchEngine, TorchFactory
from mmrlhf_jobs.training.engines.zero import reduce_bucket

__all__ = ["DeepSpeedEngine", "DeepSpeedFactory", "deepspeed_settings"]

Out = TypeVar("Out")


@register("deepspeed")
@dataclass(frozen=True)
class DeepSpeedFactory:
    """DeepSpeed, in the number format of the job, with float32 masters of what is trained.

    Attributes:
        spec: What the job says.
        runtime: Process group, already joined.
    """

    spec: EngineSpec
    runtime: Runtime
    kind = "deepspeed"

    def __post_init__(self) -> None:
        """Refuse what DeepSpeed cannot do here.

        Raises:
            SpecError: float16 on CPUs.
        """
        on_cpu = self.runtime.device.type == "cpu"
        if self.spec.model.dtype == "float16" and on_cpu and self.spec.parallelism.zero_stage:
            raise SpecError(
                "spec.model.dtype: DeepSpeed trains in float16 on GPUs alone, and this job runs on "
                "CPUs; take bfloat16 or float32"
            )

    @property
    def name(self) -> str:
        """The stage is part of it."""
        if self.spec.parallelism.zero_stage == 0:
            return TorchFactory.name
        return f"deepspeed-{self.spec.parallelism.zero_stage}"

    @property
    def collective_forward(self) -> bool:
        """Stages from 1 on: 3 gathers weights in each pass, 1 and 2 sum gradients after it."""
        return self.spec.parallelism.zero_stage > 0

    def split(self) -> SplitWeights | None:
        """Stage 3 divides weights over processes, of which there must be several."""
        if self.spec.parallelism.zero_stage < 3 or self.runtime.world_size == 1:
            return None
        return SplitWeights(
            self.runtime,
            getattr(torch, self.spec.model.dtype),
            in_main_memory=self.spec.parallelism.offload == "parameters",
        )

    def build(self, module: nn.Module) -> Engine[Any]:
        """Put an engine around a module.

        Stage 0 splits nothing: each process has all, and plain torch sums the gradients.
        """
        if self.spec.parallelism.zero_stage == 0:
            return TorchEngine(module, self.spec.optimizer, self.runtime)
        return DeepSpeedEngine(
            module,
            self.spec.optimizer,
            parallelism=self.spec.parallelism,
            runtime=self.runtime,
            dtype=getattr(torch, self.spec.model.dtype),
        )


def deepspeed_settings(
    settings: Optimizer,
    *,
    parallelism: Parallelism,
    dtype: torch.dtype,
    trained: int,
    pinned: bool,
) -> dict[str, Any]:
    """The DeepSpeed configuration of a job.

    `managed_gradient_accumulation: false` gives the boundary of accumulation to the caller of
    `step`, so that processes may differ in their number of micro-batches (the last batch of an
    epoch is rarely a multiple of the number of processes).

    Args:
        settings: Optimizer settings of the job.
        parallelism: ZeRO stage, 1 to 3, and what is kept in main memory.
        dtype: Dtype of the model's weights.
        trained: Numbers that are trained.
        pinned: What is kept in main memory is on its way to a GPU.
    """
    main_memory = {"device": "cpu", "pin_memory": pinned}
    parts = ("offload_optimizer", "offload_param")
    kept = {"none": (), "optimizer": parts[:1], "parameters": parts}[parallelism.offload]
    return {
        "train_micro_batch_size_per_gpu": 1,
        "gradient_accumulation_steps": 1,
        "managed_gradient_accumulation": False,
        "gradient_clipping": settings.max_grad_norm,
        "bf16": {"enabled": dtype == torch.bfloat16},
        "fp16": {"enabled": dtype == torch.float16},
        "zero_optimization": {
            "stage": parallelism.zero_stage,
            "overlap_comm": False,
            "reduce_bucket_size": reduce_bucket(trained),
            **dict.fromkeys(kept, main_memory),
        },
        # torch's own AdamW: DeepSpeed's is compiled at the first start.
        "zero_allow_untested_optimizer": True,
        "zero_force_ds_cpu_optimizer": False,
        "wall_clock_breakdown": False,
    }


class DeepSpeedEngine(Generic[Out]):
    """ZeRO stages 1 to 3 of DeepSpeed.

    Args:
        module: What is trained, with `requires_grad` set as the job wants it.
        settings: Optimizer settings of the job.
        parallelism: The ZeRO stage, and what is kept in main memory.
        runtime: Process group, already joined.
        dtype: Dtype of the model's weights.
    """

    def __init__(
        self,
        module: nn.Module,
        settings: Optimizer,
        *,
        parallelism: Parallelism,
        runtime: Runtime,
        dtype: torch.dtype,
    ) -> None:
        start_deepspeed(runtime)
        import deepspeed

        self._runtime = runtime
        self._zero_stage = parallelism.zero_stage
        self._scales_loss = dtype == torch.float16
        trained = [one for one in module.parameters() if one.requires_grad]
        optimizer = make_optimizer(trained, settings)
        self._masters = ExactMasters(module)
        for one in module.parameters() if any(map(_is_split, module.parameters())) else ():
            # What came to weights that were split as they were read; of others DeepSpeed does it.
            one.data = one.data.to(dtype)
        self._engine, self._optimizer, _, _ = deepspeed.initialize(
            model=module,
            optimizer=optimizer,
            config=deepspeed_settings(
                settings,
                parallelism=parallelism,
                dtype=dtype,
                trained=sum(map(count_numbers, trained)),
                pinned=runtime.device.type == "cuda",
            ),
        )
        self._shares = ZeroShares(module, self._optimizer, rank=runtime.rank)
        self._masters.adopt()

    def forward(self, groups: Sequence[EncodedGroup]) -> Out:
        """What the module makes of several queries."""
        result: Out = self._engine(groups)
        return result

    def backward(self, loss: torch.Tensor) -> None:
        """Accumulate the gradient of one micro-batch.

        DeepSpeed averages gradients over processes; the factor makes a sum of it.
        """
        self._engine.backward(loss * self._runtime.world_size, scale_wrt_gas=False)

    def step(self, *, learning_rate: float) -> float | None:
        """Reduce, clip, update, clear; return the norm before clipping, None after an overflow."""
        for group in self._optimizer.param_groups:
            group["lr"] = learning_rate
        try:
            self._engine.step()
        except Exception as error:
            # DeepSpeed has no class of its own for it.
            if "loss scale already at minimum" in str(error):
                raise scale_exhausted() from error
            raise
        if self._scales_loss and not self._engine.was_step_applied():
            return None
        self._masters.show()
        norm = self._engine.get_global_grad_norm()
        return float("nan") if norm is None else float(norm)

    @property
    def replicated(self) -> bool:
        """Each process holds a share of its own."""
        return False

    def fragments(self) -> list[Fragment]:
        """Masters and moments of this process's share."""
        return [self._shares.fragment(place) for place in self._shares.places()]

    def counters(self) -> dict[str, float]:
        """The scale of the loss, and since when it is that."""
        if not self._scales_loss:
            return {}
        scaler = self._optimizer.loss_scaler
        return {
            "value": float(scaler.cur_scale),
            "clean": scaler.cur_iter - scaler.last_overflow_iter - 1,
            "hysteresis": scaler.cur_hysteresis,
        }

    def load(self, saved: SavedState, counters: Mapping[str, float]) -> None:
        """Take over a state; see `Engine.load`."""
        saved.check(self._shares.sizes())
        self._shares.load(saved)
        self._shares.show()
        self._masters.show()
        if self._scales_loss and counters:
            scaler = self._optimizer.loss_scaler
            scaler.cur_scale = float(counters["value"])
            scaler.last_overflow_iter, scaler.cur_iter = -1, int(counters["clean"])
            scaler.cur_hysteresis = int(counters.get("hysteresis", scaler.delayed_shift))

    @contextmanager
    def weights(self) -> Iterator[Mapping[str, Weight]]:
        """All weights; under ZeRO-3 each is gathered when rank 0 reads it."""
        module = self._engine.module
        if self._zero_stage < 3:
            yield self._masters.replace_in(held(module.state_dict()))
            return
        with lend_weights(module, self._optimizer, self._runtime) as lent:
            yield self._masters.replace_in(lent)


def _is_split(parameter: nn.Parameter) -> bool:
    return hasattr(parameter, "ds_id")
