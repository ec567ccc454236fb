"""The proof before the first step: what it finds, keeps, tells and refuses."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import torch
import transformers

from mmrlhf_jobs.attention import backends, split
from mmrlhf_jobs.attention.forms import Choice
from mmrlhf_jobs.data.media import LoadedMedia
from mmrlhf_jobs.errors import ModelError, SpecError
from mmrlhf_jobs.forward import continuation
from mmrlhf_jobs.models import EncodedGroup, load_model
from mmrlhf_jobs.models.families import rows
from mmrlhf_jobs.models.families.generic import GenericAdapter
from mmrlhf_jobs.models.loading import Dtype
from mmrlhf_jobs.models.precision import Precision
from mmrlhf_jobs.process.gang import Runtime
from mmrlhf_jobs.storage.artifacts import ArtifactStore
from mmrlhf_jobs.training.inputs import Policy
from mmrlhf_jobs.training.proof import Proof, prove
from tests.jobs.models.tiny import picture, save_tiny
from tests.jobs.models.zoo import save


@dataclass
class Desk:
    """A model with queries, and a place for proofs."""

    policy: Policy
    store: ArtifactStore
    told: list[str] = field(default_factory=list)
    encoded: int = 0

    @classmethod
    def of(cls, model: Path, store: Path, dtype: Dtype = "float32") -> Desk:
        loaded = load_model(model, dtype=dtype, attention="sdpa")
        policy = Policy(loaded, model, digest=model.name, precision=Precision(dtype, "sdpa"))
        return cls(policy, ArtifactStore(str(store)))

    def queries(self) -> Sequence[EncodedGroup]:
        self.encoded += 1
        encode = self.policy.loaded.adapter.encode
        image = LoadedMedia("image", (picture(40, 28, 1),))
        return [
            encode("what is this?", [image], ["a dog", "no, a red square", "blue", "a"]),
            encode("a dog or a circle?", [], ["yes", "it is a blue circle"]),
        ]

    def prove(self, setting: str = "auto") -> Proof:
        return prove(
            self.policy,
            self.queries,
            setting=setting,
            store=self.store,
            runtime=Runtime(rank=0, world_size=1, device=torch.device("cpu")),
            tell=self.told.append,
        )


@pytest.fixture(scope="module")
def qwen(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save("qwen2_vl", tmp_path_factory.mktemp("models") / "qwen2_vl", scale=3.0)


def test_what_is_right_is_proven_once(
    qwen: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk = Desk.of(qwen, tmp_path)
    proof = desk.prove()
    assert proof.sharedPrefix
    assert not proof.reason
    assert not proof.reused
    assert (proof.queries, proof.responses) == (2, 5), "three responses of a query at most"
    assert proof.shared is not None
    # Not above 0 for sure: a few means may round alike.
    assert 0 <= proof.shared["log_prob"] < proof.tolerance["log_prob"]
    assert 0 < proof.shared["gradient"] < proof.tolerance["gradient"]
    assert desk.told == []
    again = desk.prove("required")
    assert again.reused
    assert again.shared == proof.shared
    assert desk.encoded == 1, "it was known"
    with monkeypatch.context() as other:
        other.setattr(transformers, "__version__", "6.0")
        assert not desk.prove().reused, "another version of transformers"
    desk.policy.loaded.model.get_decoder().requires_grad_(False)
    assert not desk.prove().reused, "other weights are trained"


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_llava_onevision_passes(tmp_path: Path, dtype: Dtype) -> None:
    model = save_tiny(tmp_path / "tiny", scale=2.0)
    proof = Desk.of(model, tmp_path / "store", dtype).prove()
    assert proof.sharedPrefix
    assert proof.dtype == dtype


@pytest.mark.parametrize("family", ["qwen3_5_moe_text", "qwen3_next", "lfm2_moe"])
def test_rounding_sends_few_tokens_to_other_experts(family: str, tmp_path: Path) -> None:
    """In bfloat16, where routers are less sure; layers with a state are beside them."""
    desk = Desk.of(save(family, tmp_path / family, scale=3.0), tmp_path / "store", "bfloat16")
    encode = desk.policy.loaded.adapter.encode
    desk.queries = lambda: [encode("a dog?", [], ["yes", "a blue circle", "a"])]  # type: ignore[method-assign]
    proof = desk.prove()
    assert proof.sharedPrefix, proof.reason
    assert proof.shared is not None
    assert proof.shared["log_prob"] > 0


def see_each_other(monkeypatch: pytest.MonkeyPatch) -> None:
    """Responses that see those before them."""
    for way in ("mmrlhf_sdpa", "mmrlhf_sdpa_split"):
        monkeypatch.setitem(backends.BACKENDS, way, backends.CAUSAL)


def lose_the_state(monkeypatch: pytest.MonkeyPatch) -> None:
    """Responses that go on from nothing, in layers that keep a state."""
    monkeypatch.setattr(continuation._State, "after", lambda *_: continuation._State())


@pytest.mark.parametrize(
    ("family", "break_it"), [("qwen2_vl", see_each_other), ("qwen3_5", lose_the_state)]
)
def test_rows_that_are_wrong_fall_back_or_end_the_job(
    family: str,
    break_it: Callable[[pytest.MonkeyPatch], None],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model = save(family, tmp_path / family, scale=3.0)
    desk = Desk.of(model, tmp_path / "right")
    assert desk.prove().sharedPrefix
    break_it(monkeypatch)
    desk = Desk.of(model, tmp_path / "wrong")
    proof = desk.prove()
    assert not proof.sharedPrefix
    assert proof.shared is not None
    assert proof.separate is not None
    assert proof.shared["log_prob"] > proof.tolerance["log_prob"] > proof.separate["log_prob"]
    assert " is not used: rows that share" in desk.told[0]
    assert proof.reason in desk.told[1]
    assert "one row for each response" in desk.told[1]
    with pytest.raises(SpecError, match=r"sharedPrefix: required.* nats a token.*use auto"):
        desk.prove("required")
    assert desk.encoded == 1, "the second was known from the first"


def test_positions_that_are_wrong_refuse_the_model(
    qwen: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        GenericAdapter,
        "prompt_positions",
        lambda _, group: torch.arange(len(group.prompt_ids)).expand(3, -1),
    )
    desk = Desk.of(qwen, tmp_path)
    with pytest.raises(ModelError, match=r"'qwen2_vl' are not read as transformers reads them"):
        desk.prove()
    with pytest.raises(ModelError):
        desk.prove("off")
    assert desk.encoded == 2, "what is refused is not kept"


def test_a_wrong_row_of_the_table_is_caught(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = save("gemma3", tmp_path / "gemma3", scale=3.0)
    desk = Desk.of(folder, tmp_path / "right")
    right = desk.prove()
    assert not right.sharedPrefix
    assert "images whose tokens see each other" in right.reason
    assert right.reason in desk.told[0]
    assert right.shared is None
    assert right.separate is not None
    wrong = rows.FamilyRow("Gemma 3", ("gemma3",))
    monkeypatch.setattr(rows, "ROWS", (wrong,))
    with pytest.raises(ModelError, match="'gemma3' are not read as transformers reads them"):
        Desk.of(folder, tmp_path / "wrong").prove()


def test_weights_that_are_not_finite_are_left_to_others(qwen: Path, tmp_path: Path) -> None:
    desk = Desk.of(qwen, tmp_path)
    with torch.no_grad():
        desk.policy.loaded.model.lm_head.weight[7] = float("nan")
    proof = desk.prove()
    assert proof.sharedPrefix
    assert proof.queries == 0
    assert "not finite" in desk.told[0]
    assert not desk.prove().reused


def test_a_kernel_that_fails_is_left_even_where_sharing_is_required(
    qwen: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The kernel for cards, which has no form for CPUs.
    monkeypatch.setattr(split, "choose_form", lambda _: Choice("varlen"))
    desk = Desk.of(qwen, tmp_path)
    proof = desk.prove("required")
    assert proof.sharedPrefix
    assert proof.as_dict()["attentionForms"] == ("split",)
    assert "attention by varlen is not used: rows that share a prompt fail" in desk.told[0]
    assert list(proof.attentionFallbacks) == desk.told
    # Another process, or the next run of the same: it is given what was found.
    later = Desk.of(qwen, tmp_path)
    config = later.policy.loaded.model.get_decoder().config
    assert config._attn_implementation == "mmrlhf_sdpa"
    assert later.prove().reused
    assert config._attn_implementation == "mmrlhf_sdpa_split"
    assert later.told == desk.told
