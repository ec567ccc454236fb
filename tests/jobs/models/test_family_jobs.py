"""Every family as jobs: trained, stopped, gone on with, exported; a reward model on it; its row."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers as hf
from safetensors.torch import load_file
from torch import Tensor

from mmrlhf_jobs.__main__ import main
from mmrlhf_jobs.forward.choices import choose_likeliest
from mmrlhf_jobs.forward.decoding import write_answers
from mmrlhf_jobs.models import load_model
from mmrlhf_jobs.models.critique_template import INSTRUCTION
from mmrlhf_jobs.models.families import rows
from mmrlhf_jobs.reward_model.judge import CritiqueRewardModel
from mmrlhf_jobs.reward_model.writing import write_critiques
from mmrlhf_jobs.training.loop import OptimizerLoop
from tests.jobs.models.stock import (
    NEAR,
    media_of,
    questions,
    sees,
    stock_inputs,
    stock_output,
    stock_tokens,
)
from tests.jobs.models.zoo import FAMILIES, TEXT_ALONE, save
from tests.jobs.training.world import World, make_record, write_records

pytestmark = [
    pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning"),
    pytest.mark.usefixtures("one_thread"),
]

IN_TABLE = [name for name in FAMILIES if rows.find_row(name) is not None]
ONE_ROW_A_RESPONSE = {"gemma3"}
JOB: dict[str, Any] = {
    "training__epochs": 1,
    "training__queriesPerStep": 2,
    "training__queriesPerMicroBatch": 1,
    "checkpoint__everySteps": 1,
}


@pytest.fixture(scope="module", params=list(FAMILIES))
def family(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> World:
    """Queries of one image, two images and none, and the family's model."""
    folder = tmp_path_factory.mktemp("family")
    records = [make_record(folder / "data", index) for index in range(4)]
    records[1]["media"] += records[0]["media"]
    records[2]["media"] = []
    for record in records:
        record["schema"] = "mmrlhf.io/ranked-response/v2"
        if request.param in TEXT_ALONE:
            record["media"] = []
        if not record["media"]:
            record["domain"] = "text"
    write_records(folder / "data" / "train.jsonl", records)
    save(request.param, folder / "model", scale=3.0)
    return World(folder)


def run(world: World, job: dict[str, Any], artifacts: str) -> tuple[int, Path]:
    """Run a job in this process; its exit code, and the folder of its results."""
    job["spec"]["artifacts"]["uri"] = str(world.folder / artifacts)
    job["spec"]["data"].pop("evaluation", None)
    verb = {"MMDPOJob": "mmdpo", "RewardTrainJob": "reward"}[job["kind"]]
    code = main([verb, "--job", str(world.write_job(job))])
    (results,) = (world.folder / artifacts / "default" / job["metadata"]["name"]).iterdir()
    return code, results


def preference(world: World) -> dict[str, Any]:
    job = world.job(objective__beta__strategy="fixed", **JOB)
    del job["spec"]["reward"]
    return job


def stock_model(folder: Path) -> Any:
    config = hf.AutoConfig.from_pretrained(folder)
    sighted = type(config) in hf.MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING
    auto = hf.AutoModelForImageTextToText if sighted else hf.AutoModelForCausalLM
    return auto.from_pretrained(folder).eval()


