"""LoRA: one step against plain peft in float64, whole jobs, and what they leave behind."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import peft
import pytest
import torch
import transformers as hf
from safetensors.torch import load_file
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from mmrlhf_api import Adapter, MMDPOJob, RewardTrainJob, Trainable
from mmrlhf_jobs.__main__ import main
from mmrlhf_jobs.data.pairs import form_pairs
from mmrlhf_jobs.errors import SpecError
from mmrlhf_jobs.forward.responses import ResponseModel
from mmrlhf_jobs.models import EncodedGroup, LoadedModel, load_model
from mmrlhf_jobs.models.critique_template import CritiqueTemplate
from mmrlhf_jobs.models.lora import Lora, add_lora, merge_lora, without_adapter
from mmrlhf_jobs.models.precision import Precision
from mmrlhf_jobs.models.weights import Weight, held
from mmrlhf_jobs.process.gang import Runtime
from mmrlhf_jobs.queries.judged import JudgedQuery
from mmrlhf_jobs.queries.preference import Query
from mmrlhf_jobs.reward_model.head import RewardHead
from mmrlhf_jobs.reward_model.scorer import RewardScorer
from mmrlhf_jobs.training import inputs
from mmrlhf_jobs.training.loop import OptimizerLoop
from mmrlhf_jobs.training.mmdpo.objective import PreferenceObjective
from mmrlhf_jobs.training.reward.objective import RewardObjective
from tests.jobs.models.stock import media_of, questions, sees, stock_tokens
from tests.jobs.models.tiny import save_tiny
from tests.jobs.models.zoo import save
from tests.jobs.training.world import World, make_record, write_records

pytestmark = [
    pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning"),
    # peft's use of names that transformers is about to drop.
    pytest.mark.filterwarnings("ignore::FutureWarning:transformers.*"),
    pytest.mark.usefixtures("one_thread"),
]

FAMILIES = ("llava_onevision", "qwen2_5_vl", "qwen3")
"""One with a module of its own, one whose projector is in its tower, and one without media."""
ALONE = Runtime(0, 1, torch.device("cpu"))
BETA, GAMMA = 0.1, 0.25
SETTINGS = Adapter(rank=3, alpha=5, use_rslora=True)
ADAPTER = {"rank": 4, "alpha": 8}
RESPONSES = ["a dog", "no, a red square", "blue circle"]
CRITIQUES = ["right", "a circle", "it is a dog, wrong"]


def save_family(name: str, folder: Path) -> Path:
    return (
        save_tiny(folder, scale=2.0) if name == "llava_onevision" else save(name, folder, scale=3)
    )


def stock_model(folder: Path) -> Any:
    config = hf.AutoConfig.from_pretrained(folder)
    sighted = type(config) in hf.MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING
    auto = hf.AutoModelForImageTextToText if sighted else hf.AutoModelForCausalLM
    return auto.from_pretrained(folder).eval()


@pytest.fixture(scope="module", params=FAMILIES)
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a family's model."""
    return save_family(request.param, tmp_path_factory.mktemp("family") / "model")


@pytest.fixture
def adapted(folder: Path) -> tuple[LoadedModel, Lora]:
    """The model in float64 with an adapter that does something."""
    loaded = load_model(folder, dtype="float64", attention="sdpa")
    loaded.adapter.freeze(loaded.model, Trainable())
    lora = add_lora(loaded, SETTINGS, seed=7)
    generator = torch.Generator().manual_seed(1)
    for name, weight in loaded.model.named_parameters():
        if ".lora_B." in name:
            torch.nn.init.normal_(weight, std=0.1, generator=generator)
    return loaded, lora


@pytest.fixture
def oracle(folder: Path, adapted: tuple[LoadedModel, Lora], tmp_path: Path) -> Any:
    """The stock model in float64, with the adapter as peft loads it."""
    loaded, lora = adapted
    target = tmp_path / "adapter"
    lora.save(held(loaded.model.state_dict()), base=str(folder), base_digest="x", folder=target)
    base = stock_model(folder).double()
    return peft.PeftModel.from_pretrained(base, target, is_trainable=True)


