"""The reward model as a folder: a Hugging Face model, its scoring head, and how to use both.

The backbone alone loads in stock transformers; beside its files lie ``reward_head.safetensors`` and
``reward_model.json``. With those, :class:`CritiqueRewardModel` scores responses::

    judge = CritiqueRewardModel.from_pretrained("s3://bucket/artifacts/default/judge/1/model")
    (verdict,) = judge.score("Which digit is it?", [image], ["Seven."])
    verdict.critiques, verdict.score
"""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

import torch
from PIL import Image
from pydantic import ValidationError
from torch import Tensor
from transformers import PreTrainedModel

from mmrlhf_api import RewardInference
from mmrlhf_api.base import wire_dict
from mmrlhf_api.models import TemplateOwner
from mmrlhf_jobs.data.conversation import Asked, as_json
from mmrlhf_jobs.data.critiques import CritiqueSource
from mmrlhf_jobs.data.identity import digest_of
from mmrlhf_jobs.data.media import LoadedMedia, as_loaded
from mmrlhf_jobs.errors import ModelError, SpecError
from mmrlhf_jobs.forward.choices import Choose, choose_likeliest, choose_sampled
from mmrlhf_jobs.forward.sharing import Sharing
from mmrlhf_jobs.models.adapter import EncodedGroup, LoadedModel
from mmrlhf_jobs.models.critique_template import CritiqueTemplate
from mmrlhf_jobs.models.folders import digest_folder, fetch_model, save_model
from mmrlhf_jobs.models.loading import Attention, Dtype, load_model
from mmrlhf_jobs.models.precision import Precision
from mmrlhf_jobs.models.shares import Splitter
from mmrlhf_jobs.models.weights import Weight
from mmrlhf_jobs.reporting.events import Tell, tell_in_log
from mmrlhf_jobs.reward_model.head import HeadKind, RewardHead
from mmrlhf_jobs.reward_model.scorer import RewardScorer
from mmrlhf_jobs.reward_model.writing import write_critiques
from mmrlhf_jobs.scores.keys import SidecarIdentity
from mmrlhf_jobs.storage.uris import StorageOptions

__all__ = [
    "CritiqueRewardModel",
    "RewardModelCard",
    "Verdict",
    "critique_template",
    "save_head",
    "save_reward_model",
    "split_weights",
]

CARD: Final = "reward_model.json"
HEAD: Final = "reward_head.safetensors"
_VERSION: Final = 1
_SCORE_RULE: Final = "final hidden state at the token that ends the critique"


@dataclass(frozen=True)
class RewardModelCard:
    """What `reward_model.json` says.

    Attributes:
        head: Kind of the scoring head.
        hidden_size: Size of the hidden states that it reads.
        critique: Critiques that the model learnt: enhanced, raw or none.
        inference: How it scores, unless asked otherwise.
        template: Digest of the critique template that it was trained with.
        base: URI of the model that it was trained from.
        base_digest: Digest of that model.
        chat_template: Whose chat template it was trained with, where there were two. Before there
            was a choice it was the tokenizer's.
    """

    head: HeadKind
    hidden_size: int
    critique: CritiqueSource
    inference: RewardInference
    template: str
    base: str
    base_digest: str
    chat_template: TemplateOwner = "tokenizer"

    def write(self, folder: Path) -> None:
        """Write the card into a model folder."""
        content = {
            **asdict(self),
            "inference": wire_dict(self.inference),
            "version": _VERSION,
            "score": _SCORE_RULE,
        }
        (folder / CARD).write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")

    @classmethod
    def read(cls, folder: Path) -> RewardModelCard:
        """Read the card of a model folder.

        Raises:
            ModelError: There is none, or it is of another version.
        """
        path = folder / CARD
        if not path.is_file():
            raise ModelError(
                f"{folder}: no {CARD}; this is no reward model. One is the folder model/ of a "
                "RewardTrainJob's artifacts"
            )
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            if content.pop("version") != _VERSION or content.pop("score") != _SCORE_RULE:
                raise ModelError(f"{path}: made by another version; train the reward model again")
            inference = RewardInference.model_validate(content.pop("inference"))
            return cls(**content, inference=inference)
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise ModelError(f"{path} is damaged: {error}") from error

    def changed(self, changes: Mapping[str, object] | None) -> RewardInference:
        """The inference settings with some changed.

        Raises:
            SpecError: They do not fit each other.
        """
        try:
            return RewardInference.model_validate(
                {**self.inference.model_dump(), **(changes or {})}
            )
        except ValidationError as error:
            problems = [
                f"{'.'.join(map(str, one['loc'])) or 'inference'}: {one['msg']}"
                for one in error.errors()
            ]
            raise SpecError("; ".join(problems)) from error


@dataclass(frozen=True)
class Verdict:
    """What a reward model says of a response.

    Attributes:
        score: Score after the critique; the mean over its samples.
        critiques: The critiques that it was read after; empty where it was read without one.
        cut: How many of them were ended at the largest length.
    """

    score: float
    critiques: tuple[str, ...] = ()
    cut: int = 0


