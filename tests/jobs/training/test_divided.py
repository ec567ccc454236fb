"""Weights that are divided over processes: how they are loaded, and what is learnt with them."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import LlavaOnevisionForConditionalGeneration

from mmrlhf_api import RewardInference
from mmrlhf_jobs.models import load_model
from mmrlhf_jobs.models.weights import held
from mmrlhf_jobs.process.gang import Runtime
from mmrlhf_jobs.reward_model.head import RewardHead
from mmrlhf_jobs.reward_model.judge import RewardModelCard, critique_template, save_reward_model
from mmrlhf_jobs.reward_model.scorer import RewardScorer
from tests.jobs.models.tiny import make_config, make_processor, save_tiny
from tests.jobs.models.zoo import save
from tests.jobs.training.divided import train
from tests.jobs.training.world import make_record, write_records
from tests.jobs.warm import AT_IMPORT, Program

pytestmark = pytest.mark.usefixtures("one_thread")

ALONE = Runtime(0, 1, torch.device("cpu"))
FAMILIES = ("llava_onevision", "qwen2_5_vl", "qwen3")
"""One with a module of its own, one whose projector is in its tower, and one without media."""
SHARD = 5_000_000
"""Bytes of a file, at most."""
IMPORTS = (
    "mmrlhf_jobs.training.engines.deepspeed_engine",
    "peft",
    *(f"transformers.models.{name}.modeling_{name}" for name in FAMILIES),
)
UNLIKE = ("qwen3_vl_moe", "gemma3", "qwen3_5_text")
"""Experts that are put together as they are read; tied weights and a scale in a buffer; states."""


def in_gang(what: str, processes: int, cases: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    program = Program(
        "tests.jobs.training.divided",
        [what, json.dumps(cases)],
        {**os.environ, **AT_IMPORT},
        processes=processes,
        imports=IMPORTS,
    )
    output, errors = program.communicate()
    assert program.returncode == 0, errors
    return [json.loads(line) for line in output.splitlines() if line.startswith("{")]


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Folders of models, by family."""
    root = tmp_path_factory.mktemp("families")
    save_tiny(root / "llava_onevision", scale=2.0)
    for name in (*FAMILIES[1:], *UNLIKE):
        save(name, root / name, scale=3.0)
    return {name: str(root / name) for name in (*FAMILIES, *UNLIKE)}


READ: dict[str, Any] = {"critique": "none"}
WRITE: dict[str, Any] = {"critique": "generated", "maxNewTokens": 4}


def save_reward(policy: Path, folder: Path) -> Path:
    """A reward model of a policy, with a new head; its files are of bfloat16."""
    loaded = load_model(policy, dtype="bfloat16", attention="sdpa")
    width = loaded.model.config.get_text_config().hidden_size
    scorer = RewardScorer(
        loaded.model, loaded.adapter, RewardHead("mlp", width, seed=5), shared_prefix=True
    )
    card = RewardModelCard(
        head="mlp",
        hidden_size=width,
        critique="enhanced",
        inference=RewardInference(),
        template=critique_template(loaded).digest(),
        base="policy",
        base_digest="0" * 64,
    )
    save_reward_model(loaded.model, held(scorer.state_dict()), card, source=policy, target=folder)
    return folder


def save_in_shards(folder: Path) -> Path:
    """A model of 34 MB in eight files."""
    torch.manual_seed(0)
    model = LlavaOnevisionForConditionalGeneration(
        make_config(
            hidden_size=384,
            intermediate_size=1024,
            num_hidden_layers=5,
            tie_word_embeddings=False,
        )
    )
    model.save_pretrained(folder, max_shard_size=SHARD)
    make_processor().save_pretrained(folder)
    return folder


