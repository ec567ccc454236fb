"""Makes the base model: ``python -m examples.vqa.supervise --out MODEL``.

Two lessons, both from easy-VQA's train split:

1. vision: tower and connector learn to turn pictures into words;
2. practice: the uppermost layers of the text model learn how answers look, good and bad ones alike.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from examples.vqa.model import build_model, build_processor, save_model
from examples.vqa.practice import practise
from examples.vqa.questions import looks, read_images, read_questions
from examples.vqa.text_model import text_model
from examples.vqa.vision import pretrain_vision
from mmrlhf_jobs.models import load_model

__all__ = ["main", "supervise"]


def supervise(
    out: Path,
    *,
    seed: int,
    text: Path | None = None,
    layers: int | None = None,
    pictures: int | None = None,
    seeing: int = 6,
    naming: int = 10,
    practice: int = 160,
    upper_layers: int = 6,
) -> None:
    """Makes a base model and saves it.

    Args:
        out: Model folder to write.
        seed: Decides about new weights and order.
        text: Folder of the text model; None: SmolLM2-135M-Instruct.
        layers: Only so many of its layers, from below; None: all.
        pictures: Only so many pictures of easy-VQA's train split; None: all.
        seeing: Passes over them in which the tower learns.
        naming: Passes in which the connector learns with it.
        practice: Questions of the second lesson.
        upper_layers: Layers of the text model that learn in it.
    """
    text = text or text_model()
    processor = build_processor(text)
    model = build_model(text, processor.tokenizer, seed=seed, layers=layers)
    shown = dict(list(looks(read_questions("train")).items())[:pictures])
    lesson = [(content, shown[number]) for number, content in read_images("train", shown)]
    accuracy = pretrain_vision(model, processor, lesson, seed=seed, seeing=seeing, naming=naming)
    print(f"vision: {accuracy:.1%} of pictures named right, colour and shape", flush=True)
    save_model(model.eval(), processor, out)
    del model
    loaded = load_model(out, dtype="float32", attention="sdpa")
    practise(loaded, seed=seed, questions=practice, upper_layers=upper_layers)
    loaded.model.save_pretrained(out)


def main(arguments: list[str] | None = None) -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--out", type=Path, required=True, help="model folder to write")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)
    supervise(options.out, seed=options.seed)


if __name__ == "__main__":
    main()