class CritiqueRewardModel:
    """Scores responses, with a critique before each score.

    Args:
        loaded: The backbone.
        head: The scoring head.
        card: How the model was trained.
        digest: Digest of the model's files.
        inference: How to score.
        precision: What the backbone computes in.
        seed: Seed of sampled critiques.
        tell: Is told if responses cannot share a prompt though the family can.
        splitter: Has divided the backbone over processes while it was read, if anything has.

    Attributes:
        loaded: The backbone, none of which is trained.
        splitter: What divides it. Then all processes must score as many batches, inside `passes`.
        sharing: Whether responses share a prompt where they are read without writing.

    Raises:
        ModelError: The model was trained with another critique template.
    """

    def __init__(
        self,
        loaded: LoadedModel,
        head: RewardHead,
        card: RewardModelCard,
        *,
        digest: str,
        inference: RewardInference,
        precision: Precision | None = None,
        seed: int = 0,
        tell: Tell = tell_in_log,
        splitter: Splitter | None = None,
    ) -> None:
        self.loaded = loaded
        self.adapter = loaded.adapter
        self.card = card
        self.digest = digest
        self.inference = inference
        self.precision = precision
        self.template = critique_template(loaded)
        if self.template.digest() != card.template:
            raise ModelError(
                "the reward model was trained with another critique template or tokenizer than it "
                "would be used with; its scores would be wrong: train it again with this version"
            )
        self._seed = seed
        loaded.model.eval().requires_grad_(False)
        self.sharing = Sharing(loaded.model, loaded.adapter, tell)
        self._scorer = RewardScorer(loaded.model, loaded.adapter, head, shared_prefix=False)
        self.splitter = splitter
        if splitter is not None:
            self._scorer.every_part = True
            splitter.begin(self._scorer)

    @classmethod
    def from_pretrained(
        cls,
        uri: str | Path,
        *,
        inference: RewardInference | Mapping[str, object] | None = None,
        dtype: Dtype = "float32",
        attention: Attention = "sdpa",
        device: torch.device | str = "cpu",
        seed: int = 0,
        scratch: Path | None = None,
        storage: StorageOptions | None = None,
        tell: Tell = tell_in_log,
        splitter: Splitter | None = None,
    ) -> CritiqueRewardModel:
        """Load a reward model.

        Args:
            uri: Its folder: a path, ``file://`` or ``s3://``.
            inference: How to score, or what to change of how its job said; None is as it said.
            dtype: Type of the backbone's weights; the head is float32.
            attention: Attention of decoder and vision tower.
            device: Where to compute.
            seed: Seed of sampled critiques.
            scratch: Local folder for a remote model; None is a temporary one.
            storage: How to reach an object store.
            tell: Is told what whoever scores should know of the model.
            splitter: Divides its weights over processes while they are read; None: all have all.

        Raises:
            ModelError: It is missing, damaged, or no reward model.
            SpecError: The inference settings do not fit each other.
        """
        with tempfile.TemporaryDirectory(prefix="mmrlhf-reward-") as temporary:
            folder = fetch_model(str(uri), scratch or Path(temporary), storage)
            card = RewardModelCard.read(folder)
            loaded = load_model(
                folder,
                dtype=dtype,
                attention=attention,
                chat_template=card.chat_template,
                tell=tell,
                take=None if splitter is None else splitter.take,
            )
            head = RewardHead.load(folder / HEAD, card.head, card.hidden_size)
            digest = digest_folder(folder)
        loaded.model.to(device)
        # Float32 at least.
        head.to(device, torch.promote_types(next(loaded.model.parameters()).dtype, torch.float32))
        asked = inference if isinstance(inference, RewardInference) else card.changed(inference)
        if card.critique == "none" and asked.critique != "none":
            raise ModelError(
                f"{uri}: the reward model never learnt critiques; score with critique none"
            )
        return cls(
            loaded,
            head,
            card,
            digest=digest,
            inference=asked,
            precision=Precision(dtype, attention),
            seed=seed,
            tell=tell,
            splitter=splitter,
        )

    def passes(self) -> AbstractContextManager[None]:
        """Inside, batches may be scored; where weights are divided, every process comes here."""
        return nullcontext() if self.splitter is None else self.splitter.passes()

    def end_passes(self) -> None:
        """Nothing is scored any more: what divides the weights lets go of them."""
        if self.splitter is not None:
            self.splitter.end()

    def identity(self) -> SidecarIdentity:
        """What scores of this model belong to: its files, and how they are read."""
        how = json.dumps([self.template.digest(), wire_dict(self.inference), self._seed])
        return SidecarIdentity(
            kind="reward",
            template=hashlib.sha256(how.encode()).hexdigest(),
            model=self.digest,
            image_settings=self.adapter.image_settings(),
            precision=None if self.precision is None else str(self.precision),
        )

    @property
    def needs_critiques(self) -> bool:
        """Whether responses must come with critiques."""
        return self.inference.critique == "groundTruth"

    def score(
        self,
        question: Asked,
        media: Sequence[LoadedMedia | Image.Image],
        responses: Sequence[str],
        *,
        critiques: Sequence[str] | None = None,
    ) -> list[Verdict]:
        """Score the responses to one query; scores do not depend on each other.

        Args:
            question: What the model was asked.
            media: Images, or videos as frames.
            responses: One or more.
            critiques: Their critiques, for inference with the ground truth.

        Raises:
            DataError: A text holds a special token, or a sequence is too long.
        """
        items = [as_loaded(item) if isinstance(item, Image.Image) else item for item in media]
        group = self.encode(question, items, responses, critiques)
        return self.score_groups([group], [(question, text) for text in responses])

    def encode(
        self,
        question: Asked,
        media: Sequence[LoadedMedia],
        responses: Sequence[str],
        critiques: Sequence[str] | None = None,
    ) -> EncodedGroup:
        """Make a query ready for `score_groups`; arguments and errors as in `score`."""
        if self.inference.critique == "generated":
            return self.template.open(question, media, responses)
        if self.needs_critiques:
            if critiques is None:
                raise ValueError("inference with ground-truth critiques needs critiques")
            return self.template.encode(question, media, responses, critiques)
        return self.template.encode(question, media, responses, [None] * len(responses))

    @torch.no_grad()
    def score_groups(
        self, groups: Sequence[EncodedGroup], texts: Sequence[tuple[Asked, str]]
    ) -> list[Verdict]:
        """Score several queries at once; a score does not depend on what else is in the batch.

        Args:
            groups: What `encode` made.
            texts: Question and response of every response, which seed its sampled critiques.

        Returns:
            Verdicts of all responses of all groups, in order.

        Raises:
            ModelError: The first queries are not read as transformers reads them.
        """
        inference = self.inference
        if inference.critique != "generated":
            self._scorer.shared_prefix = self.sharing.find(groups).shared
            scores = self._scorer(groups).scores.double().cpu().tolist()
            return [Verdict(score) for score in scores]
        samples = inference.samples
        choose: Choose = choose_likeliest
        if inference.temperature > 0:
            choose = choose_sampled(
                [self._seed_of(*text, sample) for text in texts for sample in range(samples)],
                temperature=inference.temperature,
            )
        limits = [
            min(inference.max_new_tokens, self.template.room(group, index))
            for group in groups
            for index in range(len(group.responses))
        ]
        writing = write_critiques(
            self._scorer,
            groups,
            choose=choose,
            limits=limits,
            samples=samples,
            splitter=self.splitter,
        )
        return [
            Verdict(
                score=float(writing.scores[start : start + samples].mean()),
                critiques=tuple(map(self._text, writing.tokens[start : start + samples])),
                cut=sum(writing.cut[start : start + samples]),
            )
            for start in range(0, len(writing.scores), samples)
        ]

    def _text(self, tokens: Tensor) -> str:
        text: str = self.adapter.chat.tokenizer.decode(tokens, skip_special_tokens=True)
        return text

    def _seed_of(self, question: Asked, response: str, sample: int) -> int:
        digest = digest_of("critique", self._seed, as_json(question), response, sample)
        return int.from_bytes(digest[:8], "little") >> 1


