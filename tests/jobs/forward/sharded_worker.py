"""One of two processes of the ZeRO-3 test; writes its losses to ``OUTPUT_FOLDER/RANK.json``.

Usage: ``torchrun --nproc-per-node 2 sharded_worker.py MODEL_FOLDER OUTPUT_FOLDER kept|joined``
"""

from __future__ import annotations

import json
import os
import sys
from dataclasses import dataclass
from pathlib import Path

os.environ["DS_ACCELERATOR"] = "cpu"

import deepspeed
import deepspeed.ops
import torch

from mmrlhf_jobs.data.media import LoadedMedia
from mmrlhf_jobs.features.store import FeatureStore
from mmrlhf_jobs.forward.responses import ResponseModel
from mmrlhf_jobs.models import EncodedGroup, LoadedModel, load_model
from mmrlhf_jobs.models.frozen import keep_features
from mmrlhf_jobs.process.gang import Runtime
from tests.jobs.models.tiny import picture


@dataclass(frozen=True)
class Parts:
    vision_tower: bool = False
    projector: bool = True
    language_model: bool = True


def steps(loaded: LoadedModel) -> list[tuple[list[EncodedGroup], list[EncodedGroup]]]:
    """What both ranks see, step by step: media of both kinds, of one, several images, or none."""
    image, other = (LoadedMedia("image", (picture(50, 30, seed),)) for seed in (1, 4))
    film = LoadedMedia("frames", (picture(40, 30, 2), picture(40, 30, 3)))
    encode = loaded.adapter.encode
    both = encode("what is this?", [image, film], ["a dog", "a red square and", "blue"])
    text = encode("what?", [], ["a circle", "a red"])
    two = encode("and these?", [image, other], ["no", "a dog"])
    one = encode("and this?", [image], ["a dog", "blue"])
    video = encode("a film?", [film], ["no, a dog", "a"])
    return [([both], [text]), ([text, one], [two]), ([both, one], [video, text])]


def sgd(scorer: ResponseModel) -> torch.optim.Optimizer:
    """Plain SGD: Adam would blow up the rounding of gradients that are zero in theory."""
    return torch.optim.SGD([p for p in scorer.parameters() if p.requires_grad], lr=1e-4)


def losses_alone(folder: Path) -> list[list[float]]:
    """Losses of both ranks, step by step, when one process trains on both."""
    loaded = load_model(folder, dtype="float32", attention="sdpa")
    loaded.adapter.freeze(loaded.model, Parts())
    scorer = ResponseModel(loaded.model, loaded.adapter, shared_prefix=True)
    optimizer = sgd(scorer)
    series = []
    for both in steps(loaded):
        losses = [-scorer(groups).sums.sum() for groups in both]
        torch.stack(losses).mean().backward()
        optimizer.step()
        optimizer.zero_grad()
        series.append([loss.item() for loss in losses])
    return series


def main() -> None:
    """Train two steps and look at the third, with every parameter split over the processes."""
    rank = int(os.environ["RANK"])
    loaded = load_model(sys.argv[1], dtype="float32", attention="sdpa")
    loaded.adapter.freeze(loaded.model, Parts())
    store = FeatureStore(memory=2**30, folder=None, tell=print)
    scorer = ResponseModel(loaded.model, loaded.adapter, shared_prefix=True)
    # As the engine does: else it would be compiled at the first start, which takes minutes.
    deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False
    deepspeed.init_distributed(dist_backend="gloo", verbose=False)
    runtime = Runtime(rank, 2, torch.device("cpu"))
    if sys.argv[3] == "kept":
        assert not keep_features(loaded, store, most=runtime.most)
    engine, *_ = deepspeed.initialize(
        model=scorer,
        optimizer=sgd(scorer),
        config={
            "train_micro_batch_size_per_gpu": 1,
            "gradient_clipping": 0.0,
            # Threshold 0: small parameters are split as well.
            "zero_optimization": {
                "stage": 3,
                "overlap_comm": False,
                "stage3_param_persistence_threshold": 0,
            },
            "zero_allow_untested_optimizer": True,
            "zero_force_ds_cpu_optimizer": False,
        },
    )
    scorer.every_part = True
    losses = []
    for both in steps(loaded):
        loss = -engine(both[rank]).sums.sum()
        engine.backward(loss)
        engine.step()
        losses.append(loss.item())
    found = {"losses": losses, **store.figures.as_dict()}
    (Path(sys.argv[2]) / f"{rank}.json").write_text(json.dumps(found))


if __name__ == "__main__":
    main()