def groups_of(encode: Callable[..., EncodedGroup], loaded: LoadedModel, *more: Any) -> Any:
    return [
        encode(question, media_of(images), RESPONSES, *more)
        for question, images, _ in questions(loaded)
    ]


def plain(model: Any, loaded: LoadedModel, group: EncodedGroup, index: int) -> Any:
    """Log-probability of what is predicted of a response, and the last hidden state."""
    response = group.responses[index]
    entries = dict(loaded.adapter.plain_inputs(loaded.model, group, response) or {})
    if "pixel_values" in entries:
        entries["pixel_values"] = entries["pixel_values"].double()
    if hasattr(model.base_model, "rope_deltas"):
        model.base_model.rope_deltas = None
    output = model(**entries, output_hidden_states=True)
    count = group.predicted[index]
    logits = output.logits[0, -count - 1 : -1]
    chosen = torch.log_softmax(logits, -1).gather(1, response[len(response) - count :, None])
    return chosen.sum(), output.hidden_states[-1][0, -1]


def same_gradients(loaded: LoadedModel, oracle: Any) -> None:
    """Of every weight of the adapter; nothing else has any."""
    own = {name: one.grad for name, one in loaded.model.named_parameters() if one.grad is not None}
    trained = {name for name, one in loaded.model.named_parameters() if one.requires_grad}
    assert trained
    assert own.keys() == trained == {name for name in trained if ".lora_" in name}
    expected = {
        name.removeprefix("base_model.model."): one.grad
        for name, one in oracle.named_parameters()
        if one.requires_grad
    }
    assert expected.keys() == own.keys()
    for name, gradient in expected.items():
        torch.testing.assert_close(own[name], gradient, rtol=1e-5, atol=1e-7)
        assert bool(gradient.any())


def test_a_step_of_preferences_has_the_loss_and_gradients_of_plain_peft(
    adapted: tuple[LoadedModel, Lora], oracle: Any
) -> None:
    loaded, _ = adapted
    groups = groups_of(loaded.adapter.encode, loaded)
    module = ResponseModel(
        loaded.model,
        loaded.adapter,
        shared_prefix=loaded.adapter.supports_shared_prefix,
        chunk_tokens=3,
    ).train()
    with torch.no_grad(), without_adapter(module):
        reference = module(groups).sums.split(3)
    pairs = form_pairs([1, 2, 3], "all")
    queries = [
        Query("q", group, tuple(pairs), sums, None)
        for group, sums in zip(groups, reference, strict=True)
    ]
    job = MMDPOJob.model_validate(bare_job(objective={"beta": {"strategy": "fixed"}}))
    objective = PreferenceObjective(
        job.spec.objective, seed=0, runtime=ALONE, precision=Precision("float64", "sdpa")
    )
    counts = objective.counts(queries)
    loss = objective.loss(queries, module(groups), counts=counts, draw=0).loss
    loss.backward()

    def sums() -> list[list[Tensor]]:
        base = oracle.get_base_model()
        return [[plain(base, loaded, group, index)[0] for index in range(3)] for group in groups]

    with torch.no_grad(), oracle.disable_adapter():
        before = sums()
    for own, stock in zip(reference, before, strict=True):
        torch.testing.assert_close(own, torch.stack(stock), rtol=1e-6, atol=1e-6)
    now = sums()
    terms = [
        -F.logsigmoid(BETA * (one[c] - old[c] - one[r] + old[r]))
        for one, old in zip(now, before, strict=True)
        for c, r in ((0, 1), (0, 2), (1, 2))
    ]
    chosen = [
        (one[c], len(group.responses[c]))
        for one, group in zip(now, groups, strict=True)
        for c in (0, 0, 1)
    ]
    supervised = -sum(value for value, _ in chosen) / sum(count for _, count in chosen)
    expected = torch.stack(terms).mean() + GAMMA * supervised
    expected.backward()
    torch.testing.assert_close(loss, expected, rtol=1e-6, atol=1e-6)
    assert abs(float(terms[0].detach()) - 0.6931) > 1e-4, "the adapter does something"
    same_gradients(loaded, oracle)


