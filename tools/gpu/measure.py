"""One row of the table, measured by the forward pass, objective and engine of a job."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from typing import Final

import torch
from torch._dynamo.utils import counters

from benchmarks.dpo import lengths, ours, peer
from benchmarks.dpo.lengths import Lengths
from benchmarks.dpo.steps import Trained, peak_memory
from benchmarks.dpo.words import NO_IMAGE, make_groups, make_rows
from mmrlhf_jobs.forward.responses import ResponseModel
from mmrlhf_jobs.models.adapter import EncodedGroup
from mmrlhf_jobs.models.precision import Precision
from mmrlhf_jobs.models.recomputation import recompute
from tools.gpu.flops import training_flops
from tools.gpu.models import Built, Figures, Models
from tools.gpu.shapes import build_bare
from tools.gpu.table import Row

__all__ = ["Bench"]

_REPEATS: Final = 3
"""After one that warms up."""
_STEPS: Final = 2
"""The same."""
_LEARNING_RATE: Final = 1e-6
_WORKERS: Final = 4
"""Processes that make TRL's micro-batches ready beside a card, as ours are one step ahead."""


@dataclass
class Bench:
    """Measures rows, one after the other, and keeps a model for those that follow.

    Attributes:
        device: Where to compute.
        clock: Seconds.
        tiny: Models of a few thousand weights.
        peak: Operations a second of the device; None: not known.
        models: The model that is there, for rows that follow.
    """

    device: torch.device
    clock: Callable[[], float]
    tiny: bool = False
    peak: float | None = None
    models: Models = field(init=False)

    def __post_init__(self) -> None:
        self.models = Models(self.device, self.clock, tiny=self.tiny)

    def measure(self, row: Row) -> Figures:
        """Figures of a row.

        Raises:
            torch.OutOfMemoryError: The device has too little memory.
            ImportError: A row's peer, or what makes its lengths, is not installed.
        """
        return self._steps(row) if row.form in {"step", "trl"} else self._passes(row)

    def clear(self) -> None:
        """Give the memory back."""
        self.models.clear()

    def _passes(self, row: Row) -> Figures:
        """Forward pass, objective and backward pass, without an optimizer."""
        built = self.models.take(row)
        self._forget_peak()
        model, adapter = built.loaded.model, built.loaded.adapter
        recompute(built.loaded, every=row.settings.recompute, tower=False)
        shared = row.form == "shared"
        module = ResponseModel(model, adapter, shared_prefix=shared)
        objective = ours.make_objective(self._precision(row), self.device)
        repeats: list[Figures] = []
        graphs = 0
        try:
            for repeat in range(1 + (1 if self.tiny else _REPEATS)):
                graphs = count_graphs() if repeat < 2 else graphs
                drawn = [
                    self._groups(row, built, repeat * row.batches + i) for i in range(row.batches)
                ]
                batches = [ours.make_queries(groups) for groups in drawn]
                self._wait()
                begin = self.clock()
                tokens = places = 0
                losses = []
                for number, queries in enumerate(batches):
                    output = module([query.encoded for query in queries])
                    micro = objective.loss(
                        queries, output, counts=objective.counts(queries), draw=number
                    )
                    micro.loss.backward()
                    model.zero_grad(set_to_none=True)
                    tokens += output.real_tokens
                    places += output.tokens_forwarded
                    losses.append(float(micro.loss.detach()))
                self._wait()
                seconds = self.clock() - begin
                repeats.append(
                    {
                        "seconds": seconds,
                        "tokens": tokens,
                        "padding": 1 - tokens / places,
                        "pairs": sum(len(query.pairs) for queries in batches for query in queries),
                        "flops": sum(self._flops(built, one, shared=shared) for one in drawn),
                        "loss": statistics.fmean(losses),
                    }
                )
        finally:
            model.zero_grad(set_to_none=True)
        return {
            **self._summary(repeats[1:]),
            **built.figures,
            "new_graphs": count_graphs() - graphs,
            "attention": " and ".join(sorted(module.taken)),
            "reasons": [*built.proof.fallbacks, *filter(None, module.taken.values())],
        }

    def _groups(self, row: Row, built: Built, number: int) -> list[EncodedGroup]:
        """Queries of the micro-batch of this number; pairs as queries of two responses."""
        opening = built.image if row.images else NO_IMAGE
        count = row.at_once
        if row.form == "pairwise":
            count = -(-row.at_once // math.comb(row.n, 2))
        drawn = draw_lengths(row, count, number)
        groups = make_groups(drawn, opening, built.shape.processor.tokenizer, seed=number)
        if row.form != "pairwise":
            return groups
        pairs = [
            EncodedGroup(group.prompt_ids, (first, second), group.media_inputs)
            for group in groups
            for first, second in combinations(group.responses, 2)
        ]
        return pairs[: row.at_once]

    def _flops(self, built: Built, groups: Sequence[EncodedGroup], *, shared: bool) -> float:
        own: Lengths = [
            (len(group.prompt_ids), [len(one) for one in group.responses]) for group in groups
        ]
        patches = sum(built.shape.patches(group.media_inputs) for group in groups)
        frozen = "trained" in built.figures
        return training_flops(built.weights, own, shared=shared, patches=patches, frozen=frozen)

    def _summary(self, repeats: Sequence[Figures]) -> Figures:
        def rate(name: str) -> float:
            return float(statistics.median(one[name] / one["seconds"] for one in repeats))

        return {
            "seconds": [one["seconds"] for one in repeats],
            "tokens": [one["tokens"] for one in repeats],
            "pairs": [one["pairs"] for one in repeats],
            "padding": statistics.fmean(one["padding"] for one in repeats),
            "loss": repeats[-1]["loss"],
            "tokens_per_s": rate("tokens"),
            "pairs_per_s": rate("pairs"),
            "flops_per_s": rate("flops"),
            "mfu": rate("flops") / self.peak if self.peak else None,
            "peak_bytes": peak_memory(),
        }

    def _steps(self, row: Row) -> Figures:
        """Whole optimizer steps, of our engine or of TRL's."""
        # Anew: engines put hooks on the weights, and change them.
        self.clear()
        self._forget_peak()
        drawn = draw_lengths(row, row.queries, 0)
        pairs = lengths.count_pairs(drawn)
        if row.form == "trl":
            trained = self._trl(row, drawn, pairs)
            more: Figures = {}
            expected = lengths.pairwise_tokens(drawn)
        else:
            trained, more = self._engine(row, drawn)
            expected = lengths.shared_tokens(drawn)
        if trained.tokens != expected:
            raise RuntimeError(f"{trained.tokens} tokens a step instead of {expected}")
        seconds = statistics.median(step.seconds for step in trained.steps)
        return {
            "seconds": [step.seconds for step in trained.steps],
            "tokens": [trained.tokens] * len(trained.steps),
            "pairs": [pairs] * len(trained.steps),
            "padding": 1 - trained.tokens / trained.places,
            "loss": trained.losses[0],
            "tokens_per_s": trained.tokens / seconds,
            "pairs_per_s": pairs / seconds,
            "mfu": None,
            "peak_bytes": trained.peak_bytes,
            **more,
            "attention": "",
        }

    def _engine(self, row: Row, drawn: Lengths) -> tuple[Trained, Figures]:
        built = self.models.take(row)
        opening = built.image if row.images else NO_IMAGE
        groups = make_groups(drawn, opening, built.shape.processor.tokenizer, seed=0)
        recompute(built.loaded, every=row.settings.recompute, tower=False)
        module = ResponseModel(built.loaded.model, built.loaded.adapter, shared_prefix=True)
        try:
            trained = ours.train(
                module,
                ours.refer(module, ours.make_queries(groups)),
                at_once=row.at_once,
                steps=1 if self.tiny else _STEPS,
                learning_rate=_LEARNING_RATE,
                precision=self._precision(row),
            )
            return trained, built.figures
        finally:
            del built, module
            self.clear()

    def _trl(self, row: Row, drawn: Lengths, pairs: int) -> Trained:
        built = self.models.take(row)
        opening, shape = built.image if row.images else NO_IMAGE, built.shape
        tokenizer = shape.processor.tokenizer
        groups = make_groups(drawn, opening, tokenizer, seed=0)
        texts = make_rows(groups, opening, tokenizer)
        del built
        self.clear()
        dtype = getattr(torch, row.settings.dtype)
        return peer.train(
            build_bare(shape, dtype=dtype, device=self.device),
            texts,
            shape.processor if row.images else tokenizer,
            reference=build_bare(shape, dtype=dtype, device=self.device) if row.images else None,
            pairs=pairs,
            at_once=row.at_once,
            steps=1 if self.tiny else _STEPS,
            learning_rate=_LEARNING_RATE,
            workers=_WORKERS if self.device.type == "cuda" else 0,
        )

    def _precision(self, row: Row) -> Precision:
        return Precision(row.settings.dtype, "sdpa")

    def _forget_peak(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats()

    def _wait(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize()


def count_graphs() -> int:
    """Graphs that this process has compiled."""
    return int(counters["stats"]["unique_graphs"])


def draw_lengths(row: Row, queries: int, number: int) -> Lengths:
    """Lengths of so many queries, other ones for each number where they are drawn.

    Raises:
        ImportError: What the digits are made of is not installed.
    """
    if row.kind == "equal":
        return lengths.equal(row.n, row.prompt, row.response, queries)
    if row.kind == "digits":
        return lengths.drawn_from(lengths.digits_lengths(), row.n, queries, seed=number)
    return lengths.log_normal(row.n, row.prompt, row.response, queries, seed=number)
