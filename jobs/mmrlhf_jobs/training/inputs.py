"""What a preference training starts from, opened and checked before the first step."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from mmrlhf_api import Adapter, DataSource, ModelSource, Trainable
from mmrlhf_jobs.data.dataset import RankedDataset
from mmrlhf_jobs.data.index import BlockIndex
from mmrlhf_jobs.data.records import RankedResponse
from mmrlhf_jobs.data.report import ValidationReport
from mmrlhf_jobs.data.sources import Source
from mmrlhf_jobs.data.validation import scan
from mmrlhf_jobs.errors import DataError, SpecError
from mmrlhf_jobs.forward.responses import ResponseModel
from mmrlhf_jobs.models.adapter import LoadedModel, VLMAdapter
from mmrlhf_jobs.models.folders import digest_folder, fetch_model
from mmrlhf_jobs.models.loading import load_model
from mmrlhf_jobs.models.lora import Lora, add_lora, merge_lora
from mmrlhf_jobs.models.precision import Precision
from mmrlhf_jobs.models.shares import Splitter
from mmrlhf_jobs.models.weights import Weight
from mmrlhf_jobs.process.gang import Runtime
from mmrlhf_jobs.queries.row_check import find_unusable
from mmrlhf_jobs.reporting.events import Tell, tell_in_log
from mmrlhf_jobs.scores.keys import SidecarIdentity
from mmrlhf_jobs.storage.uris import StorageOptions

__all__ = ["OpenDataset", "Policy", "leave_out", "open_dataset", "use_shared_prefix"]


@dataclass(frozen=True)
class OpenDataset:
    """A validated data set.

    Attributes:
        uri: Where it is.
        records: Reader of the valid records.
        report: What the validation found.
    """

    uri: str
    records: RankedDataset
    report: ValidationReport


@dataclass(frozen=True)
class Policy:
    """The model that is trained.

    Attributes:
        loaded: Model, processor and adapter.
        folder: Where its files are on this machine.
        digest: Digest of its files before training.
        precision: What it computes in.
        lora: The adapter that alone is trained, if one is.
        splitter: What divides the weights over processes, if they were divided as they were read.
    """

    loaded: LoadedModel
    folder: Path
    digest: str
    precision: Precision
    lora: Lora | None = None
    splitter: Splitter | None = None

    @classmethod
    def load(
        cls, source: ModelSource, trainable: Trainable, adapter: Adapter | None, *,
        precision: Precision, seed: int, scratch: Path, runtime: Runtime,
        options: StorageOptions | None, splitter: Splitter | None = None,
        tell: Tell = tell_in_log,
    ) -> Policy:  # fmt: skip
        """Load the model, freeze what is not trained, and give it an adapter if it is to have one.

        Dropout is off, so that policy and reference see the same network.

        Args:
            source: Which model.
            trainable: Parts that are trained.
            adapter: What is trained in place of their weights; None: the weights.
            precision: What it computes in.
            seed: Seed of new weights.
            scratch: Local folder of this process.
            runtime: Process group.
            options: How to reach an object store.
            splitter: Divides the weights over processes while they are read; None: all have all.
            tell: Is told what whoever started the job should know of the model.

        Raises:
            ModelError: The model is missing or incomplete.
            SpecError: The adapter does not fit the model.
        """
        folder = fetch_model(source.uri, scratch, options)
        loaded = load_model(
            folder,
            dtype=precision.dtype,
            attention=precision.attention,
            chat_template=source.chat_template or "processor",
            tell=tell,
            take=None if splitter is None else splitter.take,
        )
        loaded.adapter.freeze(loaded.model, trainable)
        lora = None if adapter is None else add_lora(loaded, adapter, seed=seed)
        if lora is not None:
            tell(lora.sentence())
        loaded.model.to(runtime.device)
        digest = runtime.on_main(lambda: digest_folder(folder))
        policy = cls(loaded, folder, digest, precision, lora, splitter)
        if splitter is not None:
            splitter.begin(policy.rows)
        return policy

    @cached_property
    def rows(self) -> ResponseModel:
        """Computes rows before the training, and is what is trained of a policy."""
        rows = ResponseModel(self.loaded.model, self.loaded.adapter, shared_prefix=False)
        rows.every_part = self.splitter is not None
        return rows

    def passes(self) -> AbstractContextManager[None]:
        """Inside, passes may be made before there is an engine.

        Where weights are divided, every process comes here and makes as many.
        """
        return nullcontext() if self.splitter is None else self.splitter.passes()

    def end_passes(self) -> None:
        """Leave the model to an engine."""
        if self.splitter is not None:
            self.splitter.end()

    def merged(self, weights: Mapping[str, Weight]) -> Mapping[str, Weight]:
        """Weights of a model without an adapter that computes the same, by its names."""
        return weights if self.lora is None else merge_lora(weights, self.lora.scale)

    def save_adapter(self, weights: Mapping[str, Weight], *, base: str, folder: Path) -> None:
        """Write the adapter alone; see `Lora.save`."""
        assert self.lora is not None  # else nobody asks
        self.lora.save(weights, base=base, base_digest=self.digest, folder=folder)

    @property
    def _rounding(self) -> str:
        """What a quantized model's numbers are otherwise than those of the model in its files."""
        if self.lora is None or self.lora.settings.quantization is None:
            return ""
        names = ",".join(sorted(self.lora.layers))
        return f" {self.lora.settings.quantization} {hashlib.sha256(names.encode()).hexdigest()}"

    def reference_identity(self) -> SidecarIdentity:
        """What reference log-probabilities of this model belong to."""
        adapter = self.loaded.adapter
        return SidecarIdentity(
            kind="reference",
            template=adapter.template_digest(),
            model=self.digest,
            image_settings=adapter.image_settings(),
            precision=str(self.precision) + self._rounding,
        )