def test_a_step_of_a_reward_model_has_the_loss_and_gradients_of_plain_peft(
    adapted: tuple[LoadedModel, Lora], oracle: Any
) -> None:
    loaded, _ = adapted
    template = CritiqueTemplate(loaded.adapter, max_tokens=loaded.max_tokens)
    groups = groups_of(template.encode, loaded, CRITIQUES)
    width = int(loaded.model.config.get_text_config().hidden_size)
    head = RewardHead("mlp", width, seed=3).double()
    module = RewardScorer(
        loaded.model,
        loaded.adapter,
        head,
        shared_prefix=loaded.adapter.supports_shared_prefix,
        chunk_tokens=3,
    ).train()
    pairs = form_pairs([1, 2, 3], "all")
    queries: list[Any] = [JudgedQuery("q", group, tuple(pairs)) for group in groups]
    job = RewardTrainJob.model_validate(bare_job("RewardTrainJob"))
    objective = RewardObjective(job.spec.objective)
    counts = objective.counts(queries)
    loss = objective.loss(queries, module(groups), counts=counts, draw=0).loss
    loss.backward()
    own = {name: one.grad for name, one in head.named_parameters()}

    head.zero_grad()
    found = [
        [plain(oracle.get_base_model(), loaded, group, index) for index in range(3)]
        for group in groups
    ]
    scores = [[head(state[None])[0] for _, state in one] for one in found]
    terms = [-F.logsigmoid(s[c] - s[r]) for s in scores for c, r in ((0, 1), (0, 2), (1, 2))]
    critique = -sum(value for one in found for value, _ in one)
    expected = torch.stack(terms).mean() + critique / sum(sum(g.predicted) for g in groups)
    expected.backward()
    torch.testing.assert_close(loss, expected, rtol=1e-6, atol=1e-6)
    same_gradients(loaded, oracle)
    for name, one in head.named_parameters():
        torch.testing.assert_close(own[name], one.grad, rtol=1e-5, atol=1e-7)


def bare_job(kind: str = "MMDPOJob", **spec: Any) -> dict[str, Any]:
    return {
        "metadata": {"name": "a"},
        "spec": {
            "artifacts": {"uri": "/a"},
            "model": {"uri": "/m"},
            "data": {"train": {"uri": "/d.jsonl"}},
            **spec,
        },
    }


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_merged_weights_are_those_of_peft_rounded_once(
    folder: Path, adapted: tuple[LoadedModel, Lora], oracle: Any, dtype: torch.dtype
) -> None:
    loaded, lora = adapted
    weights = {name: value.to(dtype) for name, value in loaded.model.state_dict().items()}
    lazy = merge_lora(held(weights), lora.scale)
    merged = {name: one.read() for name, one in lazy.items()}
    assert lora.scale == pytest.approx(5 / 3**0.5)
    plain = stock_model(folder)
    assert merged.keys() == plain.state_dict().keys()
    for name, value in merged.items():
        assert (
            (value.dtype, value.shape)
            == (dtype, lazy[name].shape)
            == (lazy[name].dtype, value.shape)
        )
    if dtype == torch.float64:
        expected = oracle.merge_and_unload().state_dict()
        for name, value in merged.items():
            torch.testing.assert_close(value, expected[name], rtol=1e-12, atol=1e-12)
        return
    for name in lora.layers:
        first, second = (weights[f"{name}.lora_{one}.default.weight"].float() for one in "AB")
        exact = weights[f"{name}.base_layer.weight"].float() + lora.scale * (second @ first)
        assert torch.equal(merged[f"{name}.weight"], exact.bfloat16())


