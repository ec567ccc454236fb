"""Every computation of the jobs once on the device in bfloat16, against float32 on the same."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor, nn

from mmrlhf_api import BetaPolicy, Optimizer, PreferenceObjective, RewardInference, RewardObjective
from mmrlhf_jobs.data.pairs import form_pairs
from mmrlhf_jobs.forward.choices import choose_likeliest
from mmrlhf_jobs.forward.decoding import end_tokens, write_answers
from mmrlhf_jobs.forward.proof import TOLERANCES
from mmrlhf_jobs.forward.responses import ResponseModel, response_log_probs
from mmrlhf_jobs.models.adapter import EncodedGroup, LoadedModel
from mmrlhf_jobs.models.critique_template import CritiqueTemplate
from mmrlhf_jobs.models.loading import Dtype, load_model
from mmrlhf_jobs.models.precision import Precision
from mmrlhf_jobs.process.gang import Runtime
from mmrlhf_jobs.queries.judged import JudgedQuery
from mmrlhf_jobs.queries.preference import Query
from mmrlhf_jobs.reward_model.head import HeadKind, RewardHead
from mmrlhf_jobs.reward_model.judge import CritiqueRewardModel, RewardModelCard, critique_template
from mmrlhf_jobs.reward_model.scorer import RewardScorer
from mmrlhf_jobs.reward_model.writing import write_critiques
from mmrlhf_jobs.sampling.embeddings.encoder import Encoder
from mmrlhf_jobs.training.engines.torch_engine import TorchEngine
from mmrlhf_jobs.training.mmdpo.objective import PreferenceObjective as PreferenceLoss
from mmrlhf_jobs.training.recipe import Objective
from mmrlhf_jobs.training.reward.objective import RewardObjective as RewardLoss
from tools.gpu import small
from tools.gpu.session import Case, CheckFailedError
from tools.gpu.shapes import SHAPES, build, prove

__all__ = ["check_cases"]

_LIMIT: Final = TOLERANCES[torch.bfloat16]
_SCORE_LIMIT: Final = 0.1
"""Of scores around 1 in size."""
_COSINE_LIMIT: Final = 0.01


@dataclass
class Checks:
    """What checks share.

    Attributes:
        device: Where to compute.
        tiny: Models of a few thousand weights.
        folder: Where models are written to.
    """

    device: torch.device
    tiny: bool
    folder: Path

    def load(self, dtype: Dtype) -> LoadedModel:
        """The small model, anew."""
        path = self.folder / "small"
        if not path.exists():
            small.save_small(path, tiny=self.tiny)
        loaded = load_model(path, dtype=dtype, attention="sdpa")
        loaded.model.to(self.device)
        return loaded

    # --- objectives --------------------------------------------------------------------------

    def preference(self, beta: BetaPolicy, *, mode: str = "all") -> dict[str, float]:
        """A step of MM-DPO: loss, gradients, and that the engine makes an update of them."""
        settings = PreferenceObjective(beta=beta, pairs=mode)  # type: ignore[arg-type]

        def make(dtype: Dtype) -> dict[str, Tensor]:
            loaded = self.load(dtype)
            groups = _groups(loaded)
            queries = [
                Query(
                    name=question,
                    encoded=group,
                    pairs=form_pairs(range(1, len(group.responses) + 1), settings.pairs),
                    reference=torch.tensor([-3.0 * len(one) for one in group.responses]).double(),
                    rewards=torch.arange(len(group.responses), 0, -1).double(),
                )
                for question, group in zip(small.QUESTIONS, groups, strict=True)
            ]
            objective = PreferenceLoss(
                settings, seed=0, runtime=self._runtime(), precision=Precision(dtype, "sdpa")
            )
            module = ResponseModel(loaded.model, loaded.adapter, shared_prefix=True)
            return self._step(module, objective, queries)

        return _compare_steps(make)

    def reward(self, head: HeadKind, *, critiques: bool, center: float = 0.0) -> dict[str, float]:
        """A step of the reward model."""
        settings = RewardObjective(
            critique="enhanced" if critiques else "none", head=head, center_weight=center
        )

        def make(dtype: Dtype) -> dict[str, Tensor]:
            loaded = self.load(dtype)
            template = critique_template(loaded)
            queries = [
                JudgedQuery(
                    name=question,
                    encoded=group,
                    pairs=form_pairs(range(1, len(group.responses) + 1)),
                )
                for question, group in zip(
                    small.QUESTIONS, _judged(template, critiques=critiques), strict=True
                )
            ]
            return self._step(self._scorer(loaded, head), RewardLoss(settings), queries)

        return _compare_steps(make)

    def _step(
        self, module: nn.Module, objective: Objective[Any, Any], queries: Sequence[Any]
    ) -> dict[str, Tensor]:
        """Loss and gradients by name, after the engine has made an update of them."""
        engine: TorchEngine[Any] = TorchEngine(module.train(), Optimizer(), self._runtime())
        counts = objective.counts(queries)
        output = engine.forward([query.encoded for query in queries])
        micro = objective.loss(queries, output, counts=counts, draw=0)
        engine.backward(micro.loss)
        masters = engine._masters  # noqa: SLF001 - gradients are gone after the step
        found = {
            name: one.grad.detach().clone() for name, one in masters.items() if one.grad is not None
        }
        before = {name: one.detach().clone() for name, one in masters.items()}
        norm = engine.step(learning_rate=1e-3)
        if norm is None or not np.isfinite(norm):
            raise CheckFailedError(f"the norm of the gradient is {norm}", {})
        if not any(not torch.equal(before[name], one) for name, one in masters.items()):
            raise CheckFailedError("the engine changed no weight", {})
        return {"loss": micro.loss.detach(), **found}

    # --- scorers -----------------------------------------------------------------------------

    def reference(self, *, shared_prefix: bool) -> dict[str, float]:
        """Log-probabilities of responses without gradients, as of the reference pass."""

        @torch.no_grad()
        def make(dtype: Dtype) -> Tensor:
            loaded = self.load(dtype)
            found = response_log_probs(
                loaded.model, loaded.adapter, _groups(loaded), shared_prefix=shared_prefix
            )
            return found.sums / found.lengths

        return _within("nats_a_token", _apart(make("bfloat16"), make("float32")), _LIMIT.log_prob)

    def scores(self, inference: RewardInference) -> dict[str, float]:
        """Scores of a reward model, read without a critique or after a given one."""

        def make(dtype: Dtype) -> Tensor:
            judge = self._judge(dtype, inference)
            return torch.tensor(
                [
                    verdict.score
                    for question, image, responses, critiques in _questions()
                    for verdict in judge.score(question, [image], responses, critiques=critiques)
                ]
            )

        return _within("score", _apart(make("bfloat16"), make("float32")), _SCORE_LIMIT)

    def written_scores(self) -> dict[str, float]:
        """Scores after critiques that the model writes itself, against float32 on the same text."""
        writer, reader = self.load("bfloat16"), self.load("float32")
        template = critique_template(writer)
        question, image, responses, _ = next(iter(_questions()))
        group = template.open(question, [image], responses)
        written = write_critiques(
            self._scorer(writer, "linear"),
            [group],
            choose=choose_likeliest,
            limits=[12] * len(responses),
        )
        end = torch.tensor([template.terminal_id])
        whole = [
            torch.cat([response, critique, end])
            for response, critique in zip(group.responses, written.tokens, strict=True)
        ]
        given = EncodedGroup(group.prompt_ids, tuple(whole), group.media_inputs)
        with torch.no_grad():
            expected = self._scorer(reader, "linear")([given]).scores
        return _within("score", _apart(written.scores, expected), _SCORE_LIMIT)

    def answers(self) -> dict[str, float]:
        """Answers that the model writes: as likely as float32 says of the same tokens."""
        writer, reader = self.load("bfloat16"), self.load("float32")
        prompts = _groups(writer)
        written = write_answers(
            writer.model,
            writer.adapter,
            prompts,
            choose=choose_likeliest,
            ends=end_tokens(writer),
            max_new_tokens=12,
        )
        groups = [
            EncodedGroup(prompt.prompt_ids, (answer.tokens,), prompt.media_inputs)
            for prompt, answer in zip(prompts, written, strict=True)
        ]
        means = []
        with torch.no_grad():
            for one in (writer, reader):
                found = response_log_probs(one.model, one.adapter, groups, shared_prefix=True)
                means.append(found.sums / found.lengths)
        return _within("nats_a_token", _apart(*means), _LIMIT.log_prob)

    def encoder(self, save: Callable[..., Path]) -> dict[str, float]:
        """Vectors of pictures: by what their cosine falls short of 1."""
        folder = save(self.folder / save.__name__, tiny=self.tiny)

        def make(dtype: Dtype) -> np.ndarray[Any, Any]:
            encoder = Encoder(folder, dtype=dtype, device=self.device)  # type: ignore[arg-type]
            shape = (3, *small.encoder_sides(tiny=self.tiny))
            noise = np.random.default_rng(0)
            vectors, good = encoder.encode(
                [noise.integers(0, 256, shape, dtype=np.uint8) for _ in range(5)]
            )
            if not all(good):
                raise CheckFailedError(f"pictures without a vector in {dtype}", {})
            return vectors

        cosines = (make("bfloat16") * make("float32")).sum(-1)
        return _within("cosine_short_of_1", float(1 - cosines.min()), _COSINE_LIMIT)

    # --- families ----------------------------------------------------------------------------

    def family(self, name: str) -> dict[str, float | str]:
        """Rows that share a prompt against the model's own forward pass, with gradients."""
        shape = SHAPES[name](True, None)
        found = prove(shape, build(shape, dtype=torch.bfloat16, device=self.device))
        figures: dict[str, float | str] = {
            f"{rows}_{name}": getattr(deviation, name)
            for rows, deviation in (("shared", found.shared), ("separate", found.separate))
            if deviation is not None
            for name in ("log_prob", "gradient")
        }
        figures["attention"] = " and ".join(found.forms)
        if reasons := [*found.fallbacks, *([] if found.trusted else [found.reason])]:
            raise CheckFailedError("; ".join(reasons), figures)
        return figures

    def _scorer(self, loaded: LoadedModel, head: HeadKind) -> RewardScorer:
        hidden = int(loaded.model.config.get_text_config().hidden_size)
        made = RewardHead(head, hidden).to(self.device, torch.float32)
        return RewardScorer(loaded.model, loaded.adapter, made, shared_prefix=True)

    def _judge(self, dtype: Dtype, inference: RewardInference) -> CritiqueRewardModel:
        loaded = self.load(dtype)
        hidden = int(loaded.model.config.get_text_config().hidden_size)
        card = RewardModelCard(
            head="linear",
            hidden_size=hidden,
            critique="enhanced",
            inference=inference,
            template=critique_template(loaded).digest(),
            base="small",
            base_digest="",
        )
        head = RewardHead("linear", hidden).to(self.device, torch.float32)
        return CritiqueRewardModel(
            loaded, head, card, digest="", inference=inference, precision=Precision(dtype, "sdpa")
        )

    def _runtime(self) -> Runtime:
        return Runtime(rank=0, world_size=1, device=self.device)