def open_dataset(
    source: DataSource,
    *,
    max_invalid_fraction: float,
    seed: int,
    runtime: Runtime,
    options: StorageOptions | None,
) -> OpenDataset:
    """Validate a data set once, on rank 0, and open it on every process.

    Raises:
        DataError: It is missing, empty, or has more invalid rows than allowed.
    """
    location = Source(
        uri=source.uri,
        format=source.format,
        media_root=source.media_root,
        storage=options,
        allowed_media_roots=source.allowed_media_roots or (),
    )

    def check() -> tuple[BlockIndex, ValidationReport]:
        index, report = scan(location)
        report.check(max_invalid_fraction)
        return index.sampled(source.fraction, seed=seed), report

    index, report = runtime.on_main(check)
    return OpenDataset(source.uri, RankedDataset.open(location, index=index), report)


def leave_out(
    dataset: OpenDataset,
    check: Callable[[RankedResponse], None],
    *,
    max_invalid_fraction: float,
    runtime: Runtime,
    options: StorageOptions | None,
    media: bool = True,
) -> OpenDataset:
    """The data set without the rows whose media cannot be decoded or that a check refuses.

    Args:
        dataset: The data set.
        check: Raises DataError on a record that cannot be used.
        max_invalid_fraction: Share of rows that may be invalid, those of the validation included.
        runtime: Process group.
        options: How to reach an object store.
        media: Decode them; False where that was done before.

    Raises:
        DataError: More are invalid, or none is left; on every process.
    """
    found = find_unusable(dataset.records, check, runtime=runtime, storage=options, media=media)
    if not found.ordinals:
        return dataset
    report = dataset.report.with_more(found.counts, found.problems)
    report.check(max_invalid_fraction)
    index = dataset.records.index.without(found.ordinals)
    if not index.num_records:
        raise DataError("no row is left of those that data.fraction has drawn", file=dataset.uri)
    return replace(dataset, records=replace(dataset.records, index=index), report=report)


def use_shared_prefix(setting: str, adapter: VLMAdapter) -> bool:
    """Whether the responses of a query share its prompt in one row.

    Raises:
        SpecError: The job requires it and the model cannot.
    """
    if setting == "required" and not adapter.supports_shared_prefix:
        raise SpecError(
            "spec.objective.sharedPrefix: required, but this model or its attention takes no mask "
            "per response (sliding windows, or attention flash_attention_2); use auto"
        )
    return setting != "off" and adapter.supports_shared_prefix
