"""Has the features of a model's frozen vision tower kept, whatever its family."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, Final

import torch
import transformers
from torch import nn

from mmrlhf_jobs.features.digests import digest_tensors
from mmrlhf_jobs.features.store import FeatureStore
from mmrlhf_jobs.features.tower import FrozenTower, Most
from mmrlhf_jobs.features.units import NotSeparableError, Units
from mmrlhf_jobs.models.adapter import LoadedModel
from mmrlhf_jobs.models.families.base import FamilyAdapter
from mmrlhf_jobs.models.shares import whole

__all__ = ["TEXT_ALONE", "alone", "keep_features"]

TEXT_ALONE: Final = "the model reads text alone"

# Of a model's configuration, this does not decide about what its tower makes.
_OTHER_PARTS: Final = frozenset({"_name_or_path", "architectures", "text_config", "use_cache"})


def alone(numbers: Sequence[int]) -> Sequence[int]:
    """The largest of each number where there is one process."""
    return numbers


def keep_features(loaded: LoadedModel, store: FeatureStore, *, most: Most = alone) -> str:
    """Let a frozen tower run once for each medium; say why not, else an empty text.

    It is made before an engine has the model; processes that share its weights make it together.

    Args:
        loaded: The model, with ``requires_grad`` as it is wanted.
        store: Where features are kept.
        most: Asks all processes that share weights; see `FrozenTower`.
    """
    model, adapter = loaded.model, loaded.adapter
    if not isinstance(adapter, FamilyAdapter) or not adapter.kinds:
        return TEXT_ALONE
    adapter.frozen_tower = None
    tower = model.get_encoder(modality="image")
    if tower is model or tower is model.base_model:
        return f"the vision encoder of {type(model).__name__} has no name that is known"
    units = Units(tower)
    if not units.names:
        return "it is trained"
    training = model.training
    # As in training, where what draws random numbers would do so.
    model.train()
    try:
        blank = {kind: adapter.blank_run(model, kind) for kind in adapter.kinds}
        for run in blank.values():
            units.learn(run)
        with torch.no_grad():
            made = {kind: units.record(run)[1] for kind, run in blank.items()}
        adapter.frozen_tower = FrozenTower(
            units,
            identity=_identity(loaded, tower, units),
            store=store,
            blank=made,
            most=most,
        )
    except NotSeparableError as error:
        return str(error)
    finally:
        model.train(training)
    return ""


def _identity(loaded: LoadedModel, tower: nn.Module, units: Units) -> str:
    """Digest of all that decides about features but the media."""
    model = loaded.model
    frozen = {name: one for name, one in tower.named_parameters() if not one.requires_grad}
    own = digest_tensors(dict(tower.named_buffers()))
    for name, one in sorted(frozen.items()):
        with whole([one]):
            own = digest_tensors({name: one}, own)
    config: dict[str, Any] = model.config.to_dict()
    vision = getattr(model.config, "vision_config", None)
    device = next(tower.parameters()).device
    content = [
        {name: value for name, value in config.items() if name not in _OTHER_PARTS},
        getattr(vision, "_attn_implementation", None) or model.config._attn_implementation,  # noqa: SLF001
        [torch.__version__, transformers.__version__, torch.get_float32_matmul_precision()],
        torch.cuda.get_device_name(device) if device.type == "cuda" else device.type,
        torch.get_num_threads() if device.type == "cpu" else 0,
        loaded.adapter.image_settings(),
        [type(tower).__qualname__, units.needed],
    ]
    return digest_tensors({}, own, json.dumps(content, sort_keys=True, default=str))