REFUSED = [
    (
        {"rank": 17},
        "spec.adapter.rank: 17 is more than the smaller side of .*, 16: take 16 or less",
    ),
    (
        {"target_modules": ["q_prj"]},
        "no module of the model has a name that ends with q_prj; did you mean q_proj or ",
    ),
    ({"target_modules": ["xyz"]}, "ends with xyz; there are down_proj, "),
    ({"target_modules": ["proj"]}, "ends with proj; did you mean "),
    ({"target_modules": ["q_proj", "lm_head"]}, "lm_head is the output layer"),
    ({"target_modules": ["embed_tokens"]}, "embed_tokens is a Embedding; only linear layers can"),
    ({"target_modules": ["fc1"]}, "fc1 is of a part that is not trained; see spec.trainable"),
]


@pytest.mark.parametrize("folder", ["llava_onevision"], indirect=True)
@pytest.mark.parametrize(("settings", "message"), REFUSED)
def test_layers_that_do_not_fit_are_refused_by_name(
    folder: Path, settings: dict[str, Any], message: str
) -> None:
    loaded = load_model(folder, dtype="float32", attention="sdpa")
    loaded.adapter.freeze(loaded.model, Trainable())
    with pytest.raises(SpecError, match=message):
        add_lora(loaded, Adapter(**settings), seed=0)


@pytest.mark.parametrize("folder", ["llava_onevision"], indirect=True)
def test_parts_that_are_trained_decide_which_layers_have_an_adapter(folder: Path) -> None:
    def layers(settings: Adapter, **parts: bool) -> set[str]:
        loaded = load_model(folder, dtype="float32", attention="sdpa")
        loaded.adapter.freeze(loaded.model, Trainable(**parts))
        return {name.removeprefix("model.") for name in add_lora(loaded, settings, seed=0).layers}

    every = Adapter(rank=2)
    text = layers(every, projector=False)
    kinds = {name.rpartition(".")[2] for name in text}
    attention, mlp = {"q_proj", "k_proj", "v_proj", "o_proj"}, {"gate_proj", "up_proj", "down_proj"}
    assert kinds == attention | mlp
    assert len(text) == 2 * 7
    both = layers(every)
    assert both - text == {"multi_modal_projector.linear_1", "multi_modal_projector.linear_2"}
    tower = layers(every, vision_tower=True, projector=False, language_model=False)
    assert all(name.startswith("vision_tower.") for name in tower)
    # torch's own attention reads its weights past the layer's forward pass.
    assert not any(name.endswith("attention.out_proj") for name in tower)
    some = Adapter(rank=2, target_modules=["v_proj", "mlp.up_proj"])
    assert layers(some) == {
        f"language_model.layers.{number}.{name}"
        for number in range(2)
        for name in ("self_attn.v_proj", "mlp.up_proj")
    }


@pytest.mark.parametrize("folder", ["qwen3"], indirect=True)
def test_first_weights_are_a_function_of_the_seed(folder: Path) -> None:
    def first(seed: int) -> Tensor:
        loaded = load_model(folder, dtype="float32", attention="sdpa")
        before = torch.get_rng_state()
        add_lora(loaded, SETTINGS, seed=seed)
        assert torch.equal(torch.get_rng_state(), before)
        torch.rand(1)
        weights = loaded.model.state_dict()
        return torch.cat([one.flatten() for name, one in weights.items() if ".lora_A." in name])

    assert torch.equal(first(1), first(1))
    assert not torch.equal(first(1), first(2))


def family_world(name: str, folder: Path) -> World:
    """Queries of one image, two images and none, and a family's model."""
    records = [make_record(folder / "data", index) for index in range(4)]
    records[1]["media"] += records[0]["media"]
    records[2]["media"] = []
    for record in records:
        record["schema"] = "mmrlhf.io/ranked-response/v2"
        if name == "qwen3":
            record["media"] = []
        if not record["media"]:
            record["domain"] = "text"
    write_records(folder / "data" / "train.jsonl", records)
    save_family(name, folder / "model")
    return World(folder)


