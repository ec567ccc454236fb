"""Makes a corpus to try a sampling on: crops of photographs that come with Python packages.

::

    python examples/sampling/photographs.py FOLDER
    mmrlhfctl run --local --file FOLDER/job.yaml

Needs scikit-learn and scikit-image. Photographs give very different numbers of crops, as subjects
do in real corpora. The encoder is a CLIP with random weights, which tells colours and textures
apart.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any, Final

import numpy as np
import skimage
import sklearn.datasets
import torch
import yaml
from PIL import Image
from transformers import CLIPConfig, CLIPImageProcessorPil, CLIPModel

_EDGE: Final = 64
_MOST: Final = 400


def main(folder: Path) -> None:
    """Write pictures, conversations, an encoder and a job."""
    images = folder / "data" / "images"
    images.mkdir(parents=True)
    rng = np.random.default_rng(0)
    with (folder / "data" / "rows.jsonl").open("w") as file:
        for place, path in enumerate(_photographs()):
            with Image.open(path) as opened:
                photograph = opened.convert("RGB")
            photograph.thumbnail((512, 512))
            for number in range(max(6, _MOST // (place + 1))):
                left, top = (int(rng.integers(0, size - _EDGE)) for size in photograph.size)
                name = f"{path.stem}-{number}"
                crop = photograph.crop((left, top, left + _EDGE, top + _EDGE))
                crop.save(images / f"{name}.png")
                file.write(json.dumps(_conversation(name, path.stem, number)) + "\n")
    _save_encoder(folder / "clip")
    (folder / "job.yaml").write_text(yaml.safe_dump(_job(folder), sort_keys=False))


def _photographs() -> list[Path]:
    """By name, so that neighbours have nothing in common."""
    scikit_image = Path(skimage.__file__).parent / "data"
    names = ("astronaut.png", "brick.png", "chelsea.png", "coffee.png", "coins.png", "grass.png",
             "gravel.png", "hubble_deep_field.jpg", "ihc.png", "motorcycle_left.png", "page.png",
             "retina.jpg", "rocket.jpg")  # fmt: skip
    found = [scikit_image / name for name in names if (scikit_image / name).is_file()]
    return sorted([*(Path(sklearn.datasets.__file__).parent / "images").glob("*.jpg"), *found],
                  key=lambda path: path.name)  # fmt: skip


def _conversation(name: str, subject: str, number: int) -> dict[str, Any]:
    turns = ["What is this a part of?", f"A photograph, {subject}."]
    if number % 3 == 0:
        turns += ["Describe it.", f"It is piece {number} of the photograph {subject}. " * 5]
    if number % 5 == 0:
        turns += [f"Which is it?\nA. {subject}\nB. none\nAnswer with the option's letter.", "A"]
    parties = ("human", "gpt")
    return {
        "id": name,
        "image": f"images/{name}.png",
        "conversations": [
            {"from": parties[place % 2], "value": text} for place, text in enumerate(turns)
        ],
    }


def _save_encoder(folder: Path) -> None:
    torch.manual_seed(0)
    sizes = {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2}
    vision = {**sizes, "num_attention_heads": 4, "image_size": _EDGE, "patch_size": 8}
    words = {"vocab_size": 50, "max_position_embeddings": 16, "bos_token_id": 0, "eos_token_id": 1}
    text = {**sizes, "num_attention_heads": 4, **words}
    CLIPModel(
        CLIPConfig(text_config=text, vision_config=vision, projection_dim=64)
    ).save_pretrained(folder)
    crop = {"height": _EDGE, "width": _EDGE}
    CLIPImageProcessorPil(size={"shortest_edge": _EDGE}, crop_size=crop).save_pretrained(folder)


def _job(folder: Path) -> dict[str, Any]:
    return {
        "apiVersion": "mmrlhf.io/v1alpha1",
        "kind": "ClusterSampleJob",
        "metadata": {"name": "photographs"},
        "spec": {
            "sources": [{"name": "photographs", "uri": str(folder.resolve() / "data")}],
            "target": 300,
            "embedding": {"model": {"uri": str(folder.resolve() / "clip")}},
            "clustering": {"centres": 16},
            "artifacts": {"uri": str(folder.resolve() / "artifacts")},
        },
    }


if __name__ == "__main__":
    main(Path(sys.argv[1]))