def check_cases(device: torch.device, folder: Path, *, tiny: bool) -> Iterator[Case]:
    """All checks, each as a case of its own."""
    checks = Checks(device, tiny, folder)
    betas = {
        "fixed": BetaPolicy(strategy="fixed"),
        "dynamic": BetaPolicy(strategy="dynamic"),
        "implicit": BetaPolicy(strategy="implicit"),
    }
    heads: tuple[HeadKind, ...] = ("linear", "mlp")
    known: dict[str, Callable[[], Mapping[str, Any]]] = {
        **{f"objective: MM-DPO, beta {n}": partial(checks.preference, b) for n, b in betas.items()},
        "objective: MM-DPO, hardest pairs": partial(
            checks.preference, betas["fixed"], mode="hardest"
        ),
        **{
            f"objective: reward model, head {head}": partial(checks.reward, head, critiques=True)
            for head in heads
        },
        "objective: reward model without critiques, centred": partial(
            checks.reward, "linear", critiques=False, center=0.01
        ),
        "scorer: reference pass": partial(checks.reference, shared_prefix=True),
        "scorer: one row a response": partial(checks.reference, shared_prefix=False),
        "scorer: rewards without critiques": partial(
            checks.scores, RewardInference(critique="none")
        ),
        "scorer: rewards after given critiques": partial(
            checks.scores, RewardInference(critique="groundTruth")
        ),
        "scorer: rewards after written critiques": checks.written_scores,
        "writer: answers": checks.answers,
        "encoder: CLIP": partial(checks.encoder, small.save_clip),
        "encoder: SigLIP": partial(checks.encoder, small.save_siglip),
        "family: LLaVA-OneVision": partial(checks.family, "LLaVA-OneVision-7B"),
        "family: Qwen2.5-VL": partial(checks.family, "Qwen2.5-VL-7B"),
    }
    for name, run in known.items():
        yield Case(f"bfloat16, {name}", run, needs=5.0)