def job_of(world: World, kind: str = "MMDPOJob", **changes: Any) -> dict[str, Any]:
    """Two steps of two queries with an adapter."""
    settings: dict[str, Any] = {
        "adapter": ADAPTER,
        "training__epochs": 1,
        "training__queriesPerStep": 2,
        "training__queriesPerMicroBatch": 1,
        "optimizer__learningRate": 0.01,
        "optimizer__warmupRatio": 0.0,
        "checkpoint__everySteps": 1,
        **changes,
    }
    if kind == "RewardTrainJob":
        job = world.reward_job(**settings)
        job["spec"].pop("benchmark")
    else:
        job = world.job(objective__beta__strategy="fixed", **settings)
        job["spec"].pop("reward")
    job["spec"]["data"].pop("evaluation")
    return job


def run_here(world: World, job: dict[str, Any], artifacts: str) -> tuple[int, Path]:
    """Run a job in this process; its exit code, and the folder of its results."""
    job["spec"]["artifacts"]["uri"] = str(world.folder / artifacts)
    verb = {"MMDPOJob": "mmdpo", "RewardTrainJob": "reward"}[job["kind"]]
    before = set((world.folder / artifacts).glob("default/*/*"))
    code = main([verb, "--job", str(world.write_job(job))])
    after = set((world.folder / artifacts).glob("default/*/*"))
    (results,) = (after - before) or after
    return code, results


@pytest.fixture(scope="module", params=FAMILIES)
def world(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> World:
    return family_world(request.param, tmp_path_factory.mktemp("world"))


def content(folder: Path) -> dict[str, bytes]:
    return {one.name: one.read_bytes() for one in folder.iterdir() if one.is_file()}


def bytes_of(state: Mapping[str, Tensor], kind: str) -> int:
    """Bytes of one kind of the numbers in a checkpoint."""
    return sum(value.nbytes for name, value in state.items() if f":{kind}:" in name)


@dataclass(frozen=True)
class Whole:
    """A run that nobody stopped.

    Attributes:
        results: Its folder.
        loads: How many models it loaded.
        written: Weights that `Lora.save` was given, each time.
    """

    results: Path
    loads: int
    written: list[Mapping[str, Tensor]]


@pytest.fixture(scope="module")
def whole(world: World) -> Whole:
    loads: list[Any] = []
    ends: list[Mapping[str, Tensor]] = []
    load, write = inputs.load_model, Lora.save  # type: ignore[attr-defined]

    def load_and_count(*given: Any, **named: Any) -> Any:
        loads.append(given)
        return load(*given, **named)

    def write_and_keep(self: Lora, weights: Mapping[str, Weight], **named: Any) -> None:
        ends.append({name: one.read().clone() for name, one in weights.items()})
        write(self, weights, **named)

    with pytest.MonkeyPatch.context() as spying:
        spying.setattr(inputs, "load_model", load_and_count)
        spying.setattr(Lora, "save", write_and_keep)
        code, results = run_here(world, job_of(world), "whole")
    assert code == 0
    return Whole(results, len(loads), ends)


def test_a_run_leaves_a_model_and_an_adapter_that_write_the_same(
    world: World, whole: Whole
) -> None:
    """And the base is as it was, to the byte; one model was loaded, and it read the reference."""
    results = whole.results
    assert whole.loads == 1
    before = load_model(world.folder / "model", dtype="float32", attention="sdpa")
    rehearsed, end = whole.written
    assert not rehearsed
    kept = {
        name.replace(".base_layer.", "."): value
        for name, value in end.items()
        if "lora" not in name
    }
    assert kept.keys() == before.model.state_dict().keys()
    assert all(torch.equal(kept[name], one) for name, one in before.model.state_dict().items())

    rows = rows_of(results)
    assert rows[0]["margin"] == 0.0, "policy and reference are the same before the first step"
    assert rows[1]["margin"] != 0.0
    merged = stock_model(results / "model")
    base = stock_model(world.folder / "model")
    alone = peft.PeftModel.from_pretrained(stock_model(world.folder / "model"), results / "adapter")
    own = alone.get_base_model().eval()
    moved = False
    for question, images, _ in questions(before):
        group = before.adapter.encode(question, media_of(images), RESPONSES[:1])
        nothing = group.responses[0][:0]
        entries = dict(before.adapter.plain_inputs(before.model, group, nothing) or {})
        assert stock_tokens(merged, entries, count=6) == stock_tokens(own, entries, count=6)
        with torch.no_grad():
            one, other, old = (
                torch.log_softmax(model(**entries).logits, -1) for model in (merged, own, base)
            )
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4)
        moved |= float((one - old).abs().max()) > 0.01
    assert moved

    manifest = json.loads((results / "manifest.json").read_text())
    named = {entry["path"] for entry in manifest["files"]}
    assert {"adapter/adapter_model.safetensors", "model/model.safetensors"} <= named
    saved = load_file(results / "adapter" / "adapter_model.safetensors")
    assert manifest["adapter"]["trainedParameters"] == sum(one.numel() for one in saved.values())
    settings = json.loads((results / "adapter" / "adapter_config.json").read_text())
    assert settings["target_modules"] == sorted(settings["target_modules"])
    card = (results / "adapter" / "README.md").read_text()
    assert f"base_model_digest: {manifest['inputs']['model']}\n" in card
    reason = "" if sees(before) else "the model reads text alone"
    assert manifest["visionFeatures"]["models"] == {"model": reason}


