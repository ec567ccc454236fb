"""Bytes of tensors at the peak of a training step, on one process or several.

``peak_memory.py FOLDER SPECS`` takes a list of specs as JSON, each the ``spec`` of an MMDPOJob, and
writes a line of JSON: per spec the peak of this process over two steps, by counting every tensor
from the operation that makes it until it is freed. The peak is at the last query: there are states
of the optimizer by then and gradients of all queries before, which may be short to make those.
"""

from __future__ import annotations

import gc
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from mmrlhf_api import MMDPOJob
from mmrlhf_jobs.forward.responses import ResponseModel
from mmrlhf_jobs.models import load_model
from mmrlhf_jobs.models.adapter import EncodedGroup, LoadedModel
from mmrlhf_jobs.models.lora import add_lora
from mmrlhf_jobs.models.recomputation import recompute
from mmrlhf_jobs.process.gang import Runtime
from mmrlhf_jobs.training.engines.registry import choose_engine

TOKENS = 600
FEW = 30


class Peak(TorchDispatchMode):
    """Counts storages from the operation that makes them until they are freed."""

    def __init__(self) -> None:
        super().__init__()
        self._known: dict[int, tuple[StorageWeakRef, int]] = {}
        self._sum = 0
        self.most = 0

    def note(self, one: torch.Tensor) -> None:
        """Count a tensor."""
        storage = one.untyped_storage()
        place, size = storage._cdata, storage.nbytes()
        if place in self._known:
            known, before = self._known[place]
            if not known.expired():
                return
            self._sum -= before
        self._known[place] = StorageWeakRef(storage), size
        self._sum += size

    def look(self) -> None:
        """Count what is alive, if there may be more than ever."""
        if self._sum <= self.most:
            return
        self._known = {
            place: known for place, known in self._known.items() if not known[0].expired()
        }
        self._sum = sum(size for _, size in self._known.values())
        self.most = max(self.most, self._sum)

    def __torch_dispatch__(
        self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        made = func(*args, **(kwargs or {}))
        for one in tree_leaves(made):
            if isinstance(one, torch.Tensor):
                self.note(one)
        self.look()
        return made


def query(loaded: LoadedModel, tokens: int = TOKENS) -> EncodedGroup:
    """A query of so many tokens, a third of them its prompt."""
    ids = torch.arange(tokens) % 200 + 10
    third = tokens // 3
    return EncodedGroup(ids[:third], (ids[third : 2 * third], ids[2 * third :]), {})


def measure(folder: Path, spec: dict[str, Any], runtime: Runtime) -> int:
    """Bytes at the peak of two steps."""
    job = MMDPOJob.model_validate({"metadata": {"name": "x"}, "spec": spec})
    peak = Peak()
    with peak:
        loaded = load_model(folder, dtype=job.spec.model.dtype, attention="sdpa")
        for one in loaded.model.parameters():
            peak.note(one)
        loaded.adapter.freeze(loaded.model, job.spec.trainable)
        if job.spec.adapter is not None:
            add_lora(loaded, job.spec.adapter, seed=0)
        loaded.model.train()
        wanted = job.spec.training.recomputed
        if wanted is not None:
            recompute(loaded, every=wanted.language_model_every, tower=False)
        module = ResponseModel(loaded.model, loaded.adapter, shared_prefix=True)
        engine = choose_engine(job.spec, runtime).build(module)
        module.every_part = False
        peak.most = 0
        own = job.spec.training.queries_per_step // runtime.world_size
        for lengths in ([FEW] * own, [*[FEW] * (own - 1), TOKENS]):
            for tokens in lengths:
                sums = engine.forward([query(loaded, tokens)]).sums
                engine.backward((sums * torch.tensor([1.0, -1.0])).sum() / TOKENS)
                del sums
            engine.step(learning_rate=1e-4)
    del engine, module, loaded
    gc.collect()
    return peak.most


if __name__ == "__main__":
    runtime = Runtime.from_environment()
    found = [measure(Path(sys.argv[1]), spec, runtime) for spec in json.loads(sys.argv[2])]
    if runtime.is_main:
        sys.stdout.write(json.dumps(found) + "\n")
        sys.stdout.flush()
