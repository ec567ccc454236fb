"""Models whose weights are divided over processes, in many small cases, in processes of one gang.

``divided.py load FOLDERS``: each process loads models with their weights divided, and rank 0 prints
a line of JSON: per folder the bytes that it had at most at once, which weights are not those of the
model loaded whole, by how much log-probabilities are apart; and the same of what it writes. Of a
case with ``inference``: the bytes, and the scores, of a reward model divided and whole.

``divided.py train CASES``: a few steps of each case, by the real loop and objective; rank 0 prints
the losses, norms and means of weights of each.
"""

from __future__ import annotations

import gc
import json
import shutil
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import groupby, islice
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.module import register_module_parameter_registration_hook
from torch.utils.weak import TensorWeakRef

from mmrlhf_api import DataSource, MMDPOJob, RewardInference, RewardTrainJob
from mmrlhf_jobs.data.pairs import form_pairs
from mmrlhf_jobs.forward.responses import GroupModel, ResponseModel
from mmrlhf_jobs.models import load_model
from mmrlhf_jobs.models.adapter import EncodedGroup, LoadedModel
from mmrlhf_jobs.models.contents import WEIGHTS
from mmrlhf_jobs.models.critique_template import CritiqueTemplate
from mmrlhf_jobs.models.folders import save_model
from mmrlhf_jobs.models.lora import add_lora, merge_lora
from mmrlhf_jobs.models.precision import Precision
from mmrlhf_jobs.models.shares import shape_of, whole
from mmrlhf_jobs.models.weights import Weight
from mmrlhf_jobs.process.gang import Runtime
from mmrlhf_jobs.process.interruption import Interruption
from mmrlhf_jobs.queries.judged import JudgedQuery
from mmrlhf_jobs.queries.preference import Query
from mmrlhf_jobs.reward_model.head import RewardHead
from mmrlhf_jobs.reward_model.judge import CritiqueRewardModel
from mmrlhf_jobs.reward_model.scorer import RewardScorer
from mmrlhf_jobs.training.engines.registry import choose_engine
from mmrlhf_jobs.training.inputs import open_dataset
from mmrlhf_jobs.training.loop import OptimizerLoop, StepFigures
from mmrlhf_jobs.training.mmdpo.objective import PreferenceObjective
from mmrlhf_jobs.training.plan import Step, StepPlan
from mmrlhf_jobs.training.reward.objective import RewardObjective
from mmrlhf_jobs.training.reward.scoring import RewardScoring
from tests.jobs.models.stock import media_of, questions

RESPONSES = ["a dog", "no, a red square", "blue circle"]
CRITIQUES = ["right", "a circle", "it is a dog, wrong"]
STEPS = 2


def job_of(kind: str, **spec: Any) -> Any:
    """A job with settings of its own."""
    job: Any = RewardTrainJob
    if kind == "MMDPOJob":
        job, spec = MMDPOJob, {"objective": {"beta": {"strategy": "fixed"}}, **spec}
    named = {"artifacts": {"uri": "/a"}, "model": {"uri": "/m"}, "data": {"train": {"uri": "/d"}}}
    return job.model_validate({"metadata": {"name": "a"}, "spec": {**named, **spec}})


class Live:
    """Bytes of tensors that are alive, but for those that are files and those that were before."""

    def __init__(self) -> None:
        gc.collect()
        gc.freeze()  # what is there already is not looked at
        self.most = 0
        self._seen: list[TensorWeakRef] = []

    def arrived(self, _module: nn.Module, _name: str, weight: nn.Parameter | None) -> None:
        """Look when a weight gets its place."""
        if weight is not None and not weight.is_meta:
            self.look()

    def look(self) -> None:
        """Count what is alive; objects are gone through once, when they are new."""
        self._seen += [TensorWeakRef(one) for one in gc.get_objects() if isinstance(one, Tensor)]
        gc.freeze()
        found: dict[int, int] = {}
        alive = []
        for seen in self._seen:
            if (one := seen()) is not None:
                alive.append(seen)
                if not one.is_meta:
                    storage = one.untyped_storage()
                    found[storage.data_ptr()] = storage.nbytes()
        self._seen = alive
        if sum(found.values()) > self.most:
            files = _mapped()
            counted = (n for at, n in found.items() if not any(a <= at < b for a, b in files))
            self.most = max(self.most, sum(counted))


