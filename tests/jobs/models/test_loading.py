"""Loading model folders, whole and broken."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForImageTextToText

import mmrlhf
from mmrlhf_api.models import TemplateOwner
from mmrlhf_jobs.__main__ import main
from mmrlhf_jobs.errors import ModelError
from mmrlhf_jobs.models import load_model
from mmrlhf_jobs.models.folders import fetch_model
from mmrlhf_jobs.models.loading import load_adapter
from tests.jobs.models.tiny import CHATML, save_tiny


@pytest.fixture
def copy(tiny: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny, tmp_path / "copy"))


def refusal(folder: Path) -> str:
    with pytest.raises(ModelError) as caught:
        load_model(folder, dtype="float32", attention="sdpa")
    assert caught.value.exit_code == 2
    return str(caught.value)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_loads_what_was_saved(tiny: Path, dtype: str, attention: str) -> None:
    loaded = load_model(f"file://{tiny}", dtype=dtype, attention=attention)  # type: ignore[arg-type]
    saved = load_file(tiny / "model.safetensors")
    weights = loaded.model.state_dict()
    name = "model.language_model.layers.0.mlp.up_proj.weight"
    (stored,) = [
        value for key, value in saved.items() if key.endswith("layers.0.mlp.up_proj.weight")
    ]
    assert weights[name].dtype == getattr(torch, dtype)
    torch.testing.assert_close(weights[name], stored.to(weights[name].dtype), rtol=0, atol=0)
    assert loaded.adapter.supports_shared_prefix


def test_own_attention_leaves_no_trace_in_saved_config(tiny: Path, tmp_path: Path) -> None:
    loaded = load_model(tiny, dtype="float32", attention="sdpa")
    loaded.model.save_pretrained(tmp_path)
    assert "mmrlhf" not in (tmp_path / "config.json").read_text()
    ours = set(json.loads((tmp_path / "config.json").read_text())) - {"transformers_version"}
    assert ours == set(json.loads((tiny / "config.json").read_text())) - {"transformers_version"}


def test_dropout_is_off_but_stays_in_the_config(tmp_path: Path) -> None:
    folder = save_tiny(tmp_path / "dropout", attention_dropout=0.5)
    loaded = load_model(folder, dtype="float32", attention="eager")
    loaded.model.train()
    ids = torch.arange(10, 40)[None]
    first, second = (loaded.model(input_ids=ids).logits for _ in range(2))
    torch.testing.assert_close(first, second, rtol=0, atol=0)
    assert loaded.model.config.text_config.attention_dropout == 0.5


def test_missing_folder(tmp_path: Path) -> None:
    message = refusal(tmp_path / "nothing")
    assert str(tmp_path / "nothing") in message
    assert "model.uri" in message


def test_missing_config(copy: Path) -> None:
    (copy / "config.json").unlink()
    assert "config.json" in refusal(copy)


def test_config_that_is_no_json(copy: Path) -> None:
    (copy / "config.json").write_text("{")
    assert "config.json cannot be used" in refusal(copy)


def test_config_that_contradicts_itself(copy: Path) -> None:
    config = json.loads((copy / "config.json").read_text())
    config["text_config"] |= {"num_hidden_layers": 3, "layer_types": ["full_attention"] * 2}
    (copy / "config.json").write_text(json.dumps(config))
    message = refusal(copy)
    assert "config.json cannot be used" in message
    assert "num_hidden_layers" in message


def test_unsupported_family(copy: Path) -> None:
    (copy / "config.json").write_text(json.dumps({"model_type": "vit"}))
    message = refusal(copy)
    assert "'vit'" in message
    assert "llava_onevision" in message


def test_missing_weights(copy: Path) -> None:
    (copy / "model.safetensors").unlink()
    assert "no weights" in refusal(copy)


def test_missing_shard(copy: Path) -> None:
    (copy / "model.safetensors").rename(copy / "model-00001-of-00002.safetensors")
    index = {
        "weight_map": {
            "a": "model-00001-of-00002.safetensors",
            "b": "model-00002-of-00002.safetensors",
        }
    }
    (copy / "model.safetensors.index.json").write_text(json.dumps(index))
    assert "model-00002-of-00002.safetensors" in refusal(copy)


@pytest.mark.parametrize("damage", ["absent", "reshaped"])
def test_incomplete_weights_are_refused_not_made_up(copy: Path, damage: str) -> None:
    weights = load_file(copy / "model.safetensors")
    (name,) = [key for key in weights if key.endswith("layers.1.mlp.up_proj.weight")]
    if damage == "absent":
        del weights[name]
    else:
        weights[name] = weights[name][:-1].contiguous()
    save_file(weights, copy / "model.safetensors", metadata={"format": "pt"})
    assert "layers.1.mlp.up_proj.weight" in refusal(copy)


def test_a_configuration_of_a_larger_model_is_told_before_memory_is_taken(
    copy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = json.loads((copy / "config.json").read_text())
    config["text_config"]["intermediate_size"] *= 50
    (copy / "config.json").write_text(json.dumps(config))
    loads: list[Path] = []
    monkeypatch.setattr(
        AutoModelForImageTextToText, "from_pretrained", lambda folder, **_: loads.append(folder)
    )
    message = refusal(copy)
    assert "config.json describes a model of" in message
    assert loads == []


def pointer(path: Path) -> None:
    path.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:aa\nsize 5\n")


def cut(path: Path, size: int) -> None:
    path.write_bytes(path.read_bytes()[:size])


@pytest.mark.parametrize("name", ["model.safetensors", "tokenizer.json"])
def test_a_pointer_is_told_from_the_file_that_it_stands_for(copy: Path, name: str) -> None:
    pointer(copy / name)
    message = refusal(copy)
    assert str(copy / name) in message
    assert "is a Git LFS pointer" in message


@pytest.mark.parametrize("size", [0, 5, 300, -1])
def test_weights_cut_short_are_told_before_they_are_loaded(copy: Path, size: int) -> None:
    cut(copy / "model.safetensors", size)
    message = refusal(copy)
    assert f"{copy / 'model.safetensors'} is cut short" in message


@pytest.mark.parametrize("content", [b"PK\x03\x04" * 50, b"\x02" + bytes(7) + b"[]", b"<" * 100])
def test_what_is_no_safetensors_file_is_refused(copy: Path, content: bytes) -> None:
    (copy / "model.safetensors").write_bytes(content)
    message = refusal(copy)
    assert "is no safetensors file" in message
    assert len(message) < 500


def test_the_format_of_llavas_own_code_is_named(copy: Path) -> None:
    config = json.loads((copy / "config.json").read_text())
    (copy / "config.json").write_text(json.dumps({**config, "model_type": "llava_qwen"}))
    message = refusal(copy)
    assert "'llava_qwen' is the format of LLaVA's own code" in message
    assert "llava-hf/llava-onevision-qwen2-7b-ov-hf" in message


def test_an_id_of_the_hub_is_no_folder(tmp_path: Path) -> None:
    hub = "Qwen/Qwen2.5-VL-7B-Instruct"
    with pytest.raises(ModelError, match=f"hf download {hub} --local-dir"):
        fetch_model(hub, tmp_path)
    assert f"hf download {hub} --local-dir" in refusal(Path(hub))
    assert "hf download" not in refusal(tmp_path / "Qwen2.5-VL")


def test_missing_tokenizer(copy: Path) -> None:
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (copy / name).unlink()
    assert "tokenizer" in refusal(copy)


def test_tokenizer_of_another_model(copy: Path) -> None:
    config = json.loads((copy / "config.json").read_text())
    key = "image_token_id" if "image_token_id" in config else "image_token_index"
    config[key] = 7
    (copy / "config.json").write_text(json.dumps(config))
    assert "do not belong together" in refusal(copy)


def two_templates(copy: Path) -> None:
    """As conversions of LLaVA-OneVision have them, each in a file of its own."""
    (copy / "chat_template.jinja").unlink()
    own = CHATML.replace("helpful", "processor")
    (copy / "chat_template.json").write_text(json.dumps({"chat_template": own}))
    config = json.loads((copy / "tokenizer_config.json").read_text())
    other = CHATML.replace("helpful", "tokenizer")
    (copy / "tokenizer_config.json").write_text(json.dumps({**config, "chat_template": other}))


@pytest.mark.parametrize("whose", ["processor", "tokenizer"])
def test_of_two_chat_templates_one_is_used_and_told(copy: Path, whose: TemplateOwner) -> None:
    two_templates(copy)
    told: list[str] = []
    loaded = load_model(
        copy, dtype="float32", attention="sdpa", chat_template=whose, tell=told.append
    )
    light = load_adapter(copy, chat_template=whose, tell=told.append)
    for adapter in (loaded.adapter, light):
        assert f"{whose} assistant" in adapter.chat.prompt_text("x", [])
    assert len(told) == 2
    for note in told:
        assert "two chat templates that differ" in note
        assert f"that of the {whose} is used" in note


def test_two_chat_templates_are_told_whoever_asks(
    copy: Path, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    """Also where nobody says whom to tell, as from a notebook, and by a dry run of an import."""
    two_templates(copy)
    model = mmrlhf.load_model(copy, chat_template="tokenizer")
    assert "tokenizer assistant" in model.loaded.adapter.chat.prompt_text("x", [])
    assert "that of the tokenizer is used" in caplog.text
    rows = copy / "rows.jsonl"
    rows.write_text('{"prompt": "Q?", "chosen": "A", "rejected": "B"}\n')
    line = ["import", "trl", str(rows), "x.jsonl", "--dry-run", f"--model={copy}"]
    for whose in ("processor", "tokenizer"):
        assert main([*line, f"--chat-template={whose}"]) == 0
        shown = capfd.readouterr()
        assert f"{whose} assistant" in shown.out
        assert f"that of the {whose} is used" in shown.err


def test_one_chat_template_is_no_news(tiny: Path) -> None:
    told: list[str] = []
    load_model(tiny, dtype="float32", attention="sdpa", tell=told.append)
    assert not told
