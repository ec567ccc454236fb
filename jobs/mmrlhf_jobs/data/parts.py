"""Parts of a record: query, media, and the optional notes on its origin and annotation.

Every model is frozen, refuses unknown fields and takes no value of another type in place of the
one asked for. All leaves are strings, numbers, lists or string-to-integer maps, so that a record
has an exact Parquet twin.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, Strict, StringConstraints, model_validator
from pydantic_core import PydanticCustomError

from mmrlhf_jobs.data.identity import frames_digest

__all__ = [
    "Annotation",
    "Augmenter",
    "Critique",
    "Frame",
    "GenerationParams",
    "Integer",
    "Items",
    "Media",
    "ModelOrigin",
    "Origin",
    "Part",
    "Place",
    "Provenance",
    "ProvenanceInput",
    "Query",
    "Reasons",
    "Resolution",
    "Scores",
    "Selection",
    "Sha256",
    "Since",
    "Text",
    "Turn",
    "Usage",
    "spread",
    "violated",
]

T = TypeVar("T")

Items = Annotated[tuple[T, ...], Strict(strict=False)]
"""An ordered list; rows of Parquet arrive as Python lists, which strict mode would refuse."""

Integer = Annotated[int, Field(ge=-(2**63), le=2**63 - 1)]
"""A whole number that fits Parquet's 64 bits."""

Text = Annotated[str, StringConstraints(pattern=r"\S")]
"""A string with at least one character that is not white space."""

Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
"""A SHA-256 digest as 64 lower-case hexadecimal digits."""


_Pixels = Annotated[Integer, Field(ge=1)]


def violated(field: str, reason: str) -> PydanticCustomError:
    """An error for an invariant between fields that still names the field at fault.

    Args:
        field: Path below the model that checks the invariant, such as ``ranking.ranks``.
        reason: What is wrong and what to do.
    """
    return PydanticCustomError("invariant", "{reason}", {"field": field, "reason": reason})


class Part(BaseModel):
    """Base of the record and all its parts."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


@dataclass(frozen=True)
class Since:
    """Marks a field that came with a later version of the record.

    Attributes:
        version: The first that has it.
    """

    version: int


class Turn(Part):
    """What was said before the question."""

    role: Literal["user", "assistant"]
    text: Text
    """Without placeholders for media; see ``Media.place``."""


class Place(Part):
    """Where in a conversation a medium stands: before a character of a turn."""

    turn: Annotated[Integer, Field(ge=0)]
    """0-based; the turn after the last of ``query.turns`` is the question."""
    offset: Annotated[Integer, Field(ge=0)]
    """Code points of the turn's text before it."""


class Query(Part):
    """What the model is asked."""

    text: Text
    """The question without placeholders for media; the model's template adds those."""
    system: Annotated[Text | None, Since(2)] = None
    """What the model is told before all turns."""
    turns: Annotated[Items[Turn], Since(2)] = ()
    """The turns before the question."""
    language: str | None = None
    options: Items[str] = ()
    reference_answer: str | None = None


class Frame(Part):
    """One frame of a video, an image file."""

    uri: Text
    sha256: Sha256
    pts_ms: float | None = None


