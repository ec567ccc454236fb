"""Command line of the way to annotators and back."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence

from mmrlhf_jobs.annotation.argilla.answers import read_argilla
from mmrlhf_jobs.annotation.argilla.export import export_argilla
from mmrlhf_jobs.annotation.importing import ImportOptions, import_answers
from mmrlhf_jobs.annotation.judging import TIE_POLICIES
from mmrlhf_jobs.annotation.label_studio.answers import read_label_studio
from mmrlhf_jobs.annotation.label_studio.export import export_label_studio
from mmrlhf_jobs.annotation.media_links import MediaLinks
from mmrlhf_jobs.annotation.report import ImportReport
from mmrlhf_jobs.annotation.tasks import ExportReport, make_tasks, read_key, write_key
from mmrlhf_jobs.data.queries import stream_queries, write_queries
from mmrlhf_jobs.data.sources import Source, list_data_files
from mmrlhf_jobs.data.writers import write_records
from mmrlhf_jobs.errors import JobError

__all__ = ["main"]

_EXPORTERS = {"label-studio": export_label_studio, "argilla": export_argilla}
_READERS = {"label-studio": read_label_studio, "argilla": read_argilla}


def main(arguments: Sequence[str] | None = None) -> int:
    """Export or import; print the report as JSON, or what is wrong to standard error."""
    options = _parser().parse_args(arguments)
    run = _export if options.direction == "export" else _import
    try:
        report = run(options)
    except JobError as error:
        sys.stderr.write(f"error: {error}\n")
        return error.exit_code
    print(json.dumps(report.to_dict(), indent=2))
    return 0


def _export(options: argparse.Namespace) -> ExportReport:
    source = Source(options.queries)
    report = ExportReport(key=options.key)
    tasks = make_tasks(stream_queries(source), report, seed=options.seed)
    links = MediaLinks(
        root=options.media_root or list_data_files(source)[0].folder,
        url=options.media_url,
        embed=options.embed_media,
        max_frames=options.max_frames,
    )
    exporter = _EXPORTERS[options.tool]
    write_key(exporter(tasks, options.folder, links, report, seed=options.seed), options.key)
    return report


def _import(options: argparse.Namespace) -> ImportReport:
    imported = import_answers(
        read_key(options.key),
        _READERS[options.tool](options.answers),
        ImportOptions(
            reviewers=frozenset(options.reviewer),
            tie_policy=options.tie_policy,
            max_invalid_fraction=options.max_invalid_fraction,
        ),
    )
    write_records(imported.records, options.out)
    if options.unresolved:
        write_queries(imported.unresolved, options.unresolved)
    return imported.report


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m mmrlhf_jobs.annotation")
    directions = parser.add_subparsers(dest="direction", required=True)
    export = directions.add_parser("export", help="queries with responses to a tool")
    export.add_argument("tool", choices=_EXPORTERS)
    export.add_argument("queries", help="a file, a folder or a pattern")
    export.add_argument("folder", help="where the files for the tool are written")
    export.add_argument(
        "key", help="file to write, *.jsonl, that leads back to responses; not for annotators"
    )
    export.add_argument("--seed", type=int, default=0, help="of the order of the responses")
    export.add_argument("--media-root", help="folder of the media; default: that of the queries")
    export.add_argument("--media-url", help="the same folder, as annotators' browsers see it")
    export.add_argument(
        "--embed-media", action="store_true", help="put the images into the tasks instead"
    )
    export.add_argument("--max-frames", type=int, default=32, help="most frames of a video")
    back = directions.add_parser("import", help="answers of a tool to ranked records")
    back.add_argument("tool", choices=_READERS)
    back.add_argument("answers", help="file that the tool exported")
    back.add_argument("key", help="file that the export wrote")
    back.add_argument("out", help="file to write, *.jsonl or *.parquet")
    back.add_argument(
        "--reviewer", action="append", default=[], help="id of a reviewer in the tool; repeatable"
    )
    back.add_argument("--tie-policy", choices=TIE_POLICIES, default="paper")
    back.add_argument("--max-invalid-fraction", type=float, default=0.0)
    back.add_argument("--unresolved", help="file for queries to annotate again, *.jsonl")
    return parser


if __name__ == "__main__":
    sys.exit(main())