def critique_template(loaded: LoadedModel) -> CritiqueTemplate:
    """The critique template of a model.

    Raises:
        ModelError: Its chat template does not let responses share a prompt.
    """
    return CritiqueTemplate(loaded.adapter, max_tokens=loaded.max_tokens)


def save_reward_model(
    model: PreTrainedModel,
    weights: Mapping[str, Weight],
    card: RewardModelCard,
    *,
    source: Path,
    target: Path,
) -> None:
    """Write a reward model as a folder that `CritiqueRewardModel.from_pretrained` loads.

    Args:
        model: Tells the backbone's configuration and how its weights are named on disk.
        weights: Weights of the `RewardScorer` around it.
        card: How it was trained.
        source: Folder that the training started from.
        target: New folder.
    """
    backbone, head = split_weights(weights)
    save_model(model, backbone, source=source, target=target)
    save_head(head, card, target)


def split_weights(weights: Mapping[str, Weight]) -> tuple[dict[str, Weight], dict[str, Weight]]:
    """Weights of the backbone and of the head, of those of a `RewardScorer`."""
    parts: dict[str, dict[str, Weight]] = {"model": {}, "reward_head": {}}
    for name, value in weights.items():
        part, _, rest = name.partition(".")
        parts[part][rest] = value
    return parts["model"], parts["reward_head"]


def save_head(weights: dict[str, Weight], card: RewardModelCard, folder: Path) -> None:
    """Write a head and how to use it into the folder of a backbone or of its adapter."""
    RewardHead.save(weights, folder / HEAD)
    card.write(folder)
