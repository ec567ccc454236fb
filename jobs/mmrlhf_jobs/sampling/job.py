"""A ClusterSampleJob from its sources to the chosen queries (paper 2.2)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, Final, get_args

import numpy as np

from mmrlhf_api import ClusterSampleJob
from mmrlhf_api.termination import Ending
from mmrlhf_jobs.data.identity import digest_of
from mmrlhf_jobs.data.records import Category
from mmrlhf_jobs.errors import JobError, SpecError
from mmrlhf_jobs.process.context import TrainingContext
from mmrlhf_jobs.process.interruption import Interrupted
from mmrlhf_jobs.process.store_options import storage_options
from mmrlhf_jobs.reporting.lineage import keep_inputs, read_uris, take_lineage
from mmrlhf_jobs.reporting.manifest import Attempts
from mmrlhf_jobs.sampling import stages as stage
from mmrlhf_jobs.sampling.budgets import name_excess, sum_counts
from mmrlhf_jobs.sampling.context import Stages
from mmrlhf_jobs.sampling.corpora.drops import BY_NATURE, RowReason, count_rows
from mmrlhf_jobs.sampling.corpora.media import MediaReader, MediaReason
from mmrlhf_jobs.sampling.images.pictures import PICTURE_REASONS
from mmrlhf_jobs.sampling.losses import check_sources, count_losses
from mmrlhf_jobs.sampling.outcome import Outcome, write_manifest, write_results
from mmrlhf_jobs.sampling.parts import Part
from mmrlhf_jobs.sampling.report.drawing import draw
from mmrlhf_jobs.sampling.report.projection import require_umap
from mmrlhf_jobs.sampling.selection.joining import Block
from mmrlhf_jobs.sampling.selection.picks import pick_all
from mmrlhf_jobs.sampling.selection.pooling import add_counts, pick_pool, read_pool
from mmrlhf_jobs.sampling.selection.quotas import Quotas, plan_quotas
from mmrlhf_jobs.sampling.selection.records import write_block
from mmrlhf_jobs.sampling.selection.statistics import make_statistics
from mmrlhf_jobs.sampling.selection.table import Candidates
from mmrlhf_jobs.storage.uris import locate

__all__ = ["REASONS", "sample"]

REASONS: Final = frozenset(
    {*get_args(RowReason), *get_args(MediaReason), *BY_NATURE, "zero-vector"}
) | frozenset(PICTURE_REASONS)
"""All reasons for which a row may be left out."""


def sample(job: ClusterSampleJob, context: TrainingContext) -> None:
    """Run a job; the same again goes on where it stopped.

    Raises:
        InputError: The job or its data are wrong, or too many rows cannot be used.
        Interrupted: The job was asked to stop; the parts that are done stay.
        StorageError: The store or the disk fails.
    """
    unknown = sorted(set(job.spec.failures.per_reason) - REASONS)
    if unknown:
        raise SpecError(
            f"spec.failures.perReason: {', '.join(unknown)} is no reason; expected some of"
            f" {', '.join(sorted(REASONS))}"
        )
    if job.spec.report.map:
        require_umap()
    run = _Run(Stages(job, context, storage_options(job)))
    run.run()


class _Run:
    def __init__(self, stages: Stages) -> None:
        self._stages = stages
        self._runtime = stages.runtime
        self._spec = stages.job.spec
        self._attempts = Attempts(
            stages.store,
            stages.layout.run.attempts,
            stages.context.clock,
            stages.results.replace_text,
        )
        self._lineage: Mapping[str, Any] = {}

    def run(self) -> None:
        stages = self._stages
        self._runtime.on_main(stages.store.check_writable)
        take = partial(stages.claim.take, fresh=stages.context.fresh)
        stages.claim.join(self._runtime.on_main(take))
        self._runtime.on_main(self._begin)
        try:
            outcome, clustered = self._choose()
            metrics = self._runtime.on_main(lambda: self._publish(outcome, clustered))
        except Interrupted:
            self._note_end(Ending.INTERRUPTED)
            raise
        except JobError as error:
            self._note_end(error.word)
            raise
        stages.context.progress.emit(
            "done",
            artifacts=f"{stages.store.uri}/{stages.layout.run.prefix}",
            metrics=metrics,
        )

    def _begin(self) -> None:
        stages = self._stages
        if stages.context.fresh:
            stages.forget()
        stages.results.settle()
        self._attempts.begin(
            processes=self._runtime.world_size,
            fresh=stages.context.fresh,
            reads=read_uris(stages.job),
        )
        keep_inputs(
            stages.job,
            run=stages.layout.run.within(stages.store.uri).prefix,
            now=stages.context.clock(),
            options=stages.options,
        )
        self._lineage = take_lineage(
            stages.job, attempt=stages.context.attempt, options=stages.options
        )
        stages.context.told.begin(
            stages.job,
            run=stages.layout.run.within(stages.store.uri).prefix,
            attempts=self._attempts,
            lineage=self._lineage,
        )

    def _choose(self) -> tuple[Outcome, stage.Clustered]:
        stages, spec = self._stages, self._spec
        splits = stage.find_splits(stages)
        rows = stage.read(stages, splits)
        sources = [source.name for source in spec.sources]
        check_sources(count_losses(sources, rows))
        blocks = stage.blocks_of(rows)
        embedded = stage.embed(stages, rows, blocks, splits)
        candidates = embedded.candidates
        made = [(block.rows, part) for block, part in zip(blocks, candidates, strict=True)]
        losses = count_losses(sources, rows, made)
        for one in losses:
            stages.context.tell(one.sentence())
        check_sources(losses)
        clustered = stage.cluster(stages, embedded)
        pools = stage.pool(stages, clustered, candidates)
        self._check_pools(rows, [*rows, *candidates], pools)
        available = add_counts(pools)
        shares: dict[Category, float] = {
            "long": spec.ratio.long,
            "short": spec.ratio.short,
            "mcq": spec.ratio.mcq,
            "safety": spec.ratio.safety,
            "video": spec.ratio.video,
        }
        quotas = plan_quotas(
            available,
            target=spec.target,
            shares=shares,
            shortfall=spec.selection.shortfall,
        )
        picked = self._pick(pools, quotas)
        run_id = digest_of(
            "selection",
            embedded.vectors.key,
            clustered.centres.facts["sha256"],
            {name: list(counts) for name, counts in available.items()},
            {name: list(counts) for name, counts in quotas.by_cluster.items()},
            {source.name: source.weight for source in spec.sources},
            spec.selection.seed,
        ).hex()[:32]
        records = self._write(blocks, embedded.media, picked, quotas, run_id)
        outcome = Outcome(
            run_id=run_id,
            splits=splits,
            rows=rows,
            media=embedded.media,
            candidates=candidates,
            pools=pools,
            centres=clustered.centres,
            encoder=embedded.vectors.key,
            picked=picked,
            quotas=quotas,
            statistics=make_statistics(available, quotas),
            records=records,
            losses=losses,
        )
        return outcome, clustered

    def _pick(self, pools: Sequence[Part], quotas: Quotas) -> Candidates:
        stages = self._stages
        parts = stages.parts("picks")
        for pool in stages.work.share("pick", pools):
            pick_pool(pool, parts, quotas.by_cluster)
        made = (pick_pool(pool, parts, quotas.by_cluster) for pool in pools)
        return pick_all((piece for part in made for piece in read_pool(part)), quotas.by_cluster)

    def _write(
        self,
        blocks: Sequence[Block],
        media: Sequence[Part],
        picked: Candidates,
        quotas: Quotas,
        run_id: str,
    ) -> tuple[Part, ...]:
        stages = self._stages
        parts = stages.parts("records")
        reader = MediaReader(stages.options)

        def made(block: Block) -> Part:
            return write_block(
                block,
                media[block.number],
                picked.take(picked.block == block.number),
                parts,
                run_id=run_id,
                seed=self._spec.selection.seed,
                quotas=quotas.by_cluster,
                reader=reader,
                save=self._save,
            )

        wanted = [blocks[number] for number in np.unique(picked.block)]
        for block in stages.work.share("records", wanted):
            stages.work.count("selected", made(block).counts.get("records", 0))
        return tuple(made(block) for block in wanted)

    def _save(self, name: str, content: bytes) -> str:
        """Keep a medium beside the records; named by content, so once is enough."""
        stages = self._stages
        relative = f"media/{name}"
        key = stages.layout.at(relative)
        location = locate(f"{stages.store.uri}/{key}", stages.options)
        if not location.fs.exists(location.path):
            with stages.store.new_file(key) as path:
                path.write_bytes(content)
        return relative

    def _publish(self, outcome: Outcome, clustered: stage.Clustered) -> dict[str, float]:
        """Results first: a report that cannot be drawn must not cost them."""
        digest = write_results(self._stages, outcome)
        try:
            draw(self._stages, outcome, clustered)
        except Exception:
            self._stages.results.show()
            raise
        attempts = self._attempts.ended(exit_name="Succeeded", step=self._made)
        metrics = write_manifest(self._stages, outcome, digest, self._lineage, attempts)
        # After the manifest: killed in between, the run has not succeeded.
        self._attempts.keep(attempts)
        self._stages.context.told.complete(self._stages.results.left)
        return metrics

    def _check_pools(
        self, rows: Sequence[Part], named: Sequence[Part], pools: Sequence[Part]
    ) -> None:
        """Hold all that was left out against the budgets; only duplicates are new in pools."""
        excess = self._stages.limits.excess(
            sum_counts([*named, *pools]), count_rows(sum_counts(rows))
        )
        if excess is not None:
            raise name_excess(excess, named)

    @property
    def _made(self) -> int:
        """Parts made so far."""
        return self._stages.work.total("parts")

    def _note_end(self, exit_name: str) -> None:
        if self._runtime.is_main:
            self._attempts.end_failed(exit_name=exit_name, step=lambda: self._made)
