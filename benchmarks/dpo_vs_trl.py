"""Pairs per second and peak memory of group-form DPO against TRL's DPOTrainer.

Same model, same data, same optimizer, same number of steps. One optimizer step holds all pairs of
a few queries. Reference log-probabilities are computed before the timed part for both; on rows with
images TRL computes them in every step, since it cannot before. TRL gets the best of several batch
sizes, chosen on this machine; the two then run in turn, each run in a process of its own, so that
drifting load and memory of one do not touch the other. Lengths are all the same, or those of the
digits' records, or drawn from a log-normal distribution; where they differ, TRL pads.

The number to look at is the speed-up over the ratio of tokens: how much of what is saved in tokens
arrives as time. On a machine with other work on it, run with ``--threads 1`` and read the figures
in CPU time: threads that wait for each other at barriers spoil both kinds of time. The last line
of the output is one line of JSON with all figures.

Usage::

    python -m benchmarks.dpo_vs_trl [--full] [--only NAME ...] [--rounds N] [--steps N]
"""

from __future__ import annotations

import argparse
import json
import math
import os
import random
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from importlib import metadata
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch
    from PIL import Image
    from torch import nn
    from transformers import PreTrainedModel, PreTrainedTokenizerFast, ProcessorMixin

    from mmrlhf_jobs.forward.responses import ResponseLogProbs

BETA, GAMMA, LEARNING_RATE = 0.1, 0.25, 1e-5
TRL_BATCH_SIZES = (1, 2, 4, 6)
GOAL = 0.9


