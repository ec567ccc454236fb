"""Pairs per second and peak memory of group-form DPO against TRL's DPOTrainer.

Same model, same data, same optimizer, same number of steps. One optimizer step holds all pairs of
a few queries. Reference log-probabilities are computed before the timed part for both. TRL gets
the best of several batch sizes, chosen on this machine; the two then run in turn, each run in a
process of its own, so that drifting load and memory of one do not touch the other.

The number to look at is the speed-up over the ratio of tokens: how much of what is saved in tokens
arrives as time. On a machine with other work on it, run with ``--threads 1`` and read the figures
in CPU time: threads that wait for each other at barriers spoil both kinds of time. The last line
of the output is one line of JSON with all figures.

Usage::

    python benchmarks/dpo_vs_trl.py [--full]
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch
    from torch import nn
    from transformers import PreTrainedModel

    from mmrlhf_jobs.forward.responses import ResponseLogProbs

BETA, GAMMA, LEARNING_RATE = 0.1, 0.25, 1e-5
TRL_BATCH_SIZES = (1, 2, 4, 6)
GOAL = 0.9


@dataclass(frozen=True)
class Case:
    """One measurement: what is trained, by whom, for how long.

    Attributes:
        responses: Responses n per query, all of different rank.
        prompt: Tokens P of a prompt.
        response: Tokens R of a response, the terminal one included.
        queries: Queries per optimizer step.
        batch: Pairs per micro-batch for TRL, queries per micro-batch for mmrlhf.
        steps: Timed optimizer steps after one that warms up; 0 times that one alone.
        trainer: "trl" or "mmrlhf".
    """

    responses: int
    prompt: int
    response: int
    queries: int
    batch: int = 1
    steps: int = 1
    trainer: str = "mmrlhf"

    @property
    def pairs(self) -> int:
        """Pairs per optimizer step."""
        return self.queries * self.responses * (self.responses - 1) // 2

    @property
    def pairwise_tokens(self) -> int:
        """Tokens per step when every pair is forwarded."""
        return 2 * self.pairs * (self.prompt + self.response)

    @property
    def shared_tokens(self) -> int:
        """Tokens per step when the prompt of a query is forwarded once."""
        return self.queries * (self.prompt + self.responses * self.response)

    @property
    def token_ratio(self) -> float:
        """``n(n-1)(P+R) / (P+nR)``."""
        return self.pairwise_tokens / self.shared_tokens


# The pairs of a step divide by every batch size of TRL.
SMALL = (
    Case(responses=4, prompt=512, response=64, queries=2),
    Case(responses=3, prompt=256, response=128, queries=4),
)
FULL = (
    *SMALL,
    Case(responses=2, prompt=512, response=64, queries=12),
    Case(responses=4, prompt=829, response=200, queries=2),
    Case(responses=4, prompt=1600, response=100, queries=2),
    Case(responses=9, prompt=512, response=64, queries=1),
)


# --- what both sides share -------------------------------------------------------------------


def build_model(vocabulary: int = 4096) -> PreTrainedModel:
    """A text decoder of about 28 million weights with seeded values."""
    import torch
    from transformers import Qwen2Config, Qwen2ForCausalLM

    torch.manual_seed(0)
    model = Qwen2ForCausalLM(
        Qwen2Config(
            vocab_size=vocabulary,
            hidden_size=384,
            intermediate_size=1536,
            num_hidden_layers=12,
            num_attention_heads=6,
            num_key_value_heads=2,
            max_position_embeddings=8192,
            eos_token_id=1,
            pad_token_id=0,
            bos_token_id=None,
        )
    )
    return model.train()


def build_data(case: Case) -> list[tuple[list[int], list[list[int]]]]:
    """Random token ids: per query the prompt and its responses, best first."""
    import torch

    generator = torch.Generator().manual_seed(1)

    def draw(count: int) -> list[int]:
        return [int(i) for i in torch.randint(2, 4096, (count,), generator=generator)]

    return [
        (draw(case.prompt), [[*draw(case.response - 1), 1] for _ in range(case.responses)])
        for _ in range(case.queries)
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

    class TextAdapter:
        """The part of the adapter interface that a decoder without media needs."""

        supports_shared_prefix = True

        def prompt_positions(self, group: EncodedGroup) -> torch.Tensor:
            return torch.arange(len(group.prompt_ids))[None]

        def embed(
            self,
            model: PreTrainedModel,
            input_ids: torch.Tensor,
            positions: torch.Tensor,
            *_: object,
            every_part: bool = False,
        ) -> DecoderInputs:
            del every_part
            return DecoderInputs(model.get_input_embeddings()(input_ids), positions[0])

        def decoder(self, model: PreTrainedModel) -> nn.Module:
            module: nn.Module = model.model
            return module

        def output_layer(self, model: PreTrainedModel) -> nn.Linear:
            module: nn.Linear = model.lm_head
            return module

    register_shared_prefix_attention()
    model = build_model()
    model.set_attn_implementation(SHARED_PREFIX_SDPA)
    adapter: Any = TextAdapter()
    groups = [
        EncodedGroup(torch.tensor(prompt), tuple(map(torch.tensor, responses)), {})
        for prompt, responses in build_data(case)
    ]
    n = case.responses
    group_pairs = torch.tensor([(i, j) for i in range(n) for j in range(i + 1, n)])
    batches = [groups[i : i + case.batch] for i in range(0, len(groups), case.batch)]

    def score(batch: Sequence[EncodedGroup]) -> ResponseLogProbs:
        return response_log_probs(model, adapter, batch, shared_prefix=True)

    with torch.no_grad():
        references = [score(batch).sums for batch in batches]
    win_tokens = case.pairs * case.response
    optimizer = torch.optim.AdamW(model.parameters(), lr=LEARNING_RATE, weight_decay=0.0)
    clock, losses, tokens = Clock(), [], 0
    before = peak_memory()
    clock.mark()
    for _ in range(case.steps + 1):
        total = 0.0
        for batch, reference in zip(batches, references, strict=True):
            places = torch.cat([group_pairs + n * index for index in range(len(batch))])
            scored = score(batch)
            preference = preference_loss(scored.sums, reference, places, BETA)
            supervised = supervised_loss(scored.sums, scored.lengths, places)
            loss = preference.total / case.pairs + GAMMA * supervised.numerator / win_tokens
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
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel
    from tokenizers.pre_tokenizers import WhitespaceSplit
    from transformers import PreTrainedTokenizerFast, TrainerCallback
    from trl import DPOConfig, DPOTrainer

    words = ["<pad>", "<eos>", *(f"w{i}" for i in range(2, 4096))]
    vocabulary = Tokenizer(WordLevel({word: i for i, word in enumerate(words)}, unk_token="<pad>"))
    vocabulary.pre_tokenizer = WhitespaceSplit()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=vocabulary, eos_token="<eos>", pad_token="<pad>"
    )

    def text(ids: Sequence[int]) -> str:
        return "".join(" " + words[i] for i in ids)

    rows = [
        {"prompt": text(prompt), "chosen": text(responses[i]), "rejected": text(responses[j])}
        for prompt, responses in build_data(case)
        for i in range(case.responses)
        for j in range(i + 1, case.responses)
    ]
    clock, losses, tokens = Clock(), [], 0

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
            nonlocal tokens
            loss: torch.Tensor = super().compute_loss(model, inputs, *args, **kwargs)
            losses.append(float(loss))
            tokens += inputs["input_ids"].numel()
            return loss

    accumulation = case.pairs // case.batch
    with tempfile.TemporaryDirectory() as folder:
        trainer = Observed(
            model=build_model(),
            args=DPOConfig(
                output_dir=folder,
                use_cpu=True,
                bf16=False,
                activation_checkpointing=False,
                max_length=None,
                beta=BETA,
                loss_type=["sigmoid", "sft"],
                loss_weights=[1.0, GAMMA],
                precompute_ref_log_probs=True,
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
            ),
            train_dataset=Dataset.from_list(rows),
            processing_class=tokenizer,
            callbacks=[Ends()],
        )
        before = peak_memory()
        trainer.train()
    per_step = [
        statistics.fmean(losses[i : i + accumulation]) for i in range(0, len(losses), accumulation)
    ]
    return result(clock, per_step, tokens // (case.steps + 1), before)


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
        f"\nn={case.responses} P={case.prompt} R={case.response}, {case.queries} queries = "
        f"{case.pairs} pairs a step; tokens {case.pairwise_tokens} : {case.shared_tokens} = "
        f"{case.token_ratio:.2f}"
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
        "n": case.responses,
        "P": case.prompt,
        "R": case.response,
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
    cases = FULL if options.full else SMALL
    rounds, steps = (3, 3) if options.full else (2, 2)
    summaries = [
        compare(case, rounds=rounds, steps=steps, threads=options.threads) for case in cases
    ]
    print(json.dumps({"threads": options.threads, "load": load, "cases": summaries}))


if __name__ == "__main__":
    main()