@pytest.mark.parametrize("world", ["qwen3"], indirect=True)
def test_whatever_is_trained_of_the_same_base_finds_the_reference(
    world: World, whole: Whole, capsys: pytest.CaptureFixture[str]
) -> None:
    assert whole.results.is_dir()
    weights = job_of(world)
    del weights["spec"]["adapter"]
    for other in (job_of(world, adapter={"rank": 2}), weights):
        code, _ = run_here(world, other, "whole")
        assert code == 0
        shown = capsys.readouterr().out
        assert "step 2/2" in shown
        assert "reference log-probabilities" not in shown


@pytest.mark.parametrize("kind", ["MMDPOJob", "RewardTrainJob"])
def test_a_run_that_was_stopped_goes_on_to_the_same_bytes(
    world: World, whole: Whole, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From a checkpoint that holds what is trained, its moments, and nothing else."""
    results = whole.results
    if kind == "RewardTrainJob":
        code, results = run_here(world, job_of(world, kind), "reward")
        assert code == 0
    do = OptimizerLoop._do

    def do_and_stop(self: Any, *step: Any) -> Any:
        self.interruption.requested = True
        return do(self, *step)

    with monkeypatch.context() as stopping:
        stopping.setattr(OptimizerLoop, "_do", do_and_stop)
        code, stopped = run_here(world, job_of(world, kind), f"stopped-{kind}")
    assert code == 143
    (saved,) = stopped.glob("checkpoints/*/rank-0/*.safetensors")
    state = load_file(saved)
    manifest = json.loads((results / "manifest.json").read_text())
    trained = manifest["adapter"]["trainedParameters"]
    if kind == "RewardTrainJob":
        trained += sum(one.numel() for one in load_file(results / "adapter" / HEAD).values())
    for of in ("master", "exp_avg", "exp_avg_sq"):
        assert bytes_of(state, of) == 4 * trained
    code, stopped = run_here(world, job_of(world, kind), f"stopped-{kind}")
    assert code == 0
    for name in ("adapter", "model"):
        expected, found = content(results / name), content(stopped / name)
        assert {one: found[one] for one in expected} == expected


HEAD = "reward_head.safetensors"


@pytest.mark.parametrize("world", ["llava_onevision"], indirect=True)
def test_how_memory_is_saved_changes_nothing(world: World) -> None:
    changes: Sequence[dict[str, Any]] = (
        {},
        {"training__gradientCheckpointing": True},
        {"training__queriesPerMicroBatch": 2, "objective__sharedPrefix": "off"},
        {"resources__featureCache": "off"},
    )
    runs = [
        run_here(world, job_of(world, **change), f"way-{n}") for n, change in enumerate(changes)
    ]
    assert [code for code, _ in runs] == [0] * len(changes)
    first, *others = ([row["loss"] for row in rows_of(one)] for _, one in runs)
    for other in others:
        assert other == pytest.approx(first, rel=1e-5)


def test_what_does_not_fit_is_told_in_one_line_before_anything_is_trained(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    job = job_of(world, adapter={"targetModules": ["q_prj"]})
    job["spec"]["artifacts"]["uri"] = str(world.folder / "refused")
    assert main(["mmdpo", "--job", str(world.write_job(job))]) == 2
    shown = capsys.readouterr()
    (line,) = [one for one in shown.err.splitlines() if one.startswith("error: ")]
    assert "spec.adapter.targetModules: no module of the model has a name that ends" in line
    assert "did you mean q_proj" in line
    assert "Traceback" not in shown.err
    assert "step 0 of" not in shown.out


GANGS = (
    ("llava_onevision", "MMDPOJob", 2),
    ("qwen2_5_vl", "MMDPOJob", 3),
    ("qwen2_5_vl", "RewardTrainJob", 2),
    ("qwen3", "RewardTrainJob", 3),
)


@pytest.mark.parametrize(("world", "kind", "stage"), GANGS, indirect=["world"])
def test_two_processes_train_the_adapter_of_one(
    world: World, whole: Whole, kind: str, stage: int
) -> None:
    """Over gloo, a step with media on one of them alone; at ZeRO-3 frozen weights are split too."""
    one = whole.results
    # One of them by QLoRA, which is for stages that divide no weights.
    quantized = (kind, stage) == ("RewardTrainJob", 2)
    adapter = {**ADAPTER, **({"quantization": "nf4"} if quantized else {})}
    if kind == "RewardTrainJob":
        code, one = run_here(world, job_of(world, kind, adapter=adapter), f"reward-{stage}")
        assert code == 0
        manifest = json.loads((one / "manifest.json").read_text())
        assert ("quantizedParameters" in manifest["adapter"]) is quantized
    job = job_of(world, kind, parallelism__zeroStage=stage, adapter=adapter)
    artifacts = f"two-{kind}-{stage}"
    job["spec"]["artifacts"]["uri"] = str(world.folder / artifacts)
    run = world.run(job, processes=2)
    assert run.code == 0, run.stderr
    (two,) = (world.folder / artifacts / "default").glob("*/*")
    for own, other in zip(*(rows_of(folder) for folder in (two, one)), strict=True):
        assert own["loss"] == pytest.approx(other["loss"], rel=1e-5)
        assert own["gradientNorm"] == pytest.approx(other["gradientNorm"], rel=1e-4)
    names = ["adapter/adapter_model.safetensors", "model/model.safetensors"]
    for name in [*names, *([f"adapter/{HEAD}"] if kind == "RewardTrainJob" else [])]:
        own, other = load_file(two / name), load_file(one / name)
        assert own.keys() == other.keys()
        for weight, value in other.items():
            # A hundredth of what two steps move a weight: AdamW divides a gradient by its own size,
            # so that the smallest ones round as far as the largest. Their norm is compared above.
            torch.testing.assert_close(own[weight], value, rtol=1e-3, atol=2e-4)


def rows_of(results: Path) -> list[dict[str, Any]]:
    return [json.loads(row) for row in (results / "metrics.jsonl").read_text().splitlines()]
