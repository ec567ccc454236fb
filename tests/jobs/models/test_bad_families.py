"""Models that cannot be used: one message each, before training, that says what to do."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers as hf
from transformers.models.smolvlm import processing_smolvlm

from mmrlhf_jobs.__main__ import main
from mmrlhf_jobs.models import processing
from tests.jobs.models.zoo import save
from tests.jobs.training.world import World, make_record, write_records

pytestmark = [
    pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning"),
    pytest.mark.usefixtures("own_signals"),
]

Change = Callable[[Path, pytest.MonkeyPatch], None]


@dataclass(frozen=True)
class Case:
    """One mistake.

    Attributes:
        family: Which model it is made in.
        change: Makes it in the model's folder.
        says: What the message must contain.
    """

    family: str
    change: Change
    says: tuple[str, ...]


def files(**changes: dict[str, Any]) -> Change:
    """Change JSON files of the folder, by their names without ``.json``."""

    def change(folder: Path, _: pytest.MonkeyPatch) -> None:
        for name, values in changes.items():
            path = folder / f"{name}.json"
            path.write_text(json.dumps({**json.loads(path.read_text()), **values}))

    return change


def few_positions(folder: Path, _: pytest.MonkeyPatch) -> None:
    path = folder / "config.json"
    config = json.loads(path.read_text())
    config["text_config"]["max_position_embeddings"] = 40
    path.write_text(json.dumps(config))


def see_as_lfm2_vl(folder: Path, _: pytest.MonkeyPatch) -> None:
    """Make an LFM2-VL of LFM2, as its folder is; only its pixels need torchvision."""
    text = json.loads((folder / "config.json").read_text())
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    vision = {"model_type": "siglip2_vision_model", "intermediate_size": 32, **sizes}
    config = hf.Lfm2VlConfig(vision_config=vision, text_config=text, projector_hidden_size=32)
    hf.Lfm2VlForConditionalGeneration(config).save_pretrained(folder)
    images = {"image_processor_type": "Lfm2VlImageProcessor"}
    settings = {"processor_class": "Lfm2VlProcessor", "image_processor": images}
    (folder / "processor_config.json").write_text(json.dumps(settings))


def ask_for_num2words(_: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As SmolVLM's own processor does where nobody stands in for the package."""
    monkeypatch.setattr(processing, "processor_without_video", lambda found: found)
    monkeypatch.setattr(processing_smolvlm, "num2words", None)
    monkeypatch.setattr(
        processing_smolvlm.SmolVLMProcessor,
        "from_pretrained",
        lambda folder, **_: processing_smolvlm.SmolVLMProcessor(
            None, hf.AutoTokenizer.from_pretrained(folder), None
        ),
    )


def without_answers(folder: Path, _: pytest.MonkeyPatch) -> None:
    template = folder / "chat_template.jinja"
    asks_alone = "{% for message in messages if message['role'] == 'user' %}"
    found = template.read_text()
    assert "{% for message in messages %}" in found
    template.write_text(found.replace("{% for message in messages %}", asks_alone))