def _questions() -> Iterator[tuple[str, Any, list[str], list[str]]]:
    known = zip(small.QUESTIONS, small.pictures(), small.RESPONSES, small.CRITIQUES, strict=True)
    for question, image, responses, critiques in known:
        yield question, image, list(responses), list(critiques)


def _groups(loaded: LoadedModel) -> list[EncodedGroup]:
    return [
        loaded.adapter.encode(question, [image], responses)
        for question, image, responses, _ in _questions()
    ]


def _judged(template: CritiqueTemplate, *, critiques: bool) -> list[EncodedGroup]:
    return [
        template.encode(question, [image], responses, texts if critiques else [None] * len(texts))
        for question, image, responses, texts in _questions()
    ]


def _compare_steps(make: Callable[[Dtype], dict[str, Tensor]]) -> dict[str, float]:
    """Relative differences of the loss and of all gradients as one vector."""
    own, wide = make("bfloat16"), make("float32")
    if set(own) != set(wide):
        raise CheckFailedError(f"no gradient of {min(set(own) ^ set(wide))} in one of them", {})
    loss, expected = float(own.pop("loss")), float(wide.pop("loss"))
    apart = sum(float((own[name] - wide[name]).double().square().sum()) for name in wide)
    size = sum(float(one.double().square().sum()) for one in wide.values())
    figures = {
        "loss": loss,
        "loss_float32": expected,
        "loss_apart": abs(loss - expected) / abs(expected),
        "gradient_apart": (apart / size) ** 0.5,
    }
    limits = {"loss_apart": _LIMIT.log_prob, "gradient_apart": _LIMIT.gradient}
    # Written so that NaN is beyond.
    beyond = [name for name, limit in limits.items() if not figures[name] <= limit]
    if beyond:
        raise CheckFailedError(
            ", ".join(f"{name} {figures[name]:.2g} (allowed {limits[name]})" for name in beyond),
            figures,
        )
    return figures


def _apart(own: Tensor, wide: Tensor) -> float:
    return float((own.double().cpu() - wide.double().cpu()).abs().max())


def _within(name: str, value: float, limit: float) -> dict[str, float]:
    figures = {name: value, "allowed": limit}
    if not value <= limit:
        raise CheckFailedError(f"{name} {value:.2g} (allowed {limit})", figures)
    return figures