def _mapped() -> list[tuple[int, int]]:
    """Addresses at which weights are the files that hold them."""
    lines = Path("/proc/self/maps").read_text().splitlines()
    spans = [line.split()[0].split("-") for line in lines if line.endswith(".safetensors")]
    return [(int(start, 16), int(end, 16)) for start, end in spans]


def load(
    folder: Path, dtype: str, runtime: Runtime, adapter: dict[str, Any] | None
) -> dict[str, Any]:
    """Load a model divided and whole, and write it."""
    spec = {"model": {"uri": "/m", "dtype": dtype}, "adapter": adapter}
    job = job_of("MMDPOJob", parallelism={"zeroStage": 3}, **spec)
    splitter = choose_engine(job.spec, runtime).split()
    assert splitter is not None
    live = Live()
    hook = register_module_parameter_registration_hook(live.arrived)
    loaded = load_model(folder, dtype=dtype, attention="sdpa", take=splitter.take)  # type: ignore[arg-type]
    hook.remove()
    live.look()
    expected = load_model(folder, dtype=dtype, attention="sdpa")  # type: ignore[arg-type]
    module = ResponseModel(loaded.model, loaded.adapter, shared_prefix=False)
    module.every_part = True
    splitter.begin(module)
    other: list[str] = []
    own = dict(loaded.model.named_parameters(remove_duplicate=False))
    stock = dict(expected.model.named_parameters(remove_duplicate=False))
    for name in sorted(own.keys() | stock.keys()):
        with whole([own[name]]):
            other += [] if _same(own[name], stock[name]) else [name]
    buffers = dict(loaded.model.named_buffers())
    for name, value in expected.model.named_buffers():
        other += [] if _same(buffers[name], value) else [name]
    groups = encode(loaded.adapter.encode, loaded)
    if dtype == "bfloat16":  # slow on CPUs: the one with one image
        groups = groups[1:2]
    plain = ResponseModel(expected.model, expected.adapter, shared_prefix=False)
    with torch.no_grad(), splitter.passes():
        sums, reference = module(groups).sums, plain(groups).sums
    splitter.end()
    held = sum(int(one.ds_tensor.nbytes) for one in loaded.model.parameters())
    whole_model = sum(one.nbytes for one in expected.model.parameters())
    largest = max(one.nbytes for one in expected.model.parameters())
    written = export(job, loaded, module, folder, runtime)
    return {
        "largest": largest,
        **written,
        "most": live.most,
        "held": held,
        "whole": whole_model,
        "other": other,
        "tied": own_ids(own) == own_ids(stock),
        "apart": float(((sums - reference) / reference).abs().max()),
    }


def export(
    job: Any, loaded: LoadedModel, module: GroupModel, folder: Path, runtime: Runtime
) -> dict[str, Any]:
    """What there is at most, beside the parts, while rank 0 writes the model; and what is written.

    Its engine has made no step; where an adapter is trained, it is merged.
    """
    adapter = job.spec.adapter
    lora = None if adapter is None else add_lora(loaded, adapter, seed=0)
    if lora is None:  # something must be
        module.requires_grad_(False)
        next(one for one in module.parameters() if len(shape_of(one)) == 1).requires_grad_()
    engine = choose_engine(job.spec, runtime).build(module)
    live = Live()

    def watched(one: Weight) -> Weight:
        def read() -> Tensor:
            value = one.read()
            live.look()
            return value

        return replace(one, read=read)

    target = folder.with_name(f"{folder.name}-written")
    with engine.weights() as weights:
        seen: dict[Weight, Weight] = {one: watched(one) for one in weights.values()}
        own = {name.removeprefix("model."): seen[one] for name, one in weights.items()}
        if lora is not None:
            own = merge_lora(own, lora.scale)
        if runtime.is_main:
            shutil.rmtree(target, ignore_errors=True)
            save_model(loaded.model, own, source=folder, target=target)
    stock = folder.with_name(f"{folder.name}-stock")
    if not runtime.is_main:
        return {}
    load_model(folder, dtype=job.spec.model.dtype, attention="sdpa").model.save_pretrained(stock)
    same = (target / WEIGHTS).read_bytes() == (stock / WEIGHTS).read_bytes()
    return {"mostWritten": live.most, "written": same}


