"""A folder that is made without torchvision is read with it, and the other way round, alike."""

from __future__ import annotations

import inspect
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers as hf
from safetensors import safe_open
from torch import Tensor
from transformers.models.auto.image_processing_auto import get_image_processor_class_from_name
from transformers.models.auto.video_processing_auto import VIDEO_PROCESSOR_MAPPING_NAMES
from transformers.utils import is_torchvision_available

from mmrlhf_jobs.models import load_model
from mmrlhf_jobs.models.architecture import load_any_processor
from tests.jobs.models.tiny import picture
from tests.jobs.models.zoo import TEXT_ALONE
from tests.torchvision.folders import NAMES, make, read

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

WITH_IMAGES = [name for name in NAMES if name not in TEXT_ALONE]


def elsewhere(verb: str, folder: Path) -> None:
    """Do something where torchvision is not."""
    python = os.environ["MMRLHF_TEST_PLAIN_PYTHON"]
    subprocess.run([python, "-m", "tests.torchvision.folders", verb, str(folder)], check=True)


def recorded(folder: Path, name: str) -> dict[str, Tensor]:
    """What was read elsewhere."""
    with safe_open(folder / f"{name}.safetensors", "pt") as file:
        assert file.metadata() == {"torchvision": "False"}
        return {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 - no dict


def assert_same(found: dict[str, Tensor], other: dict[str, Tensor]) -> None:
    assert found.keys() == other.keys()
    assert [key for key, value in found.items() if not torch.equal(value, other[key])] == []


@pytest.fixture(scope="session")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folders that were made, and read, without torchvision."""
    folder = tmp_path_factory.mktemp("plain")
    elsewhere("make", folder)
    elsewhere("read", folder)
    return folder


def save_stock(folder: Path) -> None:
    """Give a folder the processor that transformers makes with torchvision."""
    config = hf.AutoConfig.from_pretrained(folder, trust_remote_code=False)
    ours = load_any_processor(config, folder)
    images = type(ours.image_processor).__name__.removesuffix("Pil")
    parts: dict[str, Any] = {
        "tokenizer": ours.tokenizer,
        "image_processor": get_image_processor_class_from_name(images)(
            **ours.image_processor.to_dict()
        ),
    }
    stock = getattr(hf, type(ours).__name__)
    asked = inspect.signature(stock).parameters
    if "video_processor" in asked:
        video = VIDEO_PROCESSOR_MAPPING_NAMES[config.model_type]["torchvision"]
        parts["video_processor"] = getattr(hf, video)()
    settings = {key: getattr(ours, key) for key in asked if hasattr(ours, key)}
    for path in folder.glob("*processor_config.json"):
        path.unlink()
    stock(**{**settings, **parts}).save_pretrained(folder)


@pytest.fixture(scope="session")
def stock(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folders with torchvision's processors, read without it."""
    folder = tmp_path_factory.mktemp("stock")
    for name in NAMES:
        make(name, folder / name)
        if name not in TEXT_ALONE:
            save_stock(folder / name)
    elsewhere("read", folder)
    return folder


def test_torchvision_is_here() -> None:
    assert is_torchvision_available()
    assert hf.Qwen2VLImageProcessor().backend == "torchvision"


@pytest.mark.parametrize("name", NAMES)
def test_a_folder_made_without_it_is_read_alike(plain: Path, name: str) -> None:
    assert load_model(plain / name, dtype="float32", attention="sdpa").model.num_parameters()
    assert_same(read(name, plain / name), recorded(plain, name))


@pytest.mark.parametrize("name", WITH_IMAGES)
def test_a_folder_made_with_it_is_read_alike(plain: Path, stock: Path, name: str) -> None:
    """And as the same that was made without it."""
    config = (stock / name / "processor_config.json").read_text()
    assert "Pil" not in config
    found = read(name, stock / name)
    assert_same(found, recorded(stock, name))
    assert_same(found, recorded(plain, name))


@pytest.mark.parametrize("name", WITH_IMAGES)
def test_torchvision_itself_is_a_level_of_255_off_at_most(stock: Path, name: str) -> None:
    """Its own pixels, which ours are not: what a server that takes them sees."""
    images = hf.AutoImageProcessor.from_pretrained(
        stock / name, backend="torchvision", local_files_only=True, trust_remote_code=False
    )
    config = hf.AutoConfig.from_pretrained(stock / name, trust_remote_code=False)
    ours = load_any_processor(config, stock / name).image_processor
    assert (images.backend, ours.backend) == ("torchvision", "pil")
    theirs, found = (
        torch.as_tensor(one(images=[[picture(50, 30, 1)]], return_tensors="pt")["pixel_values"])
        for one in (images, ours)
    )
    assert 0 < float((theirs - found).abs().max()) < 1.01 / (255 * min(images.image_std))