def test_no_process_has_more_than_its_part_while_a_model_is_loaded_and_written(
    folders: dict[str, str], tmp_path: Path
) -> None:
    """By the bytes of all tensors that are alive whenever a weight arrives, but for mapped files.

    All of its bits are those of the model loaded whole, and so are those of its log-probabilities;
    and of the files that rank 0 writes of it, with not much more than a weight at a time.
    """
    big = str(save_in_shards(tmp_path / "big"))
    cases: list[dict[str, Any]] = [
        # Files are of float32: neither all of it in bfloat16, nor any of it in both.
        {"folder": big, "dtype": "bfloat16"},
        {"folder": big, "dtype": "float32", "adapter": {"rank": 4}},
        *({"folder": folders[name], "dtype": "float32"} for name in (FAMILIES[0], *UNLIKE)),
    ]
    reward = str(save_reward(Path(big), tmp_path / "reward"))
    write_records(
        tmp_path / "train.jsonl", [make_record(tmp_path, n, ranks=(1, 2)) for n in (0, 1, 2)]
    )
    judged: list[dict[str, Any]] = [
        {"folder": reward, "data": str(tmp_path / "train.jsonl"), "inference": inference}
        for inference in ([READ, READ], [WRITE, {**WRITE, "maxNewTokens": 2}])
    ]
    narrow, wide, *others, read, written = in_gang("load", 2, [*cases, *judged])
    # While critiques are written, their cache and the output layer are there as well.
    for judge, most in ((read, 0.75), (written, 0.95)):
        for divided, alone in judge["scores"]:
            assert divided == alone
        # Each has its part, and what a layer reads.
        assert sum(judge["held"]) == pytest.approx(judge["whole"], rel=0.01)
        assert max(judge["most"]) < most * judge["whole"], judge
    assert [len(values) for (_, values), _ in read["scores"]] == [4, 0]
    for found in (narrow, wide, *others):
        assert found["other"] == []
        assert found["tied"]
        assert found["apart"] == 0.0
        assert found["written"], found
    for found in (narrow, wide):
        share = found["whole"] / 2
        assert found["held"] == pytest.approx(share, rel=0.01)
        assert share <= found["most"] < share + SHARD / 2, found
    # One weight at a time, and while an adapter is added: it, their product and their sum.
    assert narrow["mostWritten"] < 1.1 * narrow["largest"] < narrow["whole"] / 5
    assert wide["mostWritten"] < 3 * wide["largest"]
    assert wide["whole"] == 2 * narrow["whole"] > 6 * SHARD


MMDPO, REWARD = "MMDPOJob", "RewardTrainJob"
GANGS: dict[int, tuple[Any, ...]] = {
    # What whole jobs of two processes are not compared with elsewhere, and what is in main memory.
    2: (
        ("llava_onevision", REWARD, False, 3),
        ("qwen2_5_vl", MMDPO, False, 3),
        ("qwen3", MMDPO, False, 3),
        ("llava_onevision", REWARD, False, 2, "optimizer"),
        ("llava_onevision", MMDPO, True, 3, "optimizer"),
        ("llava_onevision", REWARD, False, 3, "parameters"),
    ),
    # Each family with both kinds, each kind and stage with an adapter and without.
    4: (
        ("llava_onevision", MMDPO, False, 3),
        ("llava_onevision", REWARD, True, 2),
        ("qwen2_5_vl", MMDPO, True, 2),
        ("qwen2_5_vl", REWARD, False, 3),
        ("qwen3", MMDPO, False, 2),
        ("qwen3", REWARD, True, 3),
    ),
}


@pytest.mark.parametrize("processes", GANGS)
def test_several_processes_learn_what_one_learns(processes: int, folders: dict[str, str]) -> None:
    """Three queries, two of them with images, so that some processes are left without one."""
    cases = [
        {
            "folder": folders[family],
            "kind": kind,
            "lora": lora,
            "parallelism": {"zeroStage": stage, "offload": offload[0] if offload else "none"},
        }
        for family, kind, lora, stage, *offload in GANGS[processes]
    ]
    expected = [train({**one, "parallelism": {"engine": "none"}}, ALONE) for one in cases]
    found = in_gang("train", processes, cases)
    for case, own, other in zip(cases, found, expected, strict=True):
        for mine, theirs in zip(own["rows"], other["rows"], strict=True):
            assert mine == pytest.approx(theirs, rel=2e-5), case
        assert own["sums"].keys() == other["sums"].keys()
        assert own["sums"] == pytest.approx(other["sums"], rel=1e-3, abs=1e-5), case
