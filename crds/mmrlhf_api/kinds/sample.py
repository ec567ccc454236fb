"""ClusterSampleJob: choose varied data by clustering images (paper section 2)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from mmrlhf_api.kinds.kind import Input, Kind, Output
from mmrlhf_api.kinds.registry import register
from mmrlhf_api.progress import MEDIA_EMBEDDED, ROWS_READ, ROWS_SELECTED, STAGE, Course

if TYPE_CHECKING:
    from mmrlhf_api.kinds.types.sample import ClusterSampleSpec


def _inputs(spec: ClusterSampleSpec) -> Iterator[Input]:
    yield Input(
        field="embedding.model.uri",
        uri=spec.embedding.model.uri,
        content="model",
        child="config.json",
    )
    for index, source in enumerate(spec.sources):
        yield Input(
            field=f"sources[{index}].uri",
            uri=source.uri,
            content="data",
            takes=("records", "queries"),
        )


register(
    Kind(
        name="ClusterSampleJob",
        plural="clustersamplejobs",
        singular="clustersamplejob",
        short_name="csj",
        subcommand="sample",
        home="mmrlhf_api.kinds.types.sample:ClusterSampleJob",
        course=Course.STAGES,
        columns=(STAGE, ROWS_READ, MEDIA_EMBEDDED, ROWS_SELECTED),
        runner="mmrlhf_jobs.sampling.job:sample",
        inputs=_inputs,
        outputs=lambda spec: (  # noqa: ARG005 - always the same
            Output(name="records", content="queries", path="queries.jsonl"),
        ),
    )
)
