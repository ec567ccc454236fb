"""Models that bring code or pickles: nothing of theirs runs, and no one is asked whether it may."""

from __future__ import annotations

import io
import json
import shutil
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import torch

from mmrlhf_jobs.errors import ModelError
from mmrlhf_jobs.models import load_model
from mmrlhf_jobs.sampling.embeddings.encoder import Encoder
from tests.jobs.sampling.encoders import save_clip

CODE = """
import pathlib
pathlib.Path({mark!r}).write_text("ran")
from transformers import *
class Mine(PretrainedConfig):
    model_type = "my_vlm"
"""


@pytest.fixture
def copy(tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with code that leaves a file when it runs, and a person who says yes."""
    monkeypatch.setattr(sys, "stdin", io.StringIO("y\n" * 20))
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    folder = Path(shutil.copytree(tiny, tmp_path / "copy"))
    (folder / "mine.py").write_text(CODE.format(mark=str(tmp_path / "ran")))
    return folder


def change(path: Path, changes: dict[str, Any]) -> None:
    content = json.loads(path.read_text()) if path.is_file() else {}
    path.write_text(json.dumps({**content, **changes}))


def load(folder: Path) -> object:
    return load_model(folder, dtype="float32", attention="sdpa")


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("config.json", {"model_type": "my_vlm", "auto_map": {"AutoConfig": "mine.Mine"}}),
        (
            "tokenizer_config.json",
            {"tokenizer_class": "Mine", "auto_map": {"AutoTokenizer": ["mine.Mine", "mine.Mine"]}},
        ),
        (
            "processor_config.json",
            {"processor_class": "Mine", "auto_map": {"AutoProcessor": "mine.Mine"}},
        ),
        (
            "preprocessor_config.json",
            {"image_processor_type": "Mine", "auto_map": {"AutoImageProcessor": "mine.Mine"}},
        ),
    ],
)
def test_code_of_a_model_never_runs(
    copy: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    name: str,
    changes: dict[str, Any],
) -> None:
    change(copy / name, changes)
    # A file that names a class of transformers beside its own code is read with that class.
    expected = "brings Python code of its own"
    must = name in ("config.json", "tokenizer_config.json")
    with pytest.raises(ModelError, match=expected) if must else suppress(ModelError):
        load(copy)
    assert not (tmp_path / "ran").exists()
    assert sys.stdin.read() == "y\n" * 20, "someone was asked"
    assert "[y/N]" not in capsys.readouterr().out


def test_a_model_of_transformers_may_name_code_that_is_not_run(copy: Path, tmp_path: Path) -> None:
    change(copy / "config.json", {"auto_map": {"AutoConfig": "mine.Mine"}})
    load(copy)
    assert not (tmp_path / "ran").exists()
    assert sys.stdin.read() == "y\n" * 20


@pytest.mark.parametrize("name", ["config.json", "preprocessor_config.json"])
def test_code_of_an_encoder_never_runs(copy: Path, tmp_path: Path, name: str) -> None:
    folder = save_clip(tmp_path / "clip")
    shutil.copy(copy / "mine.py", folder)
    key = "AutoConfig" if name == "config.json" else "AutoImageProcessor"
    change(
        folder / name,
        {"model_type": "my_vlm", "image_processor_type": "M", "auto_map": {key: "mine.Mine"}},
    )
    with pytest.raises(ModelError, match="brings Python code of its own"):
        Encoder(folder)
    assert not (tmp_path / "ran").exists()
    assert sys.stdin.read() == "y\n" * 20


class Trap:
    """A pickle that leaves a file when it is opened."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
        return (Path.touch, (self.mark,))


@pytest.mark.parametrize("use", [load, Encoder], ids=["model", "encoder"])
@pytest.mark.parametrize("name", ["pytorch_model.bin", "pytorch_model-00001-of-00001.bin"])
def test_pickles_are_not_opened(
    copy: Path, tmp_path: Path, use: Callable[[Path], object], name: str
) -> None:
    folder = copy if use is load else save_clip(tmp_path / "clip")
    (folder / "model.safetensors").unlink()
    torch.save({"weight": Trap(tmp_path / "ran")}, folder / name)
    index = {"metadata": {}, "weight_map": {"weight": name}}
    (folder / "pytorch_model.bin.index.json").write_text(json.dumps(index))
    with pytest.raises(ModelError, match=r"are pickles.*save_pretrained"):
        use(folder)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("shard", ["../other.safetensors", "/etc/passwd", "model.bin"])
def test_an_index_names_safetensors_of_its_folder(copy: Path, tmp_path: Path, shard: str) -> None:
    (copy / "model.safetensors").rename(tmp_path / "other.safetensors")
    (copy / "model.bin").touch()
    index = {"metadata": {}, "weight_map": {"weight": shard}}
    (copy / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(ModelError, match="weight files named by"):
        load(copy)