@dataclass(frozen=True)
class Case:
    """One measurement: what is trained, by whom, for how long.

    Attributes:
        name: What it is called.
        lengths: Of each query of a step the tokens of its prompt, and of each of its responses, all
            of different rank, the terminal one included.
        images: Every prompt begins with an image, whose tokens are among those of the prompt.
        batch: Pairs per micro-batch for TRL, queries per micro-batch for mmrlhf.
        steps: Timed optimizer steps after one that warms up; 0 times that one alone.
        trainer: "trl" or "mmrlhf".
    """

    name: str
    lengths: tuple[tuple[int, tuple[int, ...]], ...]
    images: bool = False
    batch: int = 1
    steps: int = 1
    trainer: str = "mmrlhf"

    @property
    def pairs(self) -> int:
        """Pairs per optimizer step."""
        return sum(len(own) * (len(own) - 1) // 2 for _, own in self.lengths)

    @property
    def won_tokens(self) -> int:
        """Tokens of the chosen responses of all pairs."""
        return sum(
            length * (len(own) - 1 - rank)
            for _, own in self.lengths
            for rank, length in enumerate(own)
        )

    @property
    def pairwise_tokens(self) -> int:
        """Tokens per step when every pair is forwarded, padding left out."""
        return sum((len(own) - 1) * (len(own) * prompt + sum(own)) for prompt, own in self.lengths)

    @property
    def shared_tokens(self) -> int:
        """Tokens per step when the prompt of a query is forwarded once."""
        return sum(prompt + sum(own) for prompt, own in self.lengths)

    @property
    def token_ratio(self) -> float:
        """``n(n-1)(P+R) / (P+nR)`` where all lengths are the same."""
        return self.pairwise_tokens / self.shared_tokens


def equal(n: int, prompt: int, response: int, queries: int, *, images: bool = False) -> Case:
    """A case whose prompts and whose responses are as long as each other."""
    name = f"{'images, ' if images else ''}n={n} P={prompt} R={response}"
    return Case(name, ((prompt, (response,) * n),) * queries, images)


def log_normal(n: int, prompt: int, response: int, queries: int, *, seed: int = 3) -> Case:
    """Lengths around these medians, with spreads of 0.5 and 0.7 of their logarithms."""
    draw = random.Random(seed)

    def length(median: int, spread: float) -> int:
        return max(2, round(draw.lognormvariate(math.log(median), spread)))

    lengths = tuple(
        (length(prompt, 0.5), tuple(length(response, 0.7) for _ in range(n)))
        for _ in range(queries)
    )
    return Case(f"log-normal, n={n} P~{prompt} R~{response}", lengths)


def digits(queries: int) -> Case:
    """Lengths of the digits' records with 4 responses, by the tokenizer of the example.

    An image takes the tokens of two tiles there; here text stands for them.
    """
    from examples.digits.generate import generate
    from examples.digits.model import PATCH, TILE, read_texts, train_tokenizer

    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder)
        generate(data, train=100, heldout=5, seed=0)
        tokenizer = train_tokenizer(read_texts(data / "train.jsonl"))
        rows = [json.loads(line) for line in (data / "train.jsonl").read_text().splitlines()]
    around = 2 * (TILE // PATCH) ** 2 + 20
    lengths = [
        (
            around + len(tokenizer.encode(row["query"]["text"])),
            tuple(len(tokenizer.encode(one["text"])) + 1 for one in row["responses"]),
        )
        for row in rows
        if len(row["responses"]) == RESPONSES
    ]
    return Case("digits, n=4", tuple(lengths[:queries]))


RESPONSES = 4
IMAGE_TOKENS = 256


# The pairs of a step divide by every batch size of TRL.
def small_cases() -> tuple[Case, ...]:
    """What is measured by default."""
    return (
        equal(4, 512, 64, 2),
        equal(3, 256, 128, 4),
        log_normal(4, 256, 64, 4),
        digits(16),
        equal(4, 320, 64, 2, images=True),
    )


def full_cases() -> tuple[Case, ...]:
    """All of it."""
    return (
        *small_cases(),
        equal(2, 512, 64, 12),
        equal(4, 829, 200, 2),
        equal(4, 1600, 100, 2),
        equal(9, 512, 64, 1),
        log_normal(4, 512, 128, 8),
    )


# --- what both sides share -------------------------------------------------------------------


def text_config() -> dict[str, Any]:
    """A text decoder of about 28 million weights."""
    return {
        "vocab_size": 4096,
        "hidden_size": 384,
        "intermediate_size": 1536,
        "num_hidden_layers": 12,
        "num_attention_heads": 6,
        "num_key_value_heads": 2,
        "max_position_embeddings": 8192,
        "eos_token_id": 1,
        "pad_token_id": 0,
        "bos_token_id": None,
    }


def build_model(case: Case) -> PreTrainedModel:
    """The decoder, or a LLaVA of it and a frozen tower of 6 layers, with seeded values."""
    import torch
    from transformers import (
        LlavaConfig,
        LlavaForConditionalGeneration,
        Qwen2Config,
        Qwen2ForCausalLM,
    )

    torch.manual_seed(0)
    if not case.images:
        return Qwen2ForCausalLM(Qwen2Config(**text_config())).train()
    model = LlavaForConditionalGeneration(
        LlavaConfig(
            text_config={"model_type": "qwen2", **text_config()},
            vision_config={
                "model_type": "clip_vision_model",
                "hidden_size": 256,
                "intermediate_size": 1024,
                "num_hidden_layers": 6,
                "num_attention_heads": 4,
                "image_size": 224,
                "patch_size": 14,
            },
            image_token_index=IMAGE_ID,
            image_token_id=IMAGE_ID,
            vision_feature_layer=-2,
            vision_feature_select_strategy="default",
        )
    )
    model.model.vision_tower.requires_grad_(False)
    return model.train()


IMAGE_ID = 2
FIRST_WORD = 3


def build_tokenizer() -> PreTrainedTokenizerFast:
    """A word for every id."""
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel
    from tokenizers.pre_tokenizers import WhitespaceSplit
    from transformers import PreTrainedTokenizerFast

    vocabulary = Tokenizer(WordLevel({word: i for i, word in enumerate(WORDS)}, unk_token="<pad>"))
    vocabulary.pre_tokenizer = WhitespaceSplit()
    return PreTrainedTokenizerFast(
        tokenizer_object=vocabulary,
        eos_token="<eos>",
        pad_token="<pad>",
        extra_special_tokens={"image_token": "<image>"},
    )


WORDS = ["<pad>", "<eos>", "<image>", *(f"w{i}" for i in range(FIRST_WORD, 4096))]


def build_processor() -> ProcessorMixin:
    """A processor of LLaVA: an image takes 256 places."""
    from transformers import CLIPImageProcessorPil, LlavaProcessor

    return LlavaProcessor(
        image_processor=CLIPImageProcessorPil(
            size={"height": 224, "width": 224}, do_center_crop=False
        ),
        tokenizer=build_tokenizer(),
        patch_size=14,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
    )


def build_image(number: int) -> Image.Image:
    """A picture of coloured noise."""
    import numpy as np
    from PIL import Image

    pixels = np.random.default_rng(number).integers(0, 256, (224, 224, 3), dtype=np.uint8)
    return Image.fromarray(pixels)


def build_data(case: Case) -> list[tuple[list[int], list[list[int]]]]:
    """Random token ids: per query the text of the prompt and its responses, best first."""
    import torch

    generator = torch.Generator().manual_seed(1)

    def draw(count: int) -> list[int]:
        return [int(i) for i in torch.randint(FIRST_WORD, 4096, (count,), generator=generator)]

    taken = IMAGE_TOKENS if case.images else 0
    return [
        (draw(prompt - taken), [[*draw(length - 1), 1] for length in own])
        for prompt, own in case.lengths
    ]


@dataclass(frozen=True)
class Step:
    """One timed optimizer step."""

    seconds: float
    cpu_seconds: float


class Clock:
    """Marks the ends of steps; a step is what lies between two of them."""

    def __init__(self) -> None:
        self.marks: list[tuple[float, float]] = []

    def mark(self) -> None:
        """End a step."""
        self.marks.append((time.perf_counter(), time.process_time()))

    def steps(self) -> list[Step]:
        """All steps but the first one, which warms up, unless it is the only one."""
        pairs = zip(self.marks, self.marks[1:], strict=False)
        steps = [Step(b[0] - a[0], b[1] - a[1]) for a, b in pairs]
        return steps[1:] or steps


# --- the two trainers ------------------------------------------------------------------------


def run_mmrlhf(case: Case) -> dict[str, Any]:
    """Train with one log-probability per response, prompt shared."""
    import torch

    from mmrlhf_jobs.attention.split import SHARED_PREFIX_SDPA, register_shared_prefix_attention
    from mmrlhf_jobs.forward.responses import response_log_probs
    from mmrlhf_jobs.models import DecoderInputs, EncodedGroup
    from mmrlhf_jobs.objectives.preference import preference_loss
    from mmrlhf_jobs.objectives.supervised import supervised_loss

    class Adapter:
        """The part of the adapter interface that is needed here."""

        supports_shared_prefix = True

        def prompt_positions(self, group: EncodedGroup) -> torch.Tensor:
            return torch.arange(len(group.prompt_ids))[None]

        def embed(
            self,
            model: PreTrainedModel,
            input_ids: torch.Tensor,
            positions: torch.Tensor,
            groups: Sequence[EncodedGroup],
            copies: Sequence[int],
            *,
            every_part: bool = False,
        ) -> DecoderInputs:
            del copies, every_part
            embeds = model.get_input_embeddings()(input_ids)
            if case.images:
                pixels = torch.cat([group.media_inputs["pixel_values"] for group in groups])
                features = torch.cat(list(model.get_image_features(pixels).pooler_output))
                places = (input_ids == IMAGE_ID)[..., None]
                embeds = embeds.masked_scatter(places, features)
            return DecoderInputs(embeds, positions[0])

        def decoder(self, model: PreTrainedModel) -> nn.Module:
            module: nn.Module = model.model.language_model if case.images else model.model
            return module

        def output_layer(self, model: PreTrainedModel) -> nn.Linear:
            module: nn.Linear = model.lm_head
            return module

    register_shared_prefix_attention()
    model = build_model(case)
    adapter: Any = Adapter()
    adapter.decoder(model).set_attn_implementation(SHARED_PREFIX_SDPA)
    groups = []
    for number, (prompt, responses) in enumerate(build_data(case)):
        media = {}
        if case.images:
            pixels = build_processor().image_processor(build_image(number), return_tensors="pt")
            media = {"pixel_values": pixels["pixel_values"]}
        ids = [IMAGE_ID] * (IMAGE_TOKENS if case.images else 0) + prompt
        groups.append(EncodedGroup(torch.tensor(ids), tuple(map(torch.tensor, responses)), media))
    batches = [groups[i : i + case.batch] for i in range(0, len(groups), case.batch)]

    def score(batch: Sequence[EncodedGroup]) -> ResponseLogProbs:
        return response_log_probs(model, adapter, batch, shared_prefix=True)

    with torch.no_grad():
        references = [score(batch).sums for batch in batches]
    own_pairs = [list(combinations(range(len(group.responses)), 2)) for group in groups]
    optimizer = torch.optim.AdamW(model.parameters(), lr=LEARNING_RATE, weight_decay=0.0)
    clock, losses, tokens = Clock(), [], 0
    before = peak_memory()
    clock.mark()
    for _ in range(case.steps + 1):
        total = 0.0
        for number, (batch, reference) in enumerate(zip(batches, references, strict=True)):
            first, rows = 0, []
            for group, own in zip(batch, own_pairs[number * case.batch :], strict=False):
                rows += [(first + i, first + j) for i, j in own]
                first += len(group.responses)
            places = torch.tensor(rows)
            scored = score(batch)
            preference = preference_loss(scored.sums, reference, places, BETA)
            supervised = supervised_loss(scored.sums, scored.lengths, places)
            loss = preference.total / case.pairs + GAMMA * supervised.numerator / case.won_tokens
            loss.backward()
            total += float(loss)
            tokens += scored.tokens_forwarded
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        losses.append(total)
        clock.mark()
    return result(clock, losses, tokens // (case.steps + 1), before)


def run_trl(case: Case) -> dict[str, Any]:
    """Train with TRL on the batch of all pairs."""
    from datasets import Dataset
    from transformers import TrainerCallback
    from trl import DPOConfig, DPOTrainer

    def text(ids: Sequence[int]) -> str:
        return "".join(" " + WORDS[i] for i in ids)

    rows = [
        {
            "prompt": ("<image>" if case.images else "") + text(prompt),
            "chosen": text(responses[i]),
            "rejected": text(responses[j]),
            **({"images": [build_image(number)]} if case.images else {}),
        }
        for number, (prompt, responses) in enumerate(build_data(case))
        for i, j in combinations(range(len(responses)), 2)
    ]
    clock, losses, tokens, places = Clock(), [], 0, 0

    class Ends(TrainerCallback):
        def on_train_begin(self, *_: object, **__: object) -> None:
            clock.mark()

        def on_step_end(self, *_: object, **__: object) -> None:
            clock.mark()

    class Observed(DPOTrainer):
        def compute_loss(
            self,
            model: nn.Module,
            inputs: dict[str, torch.Tensor],
            *args: object,
            **kwargs: object,
        ) -> torch.Tensor:
            nonlocal tokens, places
            loss: torch.Tensor = super().compute_loss(model, inputs, *args, **kwargs)
            losses.append(float(loss))
            tokens += int(inputs["attention_mask"].sum())
            places += inputs["input_ids"].numel()
            return loss

    accumulation = case.pairs // case.batch
    with tempfile.TemporaryDirectory() as folder:
        trainer = Observed(
            model=build_model(case),
            ref_model=build_model(case) if case.images else None,
            args=DPOConfig(
                output_dir=folder,
                use_cpu=True,
                bf16=False,
                activation_checkpointing=False,
                max_length=None,
                beta=BETA,
                loss_type=["sigmoid", "sft"],
                loss_weights=[1.0, GAMMA],
                precompute_ref_log_probs=not case.images,
                per_device_train_batch_size=case.batch,
                gradient_accumulation_steps=accumulation,
                max_steps=case.steps + 1,
                learning_rate=LEARNING_RATE,
                lr_scheduler_type="constant",
                warmup_steps=0,
                weight_decay=0.0,
                max_grad_norm=1.0,
                optim="adamw_torch",
                save_strategy="no",
                logging_strategy="no",
                disable_tqdm=True,
                report_to=[],
                # Images are looked at by the collator, which needs them.
                remove_unused_columns=not case.images,
            ),
            train_dataset=Dataset.from_list(rows),
            processing_class=build_processor() if case.images else build_tokenizer(),
            callbacks=[Ends()],
        )
        before = peak_memory()
        trainer.train()
    per_step = [
        statistics.fmean(losses[i : i + accumulation]) for i in range(0, len(losses), accumulation)
    ]
    done = case.steps + 1
    return {
        **result(clock, per_step, tokens // done, before),
        "padding": 1 - tokens / places,
    }


def result(clock: Clock, losses: list[float], tokens: int, before: int) -> dict[str, Any]:
    """What a worker reports."""
    return {
        "steps": [asdict(step) for step in clock.steps()],
        "losses": losses,
        "tokens": tokens,
        "peak_bytes": peak_memory(),
        "before_bytes": before,
    }


def peak_memory() -> int:
    """Largest resident memory of this process so far, in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


# --- the measurement -------------------------------------------------------------------------


def measure(case: Case, threads: int) -> dict[str, Any]:
    """Run one case in a process of its own."""
    environment = {
        **os.environ,
        "OMP_NUM_THREADS": str(threads),
        "DS_ACCELERATOR": "cpu",
        "HF_HUB_OFFLINE": "1",
        "TQDM_DISABLE": "1",
    }
    done = subprocess.run(
        [sys.executable, "-W", "ignore", __file__, "--worker", json.dumps(asdict(case))],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        sys.exit(f"{case} failed:\n{done.stderr[-4000:]}")
    report: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return report


def median(reports: Sequence[dict[str, Any]], field: str = "seconds") -> float:
    """Median over all timed steps of several runs."""
    return float(statistics.median(step[field] for report in reports for step in report["steps"]))


def compare(case: Case, *, rounds: int, steps: int, threads: int) -> dict[str, Any]:
    """Find TRL's best batch size, then measure both in turn."""
    print(
        f"\n{case.name}: {len(case.lengths)} queries = {case.pairs} pairs a step; tokens "
        f"{case.pairwise_tokens} : {case.shared_tokens} = {case.token_ratio:.2f}"
    )
    trials: dict[int, float] = {}
    for batch in TRL_BATCH_SIZES:
        report = measure(replace(case, trainer="trl", batch=batch, steps=0), threads)
        trials[batch] = median([report])
        print(f"  trl batch {batch}: {trials[batch]:.2f} s a step (one try)", flush=True)
    best = min(trials, key=lambda batch: trials[batch])
    reports: dict[str, list[dict[str, Any]]] = {"trl": [], "mmrlhf": []}
    for _ in range(rounds):
        for trainer, batch in (("trl", best), ("mmrlhf", 1)):
            chosen = replace(case, trainer=trainer, batch=batch, steps=steps)
            reports[trainer].append(measure(chosen, threads))
    for trainer, expected in (("trl", case.pairwise_tokens), ("mmrlhf", case.shared_tokens)):
        found = reports[trainer][0]["tokens"]
        if found != expected:
            sys.exit(f"{trainer} forwarded {found} tokens a step instead of {expected}")
    # Same seeds in every round: the losses of the first one say it all.
    losses = {trainer: runs[0]["losses"] for trainer, runs in reports.items()}
    difference = max(
        abs(a - b) / abs(b) for a, b in zip(losses["mmrlhf"], losses["trl"], strict=True)
    )
    seconds = {trainer: median(runs) for trainer, runs in reports.items()}
    cpu = {trainer: median(runs, "cpu_seconds") for trainer, runs in reports.items()}
    memory = {t: max(r["peak_bytes"] for r in runs) / 1e9 for t, runs in reports.items()}
    speedup = seconds["trl"] / seconds["mmrlhf"]
    summary = {
        "case": case.name,
        "lengths": case.lengths,
        "trl_padding": reports["trl"][0]["padding"],
        "pairs_per_step": case.pairs,
        "trl_batch": best,
        "trl_trials_s": trials,
        "trl_s": seconds["trl"],
        "mmrlhf_s": seconds["mmrlhf"],
        "trl_cpu_s": cpu["trl"],
        "mmrlhf_cpu_s": cpu["mmrlhf"],
        "trl_pairs_per_s": case.pairs / seconds["trl"],
        "mmrlhf_pairs_per_s": case.pairs / seconds["mmrlhf"],
        "trl_peak_gb": memory["trl"],
        "mmrlhf_peak_gb": memory["mmrlhf"],
        "speedup": speedup,
        "cpu_speedup": cpu["trl"] / cpu["mmrlhf"],
        "token_ratio": case.token_ratio,
        "of_token_ratio": speedup / case.token_ratio,
        "cpu_of_token_ratio": cpu["trl"] / cpu["mmrlhf"] / case.token_ratio,
        "losses_trl": losses["trl"],
        "losses_mmrlhf": losses["mmrlhf"],
        "largest_relative_difference_of_losses": difference,
    }
    for trainer in reports:
        print(
            f"  {trainer:>6}: {seconds[trainer]:.2f} s a step (CPU {cpu[trainer]:.2f} s), "
            f"{case.pairs / seconds[trainer]:.2f} pairs/s, peak {memory[trainer]:.2f} GB, losses "
            + " ".join(f"{loss:.5f}" for loss in losses[trainer])
        )
    print(
        f"  speed-up {speedup:.2f} (CPU time {summary['cpu_speedup']:.2f}), "
        f"{summary['of_token_ratio']:.2f} of the token ratio "
        f"(CPU time {summary['cpu_of_token_ratio']:.2f}; goal {GOAL})",
        flush=True,
    )
    return summary


def main() -> None:
    """Run the workers and print the comparison."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--full", action="store_true", help="more cases, more repeats")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    parser.add_argument("--only", nargs="*", help="cases whose name begins with one of these")
    parser.add_argument("--rounds", type=int, help="runs of each side")
    parser.add_argument("--steps", type=int, help="timed steps of a run")
    options = parser.parse_args()
    if options.worker:
        case = Case(**json.loads(options.worker))
        workers: dict[str, Callable[[Case], dict[str, Any]]] = {
            "trl": run_trl,
            "mmrlhf": run_mmrlhf,
        }
        print(json.dumps(workers[case.trainer](case)))
        return
    load = os.getloadavg()[0]
    print(f"{options.threads} threads, load before the start {load:.1f}")
    cases = [
        case
        for case in (full_cases() if options.full else small_cases())
        if not options.only or case.name.startswith(tuple(options.only))
    ]
    rounds = options.rounds or (3 if options.full else 2)
    steps = options.steps or (3 if options.full else 2)
    summaries = [
        compare(case, rounds=rounds, steps=steps, threads=options.threads) for case in cases
    ]
    report = {"threads": options.threads, "load": load, "versions": versions(), "cases": summaries}
    print(json.dumps(report))


def versions() -> dict[str, str]:
    """Of what is measured."""
    return {name: metadata.version(name) for name in ("torch", "transformers", "trl", "mmrlhf")}


if __name__ == "__main__":
    main()
