"""Types of ClusterSampleJob: choose varied data by clustering images (paper section 2)."""

from __future__ import annotations

from typing import Annotated, Literal

from annotated_types import Ge, Gt, Le, MaxLen, MinLen
from pydantic import Field, Strict

from mmrlhf_api.base import ApiModel
from mmrlhf_api.job import Job, JobSpec
from mmrlhf_api.models import DType
from mmrlhf_api.rules import ListOf, Rule
from mmrlhf_api.scalars import (
    DnsLabel,
    Fraction,
    NonNegativeFloat,
    PositiveFloat,
    PositiveInt,
    Seed,
    Word,
)
from mmrlhf_api.uris import Uri

__all__ = [
    "ClusterSampleJob",
    "ClusterSampleSpec",
    "Clustering",
    "Embedding",
    "EmbeddingModel",
    "Failures",
    "Ratio",
    "Report",
    "SampleSource",
    "Selection",
    "Typing",
]


class SampleSource(ApiModel):
    """One corpus to choose from."""

    name: DnsLabel
    """Name of the corpus, unique in the job; it becomes part of every record's identity."""
    uri: Uri
    """A file, a folder (its data files, not those of folders below) or a pattern with * and **: a
    path, file:// or s3://."""
    format: Literal["auto", "llava", "jsonl", "parquet", "webdataset"] = "auto"
    """Format of the files: llava is one JSON array, jsonl one JSON object a line, webdataset tar
    shards; auto goes by their names (.json, .jsonl, .ndjson, .parquet, .tar), and for .json by the
    first byte."""
    media_root: Uri | None = None
    """Where relative media paths start; without it, the folder of the file that names them."""
    allowed_media_roots: (
        Annotated[tuple[Uri, ...], Strict(strict=False), MaxLen(64), ListOf("atomic")] | None
    ) = None
    """Other folders that media may be in. Absolute media URIs, and links, may lead below mediaRoot
    and these folders alone."""
    type: Literal["auto", "long", "short", "mcq", "safety"] = "auto"
    """Type of all its questions; auto finds that of each by its options and the length of its
    answer. Questions about videos are of the type video, but for a safety corpus."""
    weight: PositiveFloat = 1.0
    """Weight of the corpus where a cluster has more candidates than it needs: the next pick falls
    on a row with twice the weight twice as likely."""


class Ratio(ApiModel):
    """Shares of the question types (paper 2: 4:5:1). A type without a share is not picked."""

    long: NonNegativeFloat = 4.0
    """Share of questions with a long answer."""
    short: NonNegativeFloat = 5.0
    """Share of questions with a short answer."""
    mcq: NonNegativeFloat = 1.0
    """Share of multiple-choice questions."""
    safety: NonNegativeFloat = 0.0
    """Share of questions of safety corpora (paper Table 1: 1,999)."""
    video: NonNegativeFloat = 0.0
    """Share of questions about videos (paper Table 1: 4,235)."""

    rules = (
        Rule(
            "self.long + self.short + self.mcq + self.safety + self.video > 0.0",
            "at least one of long, short, mcq, safety and video must be above 0",
            check=lambda self: self.long + self.short + self.mcq + self.safety + self.video > 0,
        ),
    )


class Typing(ApiModel):
    """How a question's type is found."""

    long_threshold: PositiveInt = 128
    """Characters; an answer with more is long, one with as many or fewer short (paper 2: 128)."""
    length_source: Literal["reference", "generated"] = "reference"
    """Answer whose length counts: the corpus's own, or one that a model generated before, the first
    response of a Query/v1 record."""
    context_dependent: Literal["keep", "drop"] = "keep"
    """Later questions of a conversation that lean on earlier ones, such as "And what colour?": keep
    counts them, drop leaves them out, as they stand alone in the result. docs/sampling.md says how
    many of them are found."""


class EmbeddingModel(ApiModel):
    """The image encoder."""

    uri: Uri
    """Folder of a CLIP model in Hugging Face format: a path, file:// or s3://. The paper uses
    openai/clip-vit-base-patch32."""
    revision: Word | None = None
    """Revision of the model; recorded in the manifest and part of the identity of embeddings."""


class Embedding(ApiModel):
    """How images become vectors; a video counts by its first frame (paper 2)."""

    model: EmbeddingModel
    """The image encoder."""
    batch_size: PositiveInt = 256
    """Images that a process encodes at once."""
    dtype: DType = "float32"
    """Number format of the encoder's weights and activations."""
    vectors: Literal["float32", "float16"] = "float32"
    """Number format of the vectors on disk; float16 takes half the space and moves each number by
    at most 2^-11 of it, which changes clusters a little."""


class Clustering(ApiModel):
    """k-means over all embeddings."""

    centres: Annotated[int, Ge(1), Le(1_000_000)] = 100
    """Number of clusters (paper 2: 100)."""
    metric: Literal["cosine", "euclidean"] = "cosine"
    """cosine: spherical k-means on normalised embeddings; euclidean: plain k-means."""
    iterations: PositiveInt = 50
    """Most iterations."""
    tolerance: NonNegativeFloat = 1e-4
    """Stop when the relative improvement of the objective falls below this."""
    batch_rows: PositiveInt | None = None
    """Rows of a mini-batch; without it, every iteration reads all rows."""


class Selection(ApiModel):
    """How records are picked; the result does not depend on the number of workers."""

    seed: Seed = 0
    """Seed of the clustering and of the picks."""
    max_per_media: PositiveInt | None = None
    """Most records that may share their first image or video; without it, no limit."""
    shortfall: Literal["fail", "accept", "scaleAll"] = "fail"
    """When a question type has too few records: fail, accept fewer of it, or scale all types down
    to keep the ratio."""


class Failures(ApiModel):
    """Records that cannot be used."""

    max_fraction: Fraction = 0.01
    """Part of the records, 0 to 1, that may fail and are then left out and reported; above it the
    job fails. Rows without media, questions without an answer and duplicates are left out too,
    but do not count here."""
    per_reason: Annotated[dict[Word, Fraction], MaxLen(64)] = Field(default_factory=dict)
    """The same limit for single reasons, such as missing-file; also for those that maxFraction does
    not count. docs/sampling.md lists them."""


class Report(ApiModel):
    """Pages that show what was chosen."""

    map: bool = True
    """Draw the map of clusters."""
    thumbnails: Annotated[int, Ge(0), Le(64)] = 4
    """Pictures to show of each cluster."""


class ClusterSampleSpec(JobSpec):
    """What to choose from, how many, and how."""

    sources: Annotated[
        tuple[SampleSource, ...],
        Strict(strict=False),
        MinLen(1),
        MaxLen(256),
        ListOf("map", "name"),
    ]
    """Corpora to choose from."""
    target: Annotated[int, Gt(0), Le(2**53)]
    """Number of records to choose (paper: 30,000 of 10 million)."""
    ratio: Ratio = Ratio()
    """Shares of the question types."""
    typing: Typing = Typing()
    """How a question's type is found."""
    embedding: Embedding
    """How images become vectors."""
    clustering: Clustering = Clustering()
    """k-means over all embeddings."""
    selection: Selection = Selection()
    """How records are picked."""
    failures: Failures = Failures()
    """Records that cannot be read."""
    report: Report = Report()
    """Pages that show what was chosen."""


class ClusterSampleJob(Job):
    """Chooses a balanced, varied part of large corpora by clustering image embeddings."""

    kind: Literal["ClusterSampleJob"] = "ClusterSampleJob"
    """Kind of the job."""
    spec: ClusterSampleSpec
    """What to do."""
