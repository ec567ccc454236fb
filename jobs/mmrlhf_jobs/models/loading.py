"""Loading of a model with the adapter of its family."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Literal

import torch
from huggingface_hub.errors import StrictDataclassError
from safetensors import SafetensorError
from torch import nn
from transformers import (
    CONFIG_MAPPING,
    AutoConfig,
    PretrainedConfig,
    PreTrainedModel,
    __version__,
)

from mmrlhf_api.models import TemplateOwner
from mmrlhf_jobs.attention.split import SHARED_PREFIX_SDPA, register_shared_prefix_attention
from mmrlhf_jobs.errors import ModelError
from mmrlhf_jobs.models.adapter import LoadedModel, VLMAdapter
from mmrlhf_jobs.models.architecture import auto_class, load_any_processor, make_adapter
from mmrlhf_jobs.models.contents import (
    WEIGHT_INDEX,
    WEIGHTS,
    check_folder,
    model_files,
    no_folder,
    refuse_pickles,
)
from mmrlhf_jobs.models.families.registry import supported_model_types
from mmrlhf_jobs.models.own_code import loading_error
from mmrlhf_jobs.models.processing import choose_template
from mmrlhf_jobs.models.shares import Take, give_away, is_shared
from mmrlhf_jobs.models.sizes import refuse_larger
from mmrlhf_jobs.reporting.events import Tell, tell_in_log

__all__ = ["Attention", "Dtype", "load_adapter", "load_model", "load_skeleton", "read_config"]

_ORIGINAL = ("llava_qwen", "llava_qwen_moe", "llava_llama", "llava_mistral", "llava_mpt")
"""``model_type`` of checkpoints that LLaVA's own code writes (LLaVA-NeXT,
``llava/model/language_model``)."""

Dtype = Literal["float32", "bfloat16", "float16", "float64"]
Attention = Literal["sdpa", "eager", "flash_attention_2"]


def load_model(
    uri: str | Path,
    *,
    dtype: Dtype,
    attention: Attention,
    chat_template: TemplateOwner = "processor",
    tell: Tell = tell_in_log,
    take: Take | None = None,
) -> LoadedModel:
    """Load a vision-language model from a local Hugging Face folder.

    With ``sdpa`` the decoder gets an attention that behaves exactly as transformers' own, and in
    addition knows rows of the form ``[prompt | response 1 | response 2 | ...]``. Dropout is off,
    also in train mode: log-ratios must not carry the noise of two different masks (TRL's
    ``disable_dropout``). The saved configuration keeps its rates.

    Args:
        uri: Path of the folder, or the same as ``file://`` URI. Remote folders are fetched by the
            caller.
        dtype: Type of all weights.
        attention: Attention of decoder and vision tower.
        chat_template: Whose chat template is used where processor and tokenizer differ.
        tell: Is told if they do.
        take: Takes each weight when it was read, and may leave a part of it in the model; so do all
            processes together.

    Raises:
        ModelError: The folder, its configuration or its weights are missing, incomplete or of a
            family without an adapter; the weights are no safetensors; the model brings its own
            code; a link leads out of the folder.
    """
    folder = Path(str(uri).removeprefix("file://"))
    config = read_config(folder)
    auto = auto_class(config, folder)
    _check_weights(folder)
    register_shared_prefix_attention()
    decoder_attention = SHARED_PREFIX_SDPA if attention == "sdpa" else attention
    try:
        refuse_larger(auto, config, folder)
        with give_away(take, rows=config.get_text_config().vocab_size):
            model, info = auto.from_pretrained(
                folder,
                config=config,
                dtype=getattr(torch, dtype),
                attn_implementation={
                    "": attention if "text_config" in config.sub_configs else decoder_attention,
                    "text_config": decoder_attention,
                    "vision_config": attention,
                },
                local_files_only=True,
                trust_remote_code=False,
                use_safetensors=True,
                output_loading_info=True,
                ignore_mismatched_sizes=True,  # refused below, with their names
            )
    except (OSError, ValueError, RuntimeError, ImportError, SafetensorError) as error:
        raise loading_error(
            folder, error, f"{folder}: the model cannot be loaded: {error}"
        ) from error
    # transformers initialises absent weights at random and only warns.
    absent = sorted(info["missing_keys"]) + sorted(str(key) for key in info["mismatched_keys"])
    if absent:
        raise ModelError(
            f"{folder}: {len(absent)} weights of {config.model_type} are missing or have another "
            f"shape, first {absent[:3]}; the folder does not hold a whole model of its config.json"
        )
    if take is not None:
        for parameter in model.parameters():
            if not is_shared(parameter):
                take(parameter)
    _disable_dropout(model)
    processor = load_any_processor(config, folder)
    choose_template(processor, chat_template, tell)
    return LoadedModel(model, processor, make_adapter(model.config, processor))


def load_adapter(
    folder: Path, *, chat_template: TemplateOwner = "processor", tell: Tell = tell_in_log
) -> VLMAdapter:
    """The adapter of a model folder, which turns texts into tokens, without its weights.

    Args:
        folder: Path of the folder.
        chat_template: Whose chat template is used where processor and tokenizer differ.
        tell: Is told if they do.

    Raises:
        ModelError: The folder or its configuration is wrong, or of no kind that is known.
    """
    config = read_config(folder)
    processor = load_any_processor(config, folder)
    choose_template(processor, chat_template, tell)
    return make_adapter(config, processor)


def load_skeleton(
    folder: Path, *, dtype: Dtype, attention: str, chat_template: TemplateOwner = "processor"
) -> LoadedModel:
    """A model of shapes alone, on the meta device, in train mode, with its real processor.

    Args:
        folder: Path of the folder; it needs no weights.
        dtype: Type that the weights would have.
        attention: Attention of the decoder.
        chat_template: Whose chat template is used where processor and tokenizer differ; a run says
            so, this does not.

    Raises:
        ModelError: The folder or its configuration is wrong, or of no kind that is known.
    """
    config = read_config(folder)
    auto = auto_class(config, folder)
    whole = "sdpa" if "text_config" in config.sub_configs else attention
    with torch.device("meta"):
        model = auto.from_config(
            config,
            dtype=getattr(torch, dtype),
            attn_implementation={"": whole, "text_config": attention, "vision_config": "sdpa"},
            trust_remote_code=False,
        )
    model.train()
    processor = load_any_processor(config, folder)
    choose_template(processor, chat_template, lambda _: None)
    return LoadedModel(model, processor, make_adapter(model.config, processor))


def _disable_dropout(model: PreTrainedModel) -> None:
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
        # Attention layers keep their rate as a plain number.
        for name in ("attention_dropout", "dropout"):
            if isinstance(getattr(module, name, None), float):
                setattr(module, name, 0.0)


def read_config(folder: Path) -> PretrainedConfig:
    """The configuration of a model folder.

    Raises:
        ModelError: The folder or its configuration is missing, wrong, or of no known kind.
    """
    if not folder.is_dir():
        raise no_folder(str(folder))
    check_folder(folder)
    if not (folder / "config.json").is_file():
        raise ModelError(f"{folder}: no config.json; a model folder is what save_pretrained writes")
    _refuse_unknown_format(folder)
    try:
        return AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    except (
        OSError, ValueError, KeyError, TypeError, RecursionError, StrictDataclassError
    ) as error:  # fmt: skip
        raise loading_error(
            folder, error, f"{folder}/config.json cannot be used: {error}"
        ) from error


def _refuse_unknown_format(folder: Path) -> None:
    """Tell what transformers does not know, such as checkpoints of LLaVA's own code."""
    try:
        content = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        model_type = content["model_type"]
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return  # told by transformers
    if not isinstance(model_type, str):
        return
    if model_type in _ORIGINAL:
        raise ModelError(
            f"{folder}: model_type {model_type!r} is the format of LLaVA's own code, which is not "
            "supported; use a conversion for transformers, such as "
            "llava-hf/llava-onevision-qwen2-7b-ov-hf for lmms-lab/llava-onevision-qwen2-7b-ov"
        )
    if model_type not in CONFIG_MAPPING and "auto_map" not in content:
        raise ModelError(
            f"{folder}: model_type {model_type!r} is not known to transformers {__version__}, "
            "which is installed here; the model may need a newer one, which its page names; "
            f"proven are {', '.join(supported_model_types())}"
        )


def _check_weights(folder: Path) -> None:
    files = {name for name, _ in model_files(folder)}
    if files.isdisjoint((WEIGHTS, WEIGHT_INDEX)):
        refuse_pickles(folder)
        raise ModelError(f"{folder}: no weights; expected {WEIGHTS} or {WEIGHT_INDEX}")
