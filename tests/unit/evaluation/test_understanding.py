"""Results of lmms-eval: read as it writes them, and refused where they are something else."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest

from mmrlhf_jobs.errors import DataError, ModelError
from mmrlhf_jobs.evaluation.understanding.command import lmms_eval_command
from mmrlhf_jobs.evaluation.understanding.lmms_eval import read_lmms_eval
from mmrlhf_jobs.evaluation.understanding.table2 import CAPABILITIES, OTHER, capability_of

RESULTS: dict[str, Any] = {
    "results": {
        "gqa": {
            "alias": "gqa",
            "exact_match,none": 0.75,
            "exact_match_stderr,none": 0.0125,
            "exact_match_stderr_clt,none": 0.0126,
            "exact_match_stderr_clustered,none": "N/A",
        },
        "mme": {
            "alias": "mme",
            "mme_cognition_score,none": 162.5,
            "mme_cognition_score_stderr,none": "N/A",
            "mme_cognition_score_stderr_clt,none": 0.125,
            "mme_cognition_score_stderr_clustered,none": "N/A",
        },
        "ai2d": {"alias": "ai2d", "exact_match,flexible-extract": 1},
        "egoschema": {"alias": "egoschema", "submission,none": None},
        "pope_full": {"alias": "pope_full", " ": " "},
    },
    "group_subtasks": {"gqa": [], "mme": [], "ai2d": [], "egoschema": []},
    "configs": {
        "gqa": {
            "task": "gqa",
            "doc_to_visual": "<function gqa_doc_to_visual at 0xfffee5bbb880>",
            "metric_list": [{"metric": "exact_match", "aggregation": "mean"}],
            "output_type": "generate_until",
        }
    },
    "versions": {"gqa": "Yaml", "mme": "Yaml"},
    "n-shot": {"gqa": 0, "mme": 0},
    "higher_is_better": {
        "gqa": {"exact_match": True},
        "mme": {"mme_perception_score": True, "mme_cognition_score": True},
    },
    "n-samples": {
        "gqa": {"original": 1200, "effective": 1200},
        "mme": {"original": 2374, "effective": 8},
    },
    "config": {"model": "qwen2_5_vl", "model_args": "pretrained=/models/policy", "limit": None},
    "git_hash": "v0.6-248-g7d7bc0a8",
    "date": "20260925_122419",
    "task_hashes": {"gqa": "18948436bb8c1b6a"},
    "model_name": "/models/policy",
    "total_evaluation_time_seconds": "3860.74",
}
"""The keys of files in lmms-eval's own repository (v0.6-248), with other values."""


def read(content: object) -> dict[str, tuple[Any, ...]]:
    return {
        one.name: (one.value, one.stderr, one.samples, one.limited, one.higher_is_better)
        for one in read_lmms_eval(json.dumps(content), "results.json")
    }


def test_figures_have_names_numbers_and_what_is_known_of_them() -> None:
    assert read(RESULTS) == {
        "gqa.exact_match": (0.75, 0.0125, 1200, False, True),
        "mme.mme_cognition_score": (162.5, None, 8, True, True),
        "ai2d.exact_match.flexible-extract": (1.0, None, None, False, None),
    }


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (("results",), None, "field results: holds no results of lmms-eval"),
        (("results",), {"mme": [1.0]}, "field results.mme: is no finite number ([1.0])"),
        (("results", "gqa", "exact_match,none"), "0.75", "results.gqa.exact_match,none: is no fin"),
        (("results", "gqa", "exact_match,none"), True, "is no finite number (true)"),
        (
            ("results", "gqa", "exact_match,none"),
            {"all": 0.5},
            'is no finite number ({"all": 0.5})',
        ),
        (("results", "gqa", "exact_match,none"), float("nan"), "is no finite number (NaN)"),
        (("results", "gqa", "exact_match"), 0.5, "its name is not metric,filter (0.5)"),
        (("results", "gqa", "exact_match_stderr,none"), "low", 'is no finite number ("low")'),
        (("results",), {"egoschema": {"submission,none": None}}, "holds no figure"),
        (("n-samples", "gqa"), 1200, "field n-samples.gqa: is no finite number (1200)"),
    ],
)
def test_another_shape_is_refused_with_its_place(
    path: tuple[str, ...], value: object, message: str
) -> None:
    content = copy.deepcopy(RESULTS)
    *where, last = path
    place = content
    for name in where:
        place = place[name]
    place[last] = value
    with pytest.raises(DataError) as error:
        read(content)
    assert message in str(error.value)


@pytest.mark.parametrize("text", ["", "[1]", "{", "null"])
def test_what_is_no_results_at_all_is_refused(text: str) -> None:
    with pytest.raises(DataError, match=r"^results\.json"):
        read_lmms_eval(text, "results.json")


@pytest.mark.parametrize(
    ("task", "capability"),
    [
        ("llava_in_the_wild", "Conversation"),
        ("mme", "General knowledge"),
        ("mmerealworld_lite", "Real world"),
        ("mme_realworld_cn", "Real world"),
        ("mmbench_cn_dev", "General knowledge"),
        ("docvqa_val_lite", "Chart and document"),
        ("pope_adv", "Hallucination"),
        ("mathvista_testmini_cot", "Math"),
        ("mmmu_pro_vision", "Multi-image"),
        ("mmmu_val", OTHER),
        ("gqa", OTHER),
    ],
)
def test_tasks_are_counted_to_the_capabilities_of_the_papers_table(
    task: str, capability: str
) -> None:
    assert capability_of(task) == capability
    assert len(CAPABILITIES) == 9


def test_the_command_is_that_of_lmms_evals_own_examples() -> None:
    said = lmms_eval_command(
        "/models/policy", "llava_onevision", tasks=["mme", "pope_adv"], output="/out", processes=8
    )
    assert " ".join(said) == (
        "/opt/lmms-eval/bin/python -m accelerate.commands.launch --num_processes=8 -m lmms_eval"
        " --model llava_hf --model_args pretrained=/models/policy --device cuda"
        " --tasks mme,pope_adv --batch_size 1 --output_path /out"
    )
    alone = lmms_eval_command(
        "/policy", "qwen2_vl", tasks=["mme"], output="/out", device="cpu", limit=3, task_folder="/t"
    )
    assert " ".join(alone) == (
        "/opt/lmms-eval/bin/python -m lmms_eval --model qwen2_vl"
        " --model_args pretrained=/policy,device_map=auto --device cpu --tasks mme --batch_size 1"
        " --limit 3 --include_path /t --output_path /out"
    )
    with pytest.raises(ModelError, match="model_type 'bert' is none that lmms-eval is known"):
        lmms_eval_command("/models/policy", "bert", tasks=["mme"], output="/out")
    with pytest.raises(ModelError, match="no folder with , or = in its name"):
        lmms_eval_command("/models/a,b", "llava", tasks=["mme"], output="/out")