def without_grids(_: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make = hf.Qwen2VLProcessor.__call__

    def call(self: Any, *args: Any, **settings: Any) -> Any:
        made = make(self, *args, **settings)
        made.pop("image_grid_thw")
        return made

    monkeypatch.setattr(hf.Qwen2VLProcessor, "__call__", call)


def nameless_tower(_: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        hf.LlavaForConditionalGeneration, "get_encoder", lambda self, modality=None: self
    )


CASES = {
    "an architecture that is not known": Case(
        "llava",
        files(config={"model_type": "qwen9_vl"}),
        ("'qwen9_vl' is not known to transformers", "newer"),
    ),
    "a processor that needs torchvision": Case(
        "llava",
        files(
            processor_config={
                "processor_class": "Llama4Processor",
                "image_processor": {"image_processor_type": "Llama4ImageProcessor"},
            }
        ),
        ("torchvision, which is not installed here", "pip install torchvision"),
    ),
    "a family that needs torchvision": Case(
        "lfm2",
        see_as_lfm2_vl,
        (
            "with torchvision, which is not installed here",
            f"pip install torchvision in its version for torch {torch.__version__}",
        ),
    ),
    "a processor that needs num2words": Case(
        "smolvlm",
        ask_for_num2words,
        ("num2words, which is not installed here", "pip install num2words"),
    ),
    "a processor of another family": Case(
        "qwen2_vl",
        files(
            processor_config={
                "image_processor": {
                    "image_processor_type": "CLIPImageProcessor",
                    "size": {"shortest_edge": 8},
                    "crop_size": {"height": 8, "width": 8},
                }
            }
        ),
        ("Qwen2VLProcessor fails on an image", "CLIPImageProcessor", "image_processor_type"),
    ),
    "image tokens beyond the model's limit": Case(
        "llava",
        few_positions,
        ("train.jsonl, row 1", "the model takes 40", "nothing is cut off"),
    ),
    "a template without an assistant's turn": Case(
        "llava", without_answers, ("chat template does not render the assistant's answer",)
    ),
    "positions by grids, and no grids": Case(
        "qwen2_vl", without_grids, ("grid", "Qwen2VLProcessor makes no image_grid_thw")
    ),
    "a tower that cannot be told from the rest": Case(
        "llava",
        nameless_tower,
        ("LlavaForConditionalGeneration has no name that is known", "be frozen"),
    ),
}


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Folder of a tiny model of a family, saved once."""
    made: dict[str, Path] = {}

    def folder(family: str) -> Path:
        if family not in made:
            made[family] = save(family, tmp_path_factory.mktemp("models") / family)
        return made[family]

    return folder


def make_world(folder: Path) -> World:
    write_records(
        folder / "data" / "train.jsonl", [make_record(folder / "data", one) for one in range(2)]
    )
    return World(folder)


def job_of(world: World) -> dict[str, Any]:
    job = world.job(objective__beta__strategy="fixed", training__maxSteps=1)
    del job["spec"]["reward"], job["spec"]["data"]["evaluation"]
    return job


@pytest.mark.parametrize("name", CASES)
def test_a_model_that_cannot_be_used_is_told_before_training(
    name: str,
    folders: Callable[[str], Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    case = CASES[name]
    world = make_world(tmp_path)
    copy_model(folders(case.family), tmp_path / "model")
    case.change(tmp_path / "model", monkeypatch)
    capsys.readouterr()
    assert main(["mmdpo", "--job", str(world.write_job(job_of(world)))]) == 2
    shown = capsys.readouterr()
    message = "".join(
        line for line in shown.err.splitlines(keepends=True) if not line.startswith("Loading")
    )
    for part in case.says:
        assert part in message
    assert message.count("error: ") == 1
    assert "Traceback" not in message
    assert "model folder needs" not in message
    assert len(message.strip().splitlines()) <= (3 if "row 1" in message else 1)
    assert "train: step" not in shown.out
    assert not list((tmp_path / "artifacts").rglob("manifest.json"))


def copy_model(source: Path, target: Path) -> None:
    target.mkdir()
    for path in source.iterdir():
        (target / path.name).write_bytes(path.read_bytes())


def test_a_tokenizer_that_cuts_texts_off_cuts_no_image_tokens(
    folders: Callable[[str], Path], tmp_path: Path
) -> None:
    """As ``truncation`` in tokenizer_config.json has processors of transformers do."""
    world = make_world(tmp_path)
    copy_model(folders("llava"), tmp_path / "model")
    cut = {"truncation": True, "max_length": 5, "model_max_length": 5}
    files(tokenizer_config=cut)(tmp_path / "model", pytest.MonkeyPatch())
    assert main(["mmdpo", "--job", str(world.write_job(job_of(world)))]) == 0
