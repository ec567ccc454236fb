"""The group form against TRL's DPOTrainer on the batch of all pairs.

Same model, same reference, same images: the loss and the gradient of every parameter are equal,
although TRL sees each response once per pair and this project once per group.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from datasets import Dataset
from trl import DPOConfig, DPOTrainer

from mmrlhf_jobs.data.media import LoadedMedia
from mmrlhf_jobs.data.pairs import form_pairs
from mmrlhf_jobs.forward.responses import response_log_probs
from mmrlhf_jobs.models import LoadedModel, load_model
from mmrlhf_jobs.objectives.preference import index_pairs, preference_loss
from mmrlhf_jobs.objectives.supervised import supervised_loss
from tests.jobs.models.tiny import picture, save_tiny

BETA, GAMMA = 0.1, 0.25
QUESTIONS = ["what is this?", "and those pictures, which is red?"]
RESPONSES = [
    ["a dog", "a red square and a blue circle", "blue", "no dog circle"],
    ["yes", "a blue circle is here", "picture"],
]
RANKS = [[1, 2, 3, 4], [2, 1, 2]]

# The trainer's own use of names that transformers is about to drop.
pytestmark = [
    pytest.mark.filterwarnings("ignore::FutureWarning:transformers.*"),
    pytest.mark.filterwarnings("ignore::FutureWarning:trl.*"),
]


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Policy and a reference with other weights, so that the loss is not log 2 everywhere."""
    root = tmp_path_factory.mktemp("parity")
    return save_tiny(root / "policy", seed=0), save_tiny(root / "reference", seed=1)


@pytest.fixture
def images() -> list[list[Any]]:
    return [[picture(50, 30, 1)], [picture(20, 60, 2), picture(40, 40, 3)]]


@pytest.fixture
def trl_loss(
    folders: tuple[Path, Path], images: list[list[Any]], tmp_path: Path
) -> tuple[float, dict[str, torch.Tensor]]:
    policy, reference = (load_model(f, dtype="float32", attention="sdpa") for f in folders)
    chat = policy.adapter.chat
    rows = [
        {
            "prompt": chat.prompt_text(QUESTIONS[group], ["image"] * len(images[group])),
            "chosen": RESPONSES[group][pair.chosen] + chat.terminal_token,
            "rejected": RESPONSES[group][pair.rejected] + chat.terminal_token,
            "images": images[group],
        }
        for group, ranks in enumerate(RANKS)
        for pair in form_pairs(ranks)
    ]
    trainer = DPOTrainer(
        model=policy.model,
        ref_model=reference.model,
        args=DPOConfig(
            output_dir=str(tmp_path),
            use_cpu=True,
            bf16=False,
            max_length=None,
            beta=BETA,
            loss_type=["sigmoid", "sft"],
            loss_weights=[1.0, GAMMA],
            per_device_train_batch_size=len(rows),
            report_to=[],
        ),
        train_dataset=Dataset.from_list(rows),
        processing_class=policy.processor,
    )
    trainer.model.train()
    (batch,) = trainer.get_train_dataloader()
    assert len(batch["input_ids"]) == 2 * len(rows)
    loss = trainer.compute_loss(trainer.model, batch)
    loss.backward()
    return loss.item(), gradients(policy)


def gradients(loaded: LoadedModel) -> dict[str, torch.Tensor]:
    return {n: p.grad for n, p in loaded.model.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("shared_prefix", [True, False])
def test_loss_and_gradients_are_those_of_trl(
    folders: tuple[Path, Path],
    images: list[list[Any]],
    trl_loss: tuple[float, dict[str, torch.Tensor]],
    shared_prefix: bool,
) -> None:
    policy, reference = (load_model(f, dtype="float32", attention="sdpa") for f in folders)
    groups = [
        policy.adapter.encode(
            QUESTIONS[index],
            [LoadedMedia("image", (image,)) for image in images[index]],
            RESPONSES[index],
        )
        for index in range(len(RANKS))
    ]
    places = index_pairs([form_pairs(ranks) for ranks in RANKS], [len(r) for r in RESPONSES])
    scored = response_log_probs(policy.model, policy.adapter, groups, shared_prefix=shared_prefix)
    with torch.no_grad():
        base = response_log_probs(
            reference.model, reference.adapter, groups, shared_prefix=shared_prefix
        )
    preference = preference_loss(scored.sums, base.sums, places, BETA)
    supervised = supervised_loss(scored.sums, scored.lengths, places)
    loss = (
        preference.total / preference.pairs + GAMMA * supervised.numerator / supervised.denominator
    )
    loss.backward()

    expected, trl_gradients = trl_loss
    assert float(preference.gaps.abs().min()) > 0.1
    assert loss.item() == pytest.approx(expected, rel=1e-6)
    ours = gradients(policy)
    assert ours.keys() == trl_gradients.keys()
    assert len(ours) > 60
    # Some gradients are zero in theory (bias of the keys): compare with the scale of all.
    scale = max(float(gradient.abs().max()) for gradient in trl_gradients.values())
    for name, gradient in ours.items():
        torch.testing.assert_close(
            gradient,
            trl_gradients[name],
            rtol=2e-4,
            atol=1e-6 * scale,
            msg=f"{name}: {{}}".format,
        )
