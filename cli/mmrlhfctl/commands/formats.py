"""Commands that bring public formats of data in, and records out."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from typing import Annotated, Any, Final

import typer

__all__ = ["FORMATS", "export_records", "import_rows"]

# As mmrlhf_api.data_formats has them; written out, since help loads no API types.
FORMATS: Final = (
    *("mm-rlhf", "dpo-pairs", "reward-bench", "trl", "llama-factory", "ms-swift", "rlhf-v"),
    *("rlaif-v", "llava-rlhf", "vlfeedback", "vl-reward-bench", "multimodal-reward-bench"),
    *("vlguard", "safety-bench"),
)
EXPORTED: Final = FORMATS[:-1]


class Incomplete(StrEnum):
    """What to do where pairs leave ranks open."""

    FAIL = "fail"
    INFER = "infer"
    EXACT = "exact"


class Pairs(StrEnum):
    """Which pairs of a record to write."""

    ALL = "all"
    HARDEST = "hardest"
    EXTREMES = "extremes"


class TemplateOf(StrEnum):
    """Whose chat template shows rows."""

    PROCESSOR = "processor"
    TOKENIZER = "tokenizer"


MediaRootOption = Annotated[
    str | None, typer.Option("--media-root", help="Folder of the media (default: the source's).")
]
InvalidOption = Annotated[
    float,
    typer.Option("--max-invalid-fraction", help="Share of the rows that may be left out."),
]
EndpointOption = Annotated[
    str | None, typer.Option("--endpoint", help="URL of an S3-compatible service.")
]
RegionOption = Annotated[str | None, typer.Option("--region", help="Region of the S3 service.")]


def _format_argument(known: Sequence[str]) -> Any:  # noqa: ANN401 - typer's own
    """Return the argument that names one of some formats."""

    def read(text: str) -> str:
        if text in known:
            return text
        raise typer.BadParameter(f"{text!r} is not one of {', '.join(known)}")

    def begin(incomplete: str) -> list[str]:
        return [name for name in known if name.startswith(incomplete)]

    return typer.Argument(
        metavar="FORMAT", help=", ".join(known) + ".", parser=read, autocompletion=begin
    )


def import_rows(
    form: Annotated[str, _format_argument(FORMATS)],
    source: Annotated[
        str, typer.Argument(metavar="SOURCE", help="File of the format, or a folder of them.")
    ],
    out: Annotated[
        str | None,
        typer.Argument(
            metavar="OUT", help="File to write: *.jsonl or *.parquet.", show_default=False
        ),
    ] = None,
    *,
    media_root: MediaRootOption = None,
    mapping: Annotated[
        list[str] | None,
        typer.Option("--map", help="A field of another name: THEIRS=OURS; repeatable."),
    ] = None,
    incomplete: Annotated[
        Incomplete,
        typer.Option(
            "--incomplete",
            help="Where pairs leave ranks open: fail, infer the ranks, or keep exactly the pairs.",
        ),
    ] = Incomplete.FAIL,
    max_invalid_fraction: InvalidOption = 0.0,
    frames: Annotated[
        int, typer.Option("--frames", help="Most frames of a video file, spread over it.", min=1)
    ] = 32,
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="Show the first rows as a model will see them; no output."),
    ] = False,
    rows: Annotated[int, typer.Option("--rows", help="Rows to show.", min=1)] = 3,
    model: Annotated[
        str | None,
        typer.Option("--model", help="Folder of the model whose chat template is to show them."),
    ] = None,
    chat_template: Annotated[
        TemplateOf,
        typer.Option("--chat-template", help="Whose template, where the model has two."),
    ] = TemplateOf.PROCESSOR,
    endpoint: EndpointOption = None,
    region: RegionOption = None,
) -> None:
    """Convert public preference data to records, on this machine.

    Prints what became of the rows, as JSON. What a row of each format holds is on the page
    docs/reference/data-formats.md. Exit code 2 means that rows cannot be imported.
    """
    from mmrlhfctl.local.steps import run_step

    if out is None and not dry_run:
        raise typer.BadParameter("name the file to write, or add --dry-run")
    arguments = [form, source, out or "dry-run.jsonl"]
    arguments += [f"--map={text}" for text in mapping or []]
    arguments += [
        f"--incomplete={incomplete.value}",
        f"--max-invalid-fraction={max_invalid_fraction}",
        f"--frames={frames}",
        *_given({"media-root": media_root, "endpoint": endpoint, "region": region}),
    ]
    if dry_run:
        arguments += ["--dry-run", f"--rows={rows}", *_given({"model": model})]
        arguments.append(f"--chat-template={chat_template.value}")
    raise typer.Exit(run_step("import", arguments))


def export_records(
    form: Annotated[str, _format_argument(EXPORTED)],
    records: Annotated[
        str, typer.Argument(metavar="RECORDS", help="Records: a file, a folder or a pattern.")
    ],
    out: Annotated[str, typer.Argument(metavar="OUT", help="File to write: *.jsonl or *.json.")],
    *,
    media_root: MediaRootOption = None,
    pairs: Annotated[
        Pairs, typer.Option("--pairs", help="Which pairs of a record to write.")
    ] = Pairs.ALL,
    absolute_media: Annotated[
        bool, typer.Option("--absolute-media", help="Write whole paths of media.")
    ] = False,
    max_invalid_fraction: InvalidOption = 0.0,
    endpoint: EndpointOption = None,
    region: RegionOption = None,
) -> None:
    """Convert records to a public format, on this machine.

    Prints what became of the records, as JSON. What a row of each format holds is on the page
    docs/reference/data-formats.md. Exit code 2 means that records do not fit the format.
    """
    from mmrlhfctl.local.steps import run_step

    arguments = [
        *(form, records, out, f"--pairs={pairs.value}"),
        f"--max-invalid-fraction={max_invalid_fraction}",
        *(["--absolute-media"] if absolute_media else []),
        *_given({"media-root": media_root, "endpoint": endpoint, "region": region}),
    ]
    raise typer.Exit(run_step("export", arguments))


def _given(options: dict[str, str | None]) -> list[str]:
    return [f"--{name}={value}" for name, value in options.items() if value is not None]