def score(
    folder: Path, data: Path, inference: Sequence[dict[str, Any]], runtime: Runtime
) -> dict[str, Any]:
    """Score by a reward model whose weights are divided, and by the whole one.

    Processes have as many queries as their place from the end says, each a batch of its own, and
    as many tokens to write as theirs of `inference` says.
    """
    # Files are of bfloat16: what is read of them is made anew, and not mapped. To compute in it
    # would take a CPU three times as long.
    spec = {"model": {"uri": "/m", "dtype": "float32"}, "parallelism": {"zeroStage": 3}}
    splitter = choose_engine(job_of("MMDPOJob", **spec).spec, runtime).split()
    source = DataSource(uri=str(data))
    records = open_dataset(
        source, max_invalid_fraction=0, seed=0, runtime=runtime, options=None
    ).records
    first = 1 if runtime.is_main else 3
    items = [(one, tuple(range(len(one.responses)))) for one in islice(records.share(), first, 3)]
    live = Live()
    hook = register_module_parameter_registration_hook(live.arrived)
    found = []
    for number, one in enumerate((splitter, None)):
        model = CritiqueRewardModel.from_pretrained(
            folder,
            inference=RewardInference.model_validate(inference[runtime.rank]),
            dtype="float32",
            splitter=one,
        )
        if number == 0:
            hook.remove()
            decoder: Any = model.adapter.decoder(model.loaded.model)
            for layer in decoder.layers:
                layer.register_forward_hook(lambda *_: live.look())
        scoring = RewardScoring(model, records, batch_tokens=1)
        with model.passes():
            shared = scoring.find_sharing().shared
            values = scoring.score(items)
        found.append([shared, [[one.value, one.critique] for one in values]])
        if number == 0:
            most, held = live.most, sum(int(p.ds_tensor.nbytes) for p in _divided(model))
            model.end_passes()
        else:
            whole_model = sum(p.nbytes for p in model.loaded.model.parameters())
    parts = runtime.gather([most, held, found])
    return {
        "most": [most for most, _, _ in parts],
        "held": [held for _, held, _ in parts],
        "whole": whole_model,
        "scores": [found for _, _, found in parts],
    }


def _divided(model: CritiqueRewardModel) -> list[Any]:
    return list(model.loaded.model.parameters())


def own_ids(weights: dict[str, nn.Parameter]) -> list[list[str]]:
    """Names of one weight, for each that has several."""
    names = sorted(weights, key=lambda name: (id(weights[name]), name))
    groups = [list(group) for _, group in groupby(names, key=lambda name: id(weights[name]))]
    return sorted(group for group in groups if len(group) > 1)


def _same(one: Tensor, other: Tensor) -> bool:
    return one.dtype == other.dtype and torch.equal(one, other)


def encode(
    encoder: Callable[..., EncodedGroup], loaded: LoadedModel, *more: Any
) -> list[EncodedGroup]:
    """Queries with images, as far as the model sees, and without."""
    return [
        encoder(question, media_of(images), RESPONSES, *more)
        for question, images, _ in questions(loaded)
    ]


@dataclass(frozen=True)
class Prepared:
    """What a case trains, and by what."""

    module: GroupModel
    queries: Sequence[Any]
    objective: Any