def spread(frames: Sequence[T], most: int) -> Sequence[T]:
    """At most so many frames, evenly spread from the first to the last."""
    if len(frames) <= most:
        return frames
    if most == 1:
        return frames[:1]
    return [frames[place * (len(frames) - 1) // (most - 1)] for place in range(most)]


class Media(Part):
    """An image, or a video given as the ordered list of its frames."""

    kind: Literal["image", "video"] = "image"
    uri: Text | None = None
    """Relative to the media root unless absolute. For a video: where the frames came from."""
    sha256: Sha256 | None = None
    """Digest of the file at ``uri``; checked when an image is loaded."""
    mime: str | None = None
    width: _Pixels | None = None
    height: _Pixels | None = None
    duration_ms: float | None = None
    frame_pts_ms: float | None = None
    """Presentation time of an image that is a frame of a video."""
    frames: Items[Frame] = ()
    place: Annotated[Place | None, Since(2)] = None
    """Where it stands among the words; without it, in front of the user's first turn."""

    @model_validator(mode="after")
    def _fits_its_kind(self) -> Media:
        if self.kind == "video":
            if not self.frames:
                raise violated(
                    "frames", "a video is given by its frames; list at least one {uri, sha256}"
                )
        elif self.frames:
            raise violated("frames", "only a video has frames; set kind to video")
        elif self.uri is None:
            raise violated("uri", "an image needs its uri")
        elif self.sha256 is None:
            raise violated("sha256", "an image needs the sha256 of its file")
        return self

    @property
    def content_sha256(self) -> str:
        """Digest of what the model sees: the image file, or the frames in order."""
        if self.kind == "video":
            return frames_digest([frame.sha256 for frame in self.frames])
        return self.sha256 or ""

    @property
    def files(self) -> tuple[tuple[str, str], ...]:
        """The image files to load: (uri, sha256) of the image or of each frame, in order."""
        if self.kind == "video":
            return tuple((frame.uri, frame.sha256) for frame in self.frames)
        return ((self.uri or "", self.sha256 or ""),)


class Origin(Part):
    """Which row of which data set a query was taken from."""

    row_id: Text
    dataset: str | None = None
    split: str | None = None
    licence: str | None = None
    parent_id: str | None = None
    """Id of the conversation that this turn was cut from."""
    turn_index: Integer | None = None


class Selection(Part):
    """How a ``ClusterSampleJob`` chose the query."""

    run_id: str
    cluster: Annotated[Integer, Field(ge=0)] | None = None
    dist: float | None = None
    rank_hash: str | None = None
    quota: Integer | None = None


class GenerationParams(Part):
    """Sampling parameters of a generated text."""

    temperature: float | None = None
    top_p: float | None = None
    seed: Integer | None = None
    max_tokens: Integer | None = None


class Usage(Part):
    """Tokens that a generated text took."""

    prompt_tokens: Integer | None = None
    completion_tokens: Integer | None = None


class ModelOrigin(Part):
    """The model that wrote a response."""

    name: Text
    revision: str | None = None
    endpoint: str | None = None
    uri: str | None = None
    """Where its artifact was, of a policy that was one."""
    artifact: str | None = None
    """Digest of that artifact, as an alias has it."""
    params: GenerationParams | None = None
    finish_reason: str | None = None
    usage: Usage | None = None


_Score = Annotated[int, Field(ge=1, le=5)]


class Scores(Part):
    """Scores per dimension, 1 (worst) to 5 (best); all three or none (paper 2.3.1, App. B)."""

    faithfulness: _Score | None = None
    helpfulness: _Score | None = None
    ethics: _Score | None = None

    @model_validator(mode="after")
    def _all_or_none(self) -> Scores:
        given = [self.faithfulness, self.helpfulness, self.ethics]
        if None in given and given != [None] * 3:
            raise violated("", "give all of faithfulness, helpfulness and ethics, or none of them")
        return self


class Reasons(Part):
    """Why an annotator scored a response as they did (paper App. B.4.2)."""

    overall: Text
    faithfulness: str | None = None
    helpfulness: str | None = None
    ethics: str | None = None


class Augmenter(Part):
    """The model that expanded a human critique."""

    model: Text
    prompt_sha256: Sha256 | None = None
    params: GenerationParams | None = None
    created_at: str | None = None
    checks: Items[str] = ()


class Critique(Part):
    """The critique of one response: as a human wrote it, and as a model expanded it."""

    human: Text
    augmented: Text | None = None
    augmenter: Augmenter | None = None


class Annotation(Part):
    """One raw judgement, kept as it was given; the record holds the resolved view."""

    annotator_id: Text
    role: Literal["annotator", "reviewer", "llm"]
    tool: str | None = None
    tool_version: str | None = None
    task_id: str | None = None
    started_at: str | None = None
    seconds: float | None = None
    scores: dict[str, Integer] | None = None
    ranks: dict[str, Integer] | None = None
    decision: Literal["accept", "revise", "reject"] | None = None
    guideline_version: str | None = None


class Resolution(Part):
    """How several judgements became one."""

    method: Literal["single", "majority", "reviewer"]
    kendall_tau: float | None = None
    alpha: float | None = None


class ProvenanceInput(Part):
    """A file that a record was made from."""

    uri: Text
    etag: str | None = None


class Provenance(Part):
    """What made the record."""

    inputs: Items[ProvenanceInput] = ()
    image_digest: str | None = None
    git_sha: str | None = None
    spec_sha256: Sha256 | None = None
    seeds: dict[str, Integer] | None = None
    created_at: str | None = None
    parents: Items[str] = ()