def test_a_run_that_was_stopped_goes_on_to_the_same_model_which_transformers_loads(
    family: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    code, whole = run(family, preference(family), "whole")
    assert code == 0
    do = OptimizerLoop._do

    def do_and_stop(self: Any, *step: Any) -> Any:
        self.interruption.requested = True
        return do(self, *step)

    with monkeypatch.context() as stopping:
        stopping.setattr(OptimizerLoop, "_do", do_and_stop)
        code, stopped = run(family, preference(family), "stopped")
    assert code == 143
    assert not (stopped / "model").exists()
    assert list(stopped.glob("checkpoints/step-00000001-*/complete"))
    code, stopped = run(family, preference(family), "stopped")
    assert code == 0
    figures = (stopped / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(row)["step"] for row in figures] == [1, 2]
    before = load_file(family.folder / "model" / "model.safetensors")
    expected, found = (load_file(one / "model" / "model.safetensors") for one in (whole, stopped))
    assert found.keys() == expected.keys() == before.keys()
    assert all(torch.equal(found[name], value) for name, value in expected.items())
    assert any(not torch.equal(found[name], value) for name, value in before.items())
    proof = json.loads((stopped / "manifest.json").read_text())["proof"]
    loaded = load_model(stopped / "model", dtype="float32", attention="sdpa")
    assert proof["queries"] == (2 if sees(loaded) else 1)
    assert proof["sharedPrefix"] == (loaded.model.config.model_type not in ONE_ROW_A_RESPONSE)
    asked = questions(loaded)
    answers = write_answers(
        loaded.model,
        loaded.adapter,
        [loaded.adapter.encode(text, media_of(images), []) for text, images, _ in asked],
        choose=choose_likeliest,
        ends=[loaded.processor.tokenizer.eos_token_id],
        max_new_tokens=8,
    )
    model = stock_model(stopped / "model")
    for answer, (text, images, _) in zip(answers, asked, strict=True):
        stock = stock_tokens(model, stock_inputs(loaded, text, images), count=8)
        assert answer.tokens.tolist() == stock


def test_a_reward_model_on_it_scores_as_transformers_reads(family: World) -> None:
    job = family.reward_job(training__maxSteps=1, **JOB)
    del job["spec"]["benchmark"]
    code, results = run(family, job, "reward")
    assert code == 0
    folder = results / "model"
    loaded = load_model(folder, dtype="float32", attention="sdpa")
    bare = CritiqueRewardModel.from_pretrained(folder, inference={"critique": "none"})
    judge = CritiqueRewardModel.from_pretrained(folder)
    model, head = stock_model(folder), bare._scorer.reward_head
    end = torch.tensor([loaded.adapter.chat.terminal_id])

    @torch.no_grad()
    def score(inputs: Any, more: Tensor) -> Tensor:
        found: Tensor = head(stock_output(model, inputs, more).hidden_states[-1][0, -1:])
        return found.double()

    for question, images, (*responses, _) in questions(loaded):
        media = media_of(images)
        verdicts = bare.score(question, media, responses)
        group = judge.encode(question, media, responses)
        writing = write_critiques(
            judge._scorer, [group], choose=choose_likeliest, limits=[3] * len(responses)
        )
        for index, response in enumerate(responses):
            asked = INSTRUCTION.format(question=question) + f" {response}\n\n[Evaluation]:"
            inputs = stock_inputs(loaded, asked, images)
            own = torch.cat([group.prompt_ids, group.responses[index]])
            assert own.tolist() == inputs["input_ids"][0].tolist()
            found = torch.tensor([verdicts[index].score], dtype=torch.float64)
            torch.testing.assert_close(found, score(inputs, end), **NEAR[torch.float32])
            written = writing.tokens[index]
            stock = stock_tokens(model, inputs, count=3)
            assert written.tolist() == [token for token in stock if token != int(end)]
            torch.testing.assert_close(
                writing.scores[index : index + 1],
                score(inputs, torch.cat([written, end])),
                **NEAR[torch.float32],
            )


@pytest.mark.parametrize("family", IN_TABLE, indirect=True)
def test_a_wrong_row_of_the_table_is_caught_before_the_first_step(
    family: World, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    config = json.loads((family.folder / "model" / "config.json").read_text())
    right = rows.find_row(config["model_type"])
    decoder = rows.find_row(config.get("text_config", config)["model_type"])
    assert right is not None
    wrong: list[tuple[tuple[rows.FamilyRow, ...], str]] = []
    if not right.text:
        seen = replace(right, images_see_each_other=not right.images_see_each_other)
        wrong.append(((seen,), "each other|not read as transformers reads"))
    if right.projector:
        wrong.append(((replace(right, projector=("visual.nothing",)),), "projector"))
    if decoder is not None and decoder.state_layer:
        stateless = replace(decoder, state_layer="Nothing")
        wrong.append(((stateless, right), r"required, but rows that share a prompt are .* nats"))
    for table, words in wrong:
        monkeypatch.setattr(rows, "ROWS", table)
        job = preference(family)
        if "required" in words:
            job["spec"]["objective"]["sharedPrefix"] = "required"
        job["spec"]["artifacts"]["uri"] = str(family.folder / "wrong")
        job["spec"]["data"].pop("evaluation")
        assert main(["mmdpo", "--job", str(family.write_job(job))]) == 2
        shown = capsys.readouterr()
        assert re.search(words, shown.err)
        assert shown.err.startswith("error: ")
        assert "step 0 of" not in shown.out
