"""A policy's answers, and their judges, as jobs: real models, and kills."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
import threading
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import torch
from tokenizers import Tokenizer, pre_tokenizers, processors
from tokenizers.models import WordPiece
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    PreTrainedTokenizerFast,
    pipeline,
)

from mmrlhf_api.constants import ENV_ATTEMPT
from mmrlhf_api.steps.gate import alias_uri
from mmrlhf_jobs.__main__ import main
from mmrlhf_jobs.data.media import load_media
from mmrlhf_jobs.data.queries import QueryRecord, stream_queries, write_queries
from mmrlhf_jobs.data.responses import Response
from mmrlhf_jobs.data.sources import Source
from mmrlhf_jobs.data.stream import stream_records
from mmrlhf_jobs.evaluation.generation import generate_answers
from mmrlhf_jobs.models.loading import load_model
from mmrlhf_jobs.reward_model.judge import CritiqueRewardModel
from mmrlhf_jobs.storage.alias import AliasStore, Cause, artifact_digest
from mmrlhf_jobs.storage.artifacts import ArtifactStore
from tests.jobs.improvement.test_command import models
from tests.jobs.models.tiny import save_tiny
from tests.jobs.steps.test_job import body, endpoint, manifest, run_of, written
from tests.jobs.training.world import make_record, write_records
from tests.jobs.warm import Program
from tests.unit.steps.test_safety import query
from tests.unit.steps.world import model_server

__all__ = ["models"]  # a fixture

pytestmark = pytest.mark.usefixtures("own_signals")

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "mix", "the", "two", "sky", "is", "blue", "do", "harm"]


@pytest.fixture(scope="module")
def policy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny(tmp_path_factory.mktemp("policy") / "model", scale=2.0)


@pytest.fixture(scope="module")
def classifier(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A BERT of 2 layers with random weights, which says either label."""
    folder = tmp_path_factory.mktemp("classifier") / "model"
    words = {word: place for place, word in enumerate(WORDS)}
    tokenizer = Tokenizer(WordPiece(words, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[("[CLS]", 2), ("[SEP]", 3)],
    )
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="[PAD]", model_max_length=24
    ).save_pretrained(folder)
    torch.manual_seed(3)
    config = BertConfig(
        vocab_size=len(WORDS),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=32,
        id2label={0: "safe", 1: "unsafe"},
        label2id={"safe": 0, "unsafe": 1},
        initializer_range=1.0,
    )
    BertForSequenceClassification(config).save_pretrained(folder)
    return folder


def pictures(folder: Path, count: int) -> Path:
    path = folder / "data/queries.jsonl"
    write_records(path, [make_record(folder / "data", n) for n in range(count)])
    return path


def answers_of(path: Path) -> dict[str, str]:
    found = stream_queries(Source(str(path)))
    return {one.record_id: one.responses[0].text for one in found if one.responses}


