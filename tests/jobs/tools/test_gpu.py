"""The program for cards, on a CPU with tiny models: what it measures is what it says."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, replace
from datetime import UTC, datetime
from typing import Any

import pytest
import torch
from torch.nn.attention.flex_attention import flex_attention

from benchmarks.dpo import ours, peer
from benchmarks.dpo.steps import Trained
from mmrlhf_jobs.attention import backends
from mmrlhf_jobs.attention.split import SHARED_PREFIX_SDPA
from mmrlhf_jobs.forward.responses import response_log_probs
from mmrlhf_jobs.models.adapter import EncodedGroup
from tools.gpu import flex
from tools.gpu.__main__ import main
from tools.gpu.measure import Bench
from tools.gpu.results import compare
from tools.gpu.session import Outcome, UnavailableError
from tools.gpu.shapes import SHAPES, build
from tools.gpu.table import Settings, rows, shrink

# The peer's own use of names that transformers is about to drop.
pytestmark = [
    pytest.mark.filterwarnings("ignore::FutureWarning:transformers.*"),
    pytest.mark.filterwarnings("ignore::FutureWarning:trl.*"),
    pytest.mark.filterwarnings("ignore:.*pin_memory.*:UserWarning"),
    # Dynamo's own look at tensors of the graph.
    pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor:UserWarning"),
]

ONLY = (
    *("beta dynamic", "head linear", "written critiques", "writer", "CLIP", "family"),
    *("0.5B, text, n=4, digits", "images, n=4, equal", "log-normal P=829 R=200, pairwise"),
    "LLaVA-OneVision-7B, text, n=4, log-normal P=829 R=200, shared 2 at once, attention split",
)


class Ticks:
    """A clock that goes on by a second whenever it is asked."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        self.now += 1.0
        return self.now


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Of one run, in which trainers fail in every way after they have done their work once."""
    clock, out = Ticks(), tmp_path_factory.mktemp("results")
    engine, trl = ours.train, peer.train
    calls = {"engine": 0, "trl": 0}

    def own(*args: Any, **kwargs: Any) -> Trained:
        calls["engine"] += 1
        if calls["engine"] > 1:
            raise torch.OutOfMemoryError("no room for 7 GiB")
        return engine(*args, **kwargs)

    def other(*args: Any, **kwargs: Any) -> Trained:
        calls["trl"] += 1
        if calls["trl"] == 2:
            raise ImportError("No module named 'trl'")
        if calls["trl"] > 2:
            clock.now += 1e6
            raise RuntimeError("it broke off")
        return trl(*args, **kwargs)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ours, "train", own)
        patch.setattr(peer, "train", other)
        code = main(
            ["--tiny", "--budget", "10000", "--peak", "0.001", "--out", str(out), "--only", *ONLY],
            clock=clock,
            now=lambda: datetime(2026, 11, 29, 5, tzinfo=UTC),
        )
    assert code == 1, "a case broke off"
    (path,) = out.glob("*.json")
    assert path.name.startswith("2026-11-29-")
    assert path.with_suffix(".md").is_file()
    found: dict[str, Any] = json.loads(path.read_text())
    return found


def measured(report: dict[str, Any], **settings: Any) -> list[dict[str, Any]]:
    return [
        case
        for case in report["cases"]
        if case["state"] == "done"
        and all(case["settings"].get(name) == value for name, value in settings.items())
    ]


def test_every_case_is_there_in_order(
    report: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--tiny", "--list", "--only", *ONLY]) == 0
    names = capsys.readouterr().out.splitlines()
    assert [case["name"] for case in report["cases"]] == names
    assert len(names) > 20


def test_all_that_fails_is_told_and_the_rest_is_done(report: dict[str, Any]) -> None:
    states = [(case["state"], case["settings"].get("form")) for case in report["cases"]]
    assert states[:7] == [("done", None)] * 7, [case["reason"] for case in report["cases"][:7]]
    assert ("done", "trl") in states, [case["reason"] for case in report["cases"]]
    reasons = {case["state"]: case["reason"] for case in report["cases"]}
    assert set(reasons) == {"done", "out of memory", "unavailable", "failed", "skipped"}
    assert reasons["out of memory"] == "no room for 7 GiB"
    assert reasons["unavailable"] == "No module named 'trl'"
    assert "RuntimeError: it broke off" in reasons["failed"]
    assert reasons["skipped"].startswith("0 s of 10000 s are left")
    after = states[states.index(("out of memory", "step")) + 1 :]
    assert after[0] == ("failed", "trl")
    assert {state for state, _ in after[1:]} == {"skipped"}, "its time is over"


def test_tokens_and_pairs_are_those_of_the_row(report: dict[str, Any]) -> None:
    equal = measured(report, kind="equal")
    assert {case["settings"]["form"] for case in equal} == {"shared", "pairwise", "step", "trl"}
    assert {case["settings"]["shape"] for case in equal} == {"LLaVA-OneVision-7B", "Qwen2.5-VL-7B"}
    for case in equal:
        row, figures = case["settings"], case["figures"]
        n, prompt, response = row["n"], row["prompt"], row["response"]
        of_query = math.comb(n, 2)
        queries = row["queries"] if row["form"] in {"step", "trl"} else row["at_once"]
        if row["form"] in {"shared", "step"}:
            tokens, pairs = queries * (prompt + n * response), queries * of_query
        else:
            pairs = queries * of_query if row["form"] == "trl" else row["at_once"]
            tokens = pairs * 2 * (prompt + response)
        assert set(figures["tokens"]) == {tokens}, case["name"]
        assert set(figures["pairs"]) == {pairs}, case["name"]
        assert figures["padding"] == 0


def test_figures_are_finite_and_follow_from_each_other(report: dict[str, Any]) -> None:
    rows = measured(report)
    for case in rows:
        assert all(
            math.isfinite(one)
            for name, value in case["figures"].items()
            if value is not None and name not in {"attention", "reasons"}
            for one in (value if isinstance(value, list) else [value])
        ), case["name"]
    for case in measured(report, form="shared"):
        figures = case["figures"]
        # The clock goes on by a second between the two looks at it.
        assert figures["seconds"] == [1.0]
        assert figures["tokens_per_s"] == figures["tokens"][0]
        assert figures["pairs_per_s"] == figures["pairs"][0]
        assert figures["mfu"] == pytest.approx(figures["flops_per_s"] / 1e9)
        assert figures["peak_bytes"] > 0
        split = case["settings"]["settings"]["attention"] == "split"
        assert figures["attention"] == ("split" if split else "cpu")
        assert figures["reasons"] == []
    attentions = {
        case["settings"]["settings"]["attention"] for case in measured(report, form="shared")
    }
    assert attentions == {"proven", "split"}


def test_ragged_lengths_are_new_ones_and_the_same_in_both_formats(report: dict[str, Any]) -> None:
    half, whole = measured(report, kind="digits")
    formats = [case["settings"]["settings"]["dtype"] for case in (half, whole)]
    assert formats == ["bfloat16", "float32"]
    assert half["figures"]["tokens"] == whole["figures"]["tokens"]
    assert half["figures"]["loss"] == pytest.approx(whole["figures"]["loss"], rel=0.02)


def test_both_sides_begin_with_the_same_loss(report: dict[str, Any]) -> None:
    (step,), (trl,) = measured(report, form="step"), measured(report, form="trl")
    assert step["figures"]["loss"] == pytest.approx(trl["figures"]["loss"], rel=5e-3)


def test_the_ratio_of_tokens_is_that_of_the_formula(report: dict[str, Any]) -> None:
    compared = {one["name"]: one for one in report["comparisons"]}
    pairwise = [one for name, one in compared.items() if name.startswith("times pairwise")]
    row = measured(report, form="shared", kind="equal")[0]["settings"]
    n, prompt, response = row["n"], row["prompt"], row["response"]
    ratio = n * (n - 1) * (prompt + response) / (prompt + n * response)
    assert [one["beside"] for one in pairwise] == pytest.approx([ratio] * len(pairwise))
    assert len(pairwise) == 2
    (trl,) = (one for name, one in compared.items() if name.startswith("times TRL"))
    assert trl["beside"] == pytest.approx(ratio)
    assert trl["least"] == 10


def test_activations_are_made_again_where_the_row_says_so_and_nothing_else_changes() -> None:
    bench = Bench(torch.device("cpu"), Ticks(), tiny=True)
    row = shrink(next(row for row in rows() if row.form == "shared" and "7B" in row.shape))
    losses = set()
    for every, switches in ((1, [True, True]), (2, [True, False]), (None, [False, False])):
        chosen = replace(row, settings=Settings(recompute=every))
        losses.add(bench.measure(chosen)["loss"])
        assert bench.models.built is not None
        loaded = bench.models.built.loaded
        decoder: Any = loaded.adapter.decoder(loaded.model)
        assert [layer.gradient_checkpointing for layer in decoder.layers] == switches
    assert len(losses) == 1


@pytest.fixture(scope="module")
def tried() -> dict[str, dict[str, Any]]:
    """Figures of one row with each of the settings that jobs may switch on."""
    bench = Bench(torch.device("cpu"), Ticks(), tiny=True, peak=1e9)
    ragged = next(row for row in rows() if row.kind == "log-normal" and "7B" in row.shape)
    settings = {"plain": Settings(), "compiled": Settings(compiled=True), "lora": Settings(lora=2)}
    return {
        name: bench.measure(replace(shrink(ragged), settings=chosen))
        for name, chosen in settings.items()
    }


def test_what_is_compiled_takes_new_lengths_without_a_new_graph(
    tried: dict[str, dict[str, Any]],
) -> None:
    """Two feed-forward layers and five norms; nothing else of what is computed changes."""
    found = tried["compiled"]
    assert found["compiled_modules"] == 7
    assert 0 < found["warm_up_graphs"] <= 6, "of any length, with gradients and without"
    assert found["warm_up_s"] > 0
    assert found["new_graphs"] == 0
    assert found["tokens"] == tried["plain"]["tokens"]
    assert found["loss"] == pytest.approx(tried["plain"]["loss"], rel=1e-3)
    assert "compiled_modules" not in tried["plain"]


def test_an_adapter_is_trained_in_place_of_the_weights(tried: dict[str, dict[str, Any]]) -> None:
    found, plain = tried["lora"], tried["plain"]
    # Rank 2: projector of 16 to 32 to 32, and per layer of 32 four of attention, three of 64.
    of_layer = 2 * (2 * (32 + 32) + 2 * (32 + 16) + 3 * (32 + 64))
    assert found["trained"] == 2 * (16 + 32 + 32 + 32) + 2 * of_layer
    assert found["loss"] == pytest.approx(plain["loss"], rel=1e-6), "it is 0 at first"
    assert 4 / 6 < found["flops_per_s"] / plain["flops_per_s"] < 1


def test_rows_are_told_apart_and_each_setting_beside_the_row_without_it() -> None:
    every = list(rows())
    assert len({row.name for row in every}) == len(every)
    figures = {"mfu": None, "tokens": [4], "pairs": [2], "pairs_per_s": 1.0, "flops_per_s": 1.0}
    outcomes = [
        Outcome(
            row.name,
            "done",
            1.0,
            asdict(row),
            {
                **figures,
                "tokens_per_s": 3.0 if row.settings == Settings() else 6.0,
                "peak_bytes": 1,
            },
        )
        for row in every
    ]
    found = {goal.name: goal.value for goal in compare(outcomes)}
    for setting in ("attention proven", "compiled False", "lora None"):
        told = {name: value for name, value in found.items() if f"against {setting}" in name}
        assert {2.0, 1.0} == set(told.values()), setting
        beside = {row.kind for row in every if f"speed against {setting}: {row.name}" in told}
        assert beside == ({"equal"} if setting == "lora None" else {"equal", "log-normal"})


@pytest.mark.filterwarnings("ignore:flex_attention called without torch.compile:UserWarning")
def test_flex_attention_sees_what_rows_show_it_and_has_no_gradients_here(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    shape = SHAPES["LLaVA-OneVision-7B"](True, None)
    loaded = build(shape, dtype=torch.float32, device=torch.device("cpu"))
    ids = torch.arange(100, 400)
    groups = [
        EncodedGroup(ids[:90], (ids[90:95], ids[95:180]), {}),
        EncodedGroup(ids[200:203], (ids[210:211], ids[220:240], ids[250:252]), {}),
    ]
    monkeypatch.setattr(backends, "BACKENDS", dict(backends.BACKENDS))
    monkeypatch.setattr(flex, "BACKENDS", backends.BACKENDS)
    flex.register_flex(compiled=False)
    sums = []
    with torch.no_grad():
        for way in (SHARED_PREFIX_SDPA, flex.FLEX):
            backends.take_way(loaded.adapter.decoder(loaded.model).config, way)
            found = response_log_probs(loaded.model, loaded.adapter, groups, shared_prefix=True)
            sums.append(found.sums)
    torch.testing.assert_close(*sums, rtol=1e-5, atol=1e-4)
    row = next(row for row in rows() if row.settings.attention == "flex")
    with pytest.raises(UnavailableError, match=r"FlexAttention of torch .* no backward pass on"):
        Bench(torch.device("cpu"), Ticks(), tiny=True).measure(shrink(row))
    query = torch.zeros(1, 1, 4, 8, requires_grad=True)
    with pytest.raises(NotImplementedError, match="does not support backward on CPU"):
        flex_attention(query, query, query)


def test_it_says_what_was_measured_with_what(report: dict[str, Any]) -> None:
    assert {"torch", "transformers", "trl", "python"} <= set(report["versions"])
    assert len(report["commit"].split()[0]) == 40
    assert report["peak_tflops"] == 0.001
    assert report["tiny"]
    assert "decoder weights" in report["flops"]


def test_without_a_card_it_says_what_to_do(capsys: pytest.CaptureFixture[str]) -> None:
    if torch.cuda.is_available():
        pytest.skip("there is a card")
    with pytest.raises(SystemExit):
        main([])
    assert "--tiny does the same with small models on a CPU" in capsys.readouterr().err