def prepare(kind: str, job: Any, loaded: LoadedModel, runtime: Runtime) -> Prepared:
    """The module of a kind, with queries of its own; the reference is another model."""
    shared = loaded.adapter.supports_shared_prefix
    pairs = tuple(form_pairs([1, 2, 3], "all"))
    if kind == "MMDPOJob":
        module: GroupModel = ResponseModel(loaded.model, loaded.adapter, shared_prefix=shared)
        reference = torch.tensor([-20.0, -40.0, -30.0], dtype=torch.float64)
        queries: list[Any] = [
            Query("q", group, pairs, reference, torch.tensor([3.0, 1.0, 2.0]))
            for group in encode(loaded.adapter.encode, loaded)
        ]
        objective: Any = PreferenceObjective(
            job.spec.objective, seed=0, runtime=runtime, precision=Precision("float32", "sdpa")
        )
        objective.check_first = lambda *_: None
        return Prepared(module, queries, objective)
    template = CritiqueTemplate(loaded.adapter, max_tokens=loaded.max_tokens)
    width = int(loaded.model.config.get_text_config().hidden_size)
    head = RewardHead("mlp", width, seed=3)
    scorer = RewardScorer(loaded.model, loaded.adapter, head, shared_prefix=shared)
    groups = encode(template.encode, loaded, CRITIQUES)
    return Prepared(
        scorer,
        [JudgedQuery("q", group, pairs) for group in groups],
        RewardObjective(job.spec.objective),
    )


@dataclass(frozen=True)
class Begun:
    """A training of a case, before its first step.

    Attributes:
        engine: Has its weights.
        step: Does the step of some number, and returns its figures.
    """

    engine: Any
    step: Callable[[int], StepFigures]


def begin(case: dict[str, Any], runtime: Runtime, *, steps: int = STEPS) -> Begun:
    """Begin a training of so many steps; fewer queries than processes leave some without."""
    dtype = case.get("dtype", "float32")
    spec: dict[str, Any] = {
        "model": {"uri": "/m", "dtype": dtype},
        "parallelism": case.get("parallelism", {}),
        "optimizer": {"learningRate": 1e-3, "warmupRatio": 0},
    }
    if case["lora"]:
        spec["adapter"] = {"rank": 4, "alpha": 8, "quantization": case.get("quantization")}
    job = job_of(case["kind"], **spec)
    factory = choose_engine(job.spec, runtime)
    splitter = factory.split()
    loaded = load_model(
        Path(case["folder"]),
        dtype=dtype,
        attention="sdpa",
        take=None if splitter is None else splitter.take,
    )
    loaded.adapter.freeze(loaded.model, job.spec.trainable)
    if job.spec.adapter is not None:
        add_lora(loaded, job.spec.adapter, seed=0)
    prepared = prepare(case["kind"], job, loaded, runtime)
    prepared.module.train()
    prepared.module.every_part = factory.collective_forward
    engine: Any = factory.build(prepared.module)
    plan = StepPlan(
        num_records=3, queries_per_step=3, queries_per_micro_batch=1, epochs=steps, max_steps=None
    )
    loop = OptimizerLoop[Any, Any](
        engine, prepared.objective, plan, job.spec.optimizer, 0, runtime, Interruption()
    )
    own = tuple(prepared.queries[runtime.rank :: runtime.world_size])
    count = -(-len(prepared.queries) // runtime.world_size)
    return Begun(engine, lambda number: loop._do(Step(number, 0, own, count), prepared.queries[0]))


def train(case: dict[str, Any], runtime: Runtime) -> dict[str, Any]:
    """A few steps of a case."""
    begun = begin(case, runtime)
    rows = []
    for number in range(STEPS):
        figures = begun.step(number)
        rows.append([figures.loss, figures.row["gradientNorm"]])
    with begun.engine.weights() as weights:
        sums = {name: _sum(one.read()) for name, one in sorted(weights.items())}
    return {"rows": rows, "sums": sums}


def _sum(weight: Tensor) -> float:
    """Of its numbers, each with a factor of its place."""
    numbers = weight.detach().double().flatten()
    return float((numbers * torch.arange(numbers.numel()).cos()).mean())


def main(what: str, cases: Sequence[Any], runtime: Runtime) -> None:
    torch.set_num_threads(1)
    for case in cases:
        found = (
            score(Path(case["folder"]), Path(case["data"]), case["inference"], runtime)
            if "inference" in case
            else load(Path(case["folder"]), case["dtype"], runtime, case.get("adapter"))
            if what == "load"
            else train(case, runtime)
        )
        if runtime.is_main:
            sys.stdout.write(json.dumps(found) + "\n")
        gc.collect()
    sys.stdout.flush()
    runtime.leave()


if __name__ == "__main__":
    main(sys.argv[1], json.loads(sys.argv[2]), Runtime.from_environment())