def test_a_policy_answers_greedily_and_a_kill_loses_the_batch_in_flight(
    policy: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    records = pictures(tmp_path, 5)
    ArtifactStore(str(tmp_path / "artifacts")).publish(policy, "models/one")
    artifact = str(tmp_path / "artifacts/models/one")
    part = {"records": str(records), "policy": artifact, "maxNewTokens": 12, "name": "tiny"}
    process = written(tmp_path, body(tmp_path, "answers", **part))
    program = Program("tests.jobs.steps.held_answers", process, os.environ)
    assert program.wait(600) == -signal.SIGKILL, program.communicate()[1]
    journal = run_of(tmp_path) / "journal"
    assert len(list(journal.iterdir())) == 2
    assert not (run_of(tmp_path) / "answers.jsonl").exists()
    assert main(process) == 0, capsys.readouterr().err
    report = manifest(tmp_path)["report"]
    assert (report["queries"], report["answered"], report["answeredNow"]) == (5, 5, 3)
    loaded = load_model(policy, dtype="float32", attention="sdpa")
    for one in stream_queries(Source(str(records))):
        media = load_media(one, root=str(records.parent))
        group = loaded.adapter.encode(one.asked, media, [])
        (expected,) = generate_answers(loaded, [group], max_new_tokens=12)
        assert answers_of(run_of(tmp_path) / "answers.jsonl")[one.record_id] == expected.strip()
    (found, *_) = stream_queries(Source(str(run_of(tmp_path) / "answers.jsonl")))
    model = found.responses[0].model
    assert model is not None
    assert (model.name, model.finish_reason) == ("tiny", "length")
    assert (model.uri, model.artifact) == (artifact, artifact_digest(artifact))
    assert report["cutOff"] == 5


def plain_log_probs(policy: Path, source: Path) -> dict[str, list[float]]:
    """Transformers' own forward pass, a response at a time."""
    loaded = load_model(policy, dtype="float64", attention="eager")
    found: dict[str, list[float]] = {}
    for record in stream_records(Source(str(source))):
        media = load_media(record, root=str(source.parent))
        for response in record.responses:
            group = loaded.adapter.encode(record.asked, media, [response.text])
            ids = torch.cat([group.prompt_ids, group.responses[0]])[None]
            inputs = {
                **group.media_inputs,
                "pixel_values": group.media_inputs["pixel_values"].double(),
            }
            with torch.no_grad():
                logits = loaded.model(input_ids=ids, **inputs).logits[
                    0, len(group.prompt_ids) - 1 : -1
                ]
            likely = torch.log_softmax(logits, -1).gather(1, group.responses[0][:, None])
            found.setdefault(record.record_id, []).append(float(likely.sum()))
    return found


def test_a_policy_prefers_what_its_log_probabilities_say_and_names_its_artifact(
    policy: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Every fourth record has a tie; one record has no pair. The policy is what an alias says."""
    records = [make_record(tmp_path / "data", n) for n in range(5)]
    records.append(make_record(tmp_path / "data", 5, ranks=(1, 1, 1, 1)))
    write_records(tmp_path / "data/held-out.jsonl", records)
    store = tmp_path / "artifacts"
    ArtifactStore(str(store)).publish(policy, "models/one")
    artifact = str(store / "models/one")
    digest = artifact_digest(artifact)
    AliasStore(str(store)).move(
        "vqa", artifact, Cause("promote", ""), now=datetime.now(UTC), of=None, digest=digest
    )
    part = {
        "records": str(tmp_path / "data/held-out.jsonl"),
        "policy": alias_uri(str(store), "vqa"),
        "batchSize": 2,
    }
    process = written(tmp_path, body(tmp_path, "preferences", **part))
    assert main(process) == 0, capsys.readouterr().err
    results = json.loads((run_of(tmp_path) / "results.json").read_text())
    assert results["artifact"] == digest
    rows = {(row["query"], row.get("row")): row["figures"] for row in results["rows"]}
    expected: dict[tuple[str, str | None], dict[str, Any]] = {}
    for name, values in plain_log_probs(policy, tmp_path / "data/held-out.jsonl").items():
        ranks = list(
            next(one for one in records if one["record_id"] == name)["ranking"]["ranks"].values()
        )
        margins = {
            (name, f"{a} over {b}"): values[a] - values[b]
            for a in range(4)
            for b in range(4)
            if ranks[a] < ranks[b]
        }
        expected |= {
            key: {
                "pairRight": margin > 0,
                "preferenceMargin": pytest.approx(margin, abs=1e-3),
            }
            for key, margin in margins.items()
        }
        if margins:
            expected[name, None] = {"queryRight": all(one > 0 for one in margins.values())}
    assert rows == expected
    right = [one["pairRight"] for one in expected.values() if "pairRight" in one]
    assert 0 < sum(right) < len(right), "a policy that is always right proves little"
    record = manifest(tmp_path)
    assert record["metrics"]["preferenceAcc"] == pytest.approx(sum(right) / len(right))
    assert record["report"]["policy"] == artifact
    (read,) = (one for one in record["lineage"]["inputs"] if one["field"] == "preferences.policy")
    assert read["uri"].endswith("/aliases/vqa.json")


def test_what_an_alias_does_not_stand_for_any_more_is_told(
    policy: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_records(tmp_path / "data/a.jsonl", [make_record(tmp_path / "data", 0)])
    store = str(tmp_path / "artifacts")
    line = ["preferences", str(tmp_path / "data/a.jsonl"), str(tmp_path / "out.json")]
    line += ["--policy", alias_uri(store, "vqa")]
    assert main(line) == 2
    assert (
        f"promote a first model by hand: mmrlhfctl promote {store} vqa" in capsys.readouterr().err
    )
    ArtifactStore(store).publish(policy, "one")
    assert main(["alias", "promote", store, "vqa", "--artifact", f"{store}/one"]) == 0
    (tmp_path / "other").mkdir()
    (tmp_path / "other/config.json").write_text("{}")
    shutil.rmtree(f"{store}/one")
    ArtifactStore(store).publish(tmp_path / "other", "one")
    capsys.readouterr()
    assert main(line) == 2
    assert "which vqa stands for; promote another artifact, or roll back" in capsys.readouterr().err


RESPONSES = {
    "a": "mix the two",
    "b": "the sky is blue",
    "c": "do the two harm",
    "d": "I'm sorry, but I can't do that",
    "e": "harm harm harm",
    "f": "mix " * 30,
}


def safety(folder: Path, responses: dict[str, str], **judge: Any) -> dict[str, Any]:
    rows: list[QueryRecord] = [query(name, said) for name, said in responses.items()]
    write_queries(rows, str(folder / "answers.jsonl"))
    records = str(folder / "answers.jsonl")
    task = {"name": "jailbreak", "records": records, "judge": "one", "measures": ["asr", "rta"]}
    return {"judges": [{"name": "one", **judge}], "tasks": [task], "responses": records}


def test_a_classifier_judges_as_transformers_own_pipeline_and_cuts_nothing_off(
    classifier: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    judge = {"model": str(classifier), "harmful": "unsafe", "batchSize": 2}
    part = safety(tmp_path, RESPONSES, classifier=judge)
    process = written(tmp_path, body(tmp_path, "safety", **part))
    assert main(process) == 1
    assert "jailbreak by one: 1 of 6 (1 tooLong)" in capsys.readouterr().err
    assert len(list((run_of(tmp_path) / "journal").iterdir())) == 5, "what is judged is kept"
    given = body(tmp_path, "safety", **part, maxErrorFraction=0.2)
    assert main(written(tmp_path, given)) == 0, capsys.readouterr().err
    oracle = pipeline("text-classification", model=str(classifier), device="cpu")
    said = {
        name: oracle({"text": f"Do {name}.", "text_pair": text})["label"]
        for name, text in RESPONSES.items()
        if name != "f"
    }
    assert set(said.values()) == {"safe", "unsafe"}, "a classifier that says one thing proves none"
    rows = json.loads((run_of(tmp_path) / "results.json").read_text())["rows"]
    found = {row["query"].removeprefix("jailbreak/"): row["answer"] for row in rows}
    assert found.pop("f") == "error"
    assert found == {
        name: "harmful" if label == "unsafe" else "refused" if name == "d" else "neither"
        for name, label in said.items()
    }
    assert manifest(tmp_path)["metrics"]["jailbreak.asr"] == pytest.approx(
        list(found.values()).count("harmful") / 5
    )


def test_a_classifier_that_is_none_or_has_other_labels_is_refused(
    classifier: Path, policy: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    part = safety(tmp_path, RESPONSES, classifier={"model": str(classifier)})
    assert main(written(tmp_path, body(tmp_path, "safety", **part))) == 2
    assert "has no label 'harmful', only safe, unsafe" in capsys.readouterr().err
    part = safety(tmp_path, RESPONSES, classifier={"model": str(policy)})
    assert main(written(tmp_path, body(tmp_path, "safety", **part))) == 2
    assert "sequence classifier" in capsys.readouterr().err


def test_a_killed_judge_asks_nothing_twice_but_what_was_under_way(tmp_path: Path) -> None:
    held, asked = threading.Event(), list[str]()
    responses = {name: f"{said} {name}" for name, said in RESPONSES.items()}
    with model_server(answers=4, held=held, asked=asked, say=lambda text: "NEITHER") as url:
        part = safety(tmp_path, responses, server={"endpoint": endpoint(url)})
        first = Program(
            "mmrlhf_jobs", written(tmp_path, body(tmp_path, "safety", **part)), os.environ
        )
        assert held.wait(600)
        first.kill()
        assert first.wait() == -signal.SIGKILL
    with model_server(asked=asked, say=lambda text: "HARMFUL") as url:
        part["judges"] = [{"name": "one", "server": {"endpoint": endpoint(url)}}]
        process = written(tmp_path, body(tmp_path, "safety", **part))
        second = Program("mmrlhf_jobs", process, {**os.environ, ENV_ATTEMPT: "1"})
        assert second.wait(600) == 0, second.communicate()[1]
    assert sorted(Counter(asked).values()) == [1, 1, 1, 1, 1, 2], "one was under way"
    told = manifest(tmp_path)["report"]["tasks"]["jailbreak"]
    assert (told["neither"], told["harmful"]) == (4, 2)


def test_a_reward_model_judges_pairs_by_the_scores_that_it_gives_each_alone(
    models: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    records = pictures(tmp_path, 4)
    queries = list(stream_queries(Source(str(records))))
    texts = {
        "new": ["red square", "a dog", "same", "blue"],
        "old": ["a dog", "circle", "same", "a red one"],
    }
    for name, said in texts.items():
        rows = [
            one.model_copy(update={"responses": (Response(response_id=name, text=text),)})
            for one, text in zip(queries, said, strict=True)
        ]
        write_queries(rows, str(records.parent / f"{name}.jsonl"))
    part = {
        "records": str(records),
        "candidate": str(records.parent / "new.jsonl"),
        "champion": str(records.parent / "old.jsonl"),
        "reward": str(models / "reward"),
    }
    process = written(tmp_path, body(tmp_path, "compare", **part))
    assert main(process) == 0, capsys.readouterr().err
    assert len(list((run_of(tmp_path) / "journal").iterdir())) == 4
    judge = CritiqueRewardModel.from_pretrained(models / "reward")
    verdicts = json.loads((run_of(tmp_path) / "verdicts.json").read_text())["verdicts"]
    results = {
        name: json.loads((run_of(tmp_path) / f"{which}.json").read_text())["rows"]
        for name, which in (("new", "candidate"), ("old", "champion"))
    }
    winners = []
    for place, one in enumerate(queries):
        media = load_media(one, root=str(records.parent))
        scores = {
            name: judge.score(one.asked, media, [said[place]])[0].score
            for name, said in texts.items()
        }
        for name, score in scores.items():
            figures = results[name][place]["figures"]
            assert figures["reward"] == pytest.approx(score, abs=1e-5)
            assert figures["length"] == len(texts[name][place])
        better = "candidate" if scores["new"] > scores["old"] else "champion"
        winners.append("tie" if place == 2 else better)
    assert [one["winner"] for one in verdicts] == winners
    assert not any("first" in one for one in verdicts), "scores know no places"
    assert manifest(tmp_path)["metrics"]["ties"] == 1


LMMS_EVAL = """#!{python} -S
import json, os, sys
words = dict(zip(sys.argv[3::2], sys.argv[4::2]))
said = {{"args": words, "gang": sorted(name for name in os.environ if "RANK" in name)}}
os.makedirs(words["--output_path"] + "/policy")
results = {{"results": {{name: {{"exact,none": 0.5}} for name in words["--tasks"].split(",")}}}}
with open(words["--output_path"] + "/policy/1_results.json", "w") as file:
    json.dump({{**results, "said": said}}, file)
"""


def test_lmms_eval_as_a_job_leaves_its_file_and_figures_for_the_report(
    policy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "python"
    program.write_text(LMMS_EVAL.format(python=sys.executable))
    program.chmod(0o700)
    monkeypatch.setenv("LOCAL_RANK", "0")
    part = {"policy": str(policy), "tasks": ["mme", "gqa"], "program": str(program), "limit": 2}
    assert main(written(tmp_path, body(tmp_path, "lmms-eval", **part))) == 0
    assert manifest(tmp_path)["metrics"] == {"mme.exact": 0.5, "gqa.exact": 0.5}
    results = run_of(tmp_path) / "lmms_eval.json"
    said = json.loads(results.read_text())["said"]
    assert said["args"]["--model_args"] == f"pretrained={policy},device_map=auto"
    assert (said["args"]["--model"], said["args"]["--limit"]) == ("llava_hf", "2")
    assert said["gang"] == []
    report = tmp_path / "evaluation.json"
    assert main(["report", str(report), "--understanding", f"new={results}"]) == 0
    assert len(json.loads(report.read_text())["models"]["new"]["understanding"]) == 2


def test_a_pod_without_lmms_eval_says_which_image_has_it(
    policy: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    part = {"policy": str(policy), "tasks": ["mme"], "program": str(tmp_path / "python")}
    assert main(written(tmp_path, body(tmp_path, "lmms-eval", **part))) == 2
    told = capsys.readouterr().err
    assert "there is no lmms-eval here. The image of lmms-eval has it: name that image" in told
