"""Command line of the importers."""

from __future__ import annotations

import argparse
import json
import sys

from mmrlhf_jobs.data.importers.dpo_pairs import import_dpo_pairs
from mmrlhf_jobs.data.importers.reward_bench import import_reward_bench
from mmrlhf_jobs.data.importers.trl import import_trl
from mmrlhf_jobs.data.importers.vl_reward_bench import import_vl_reward_bench
from mmrlhf_jobs.errors import JobError

_IMPORTERS = {
    "dpo-pairs": import_dpo_pairs,
    "trl": import_trl,
    "reward-bench": import_reward_bench,
    "vl-reward-bench": import_vl_reward_bench,
}


def main(arguments: list[str] | None = None) -> int:
    """Import a file; print the report as JSON, or what is wrong to standard error."""
    parser = argparse.ArgumentParser(prog="python -m mmrlhf_jobs.data.importers")
    parser.add_argument("format", choices=_IMPORTERS)
    parser.add_argument("source", help="file of pairs or rankings")
    parser.add_argument("out", help="file to write, *.jsonl or *.parquet")
    parser.add_argument("--media-root", help="folder of the media; default: that of the source")
    parser.add_argument("--incomplete", choices=["fail", "infer"], default="fail")
    options = parser.parse_args(arguments)
    try:
        report = _IMPORTERS[options.format](
            options.source,
            options.out,
            media_root=options.media_root,
            incomplete=options.incomplete,
        )
    except JobError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    print(json.dumps(report.to_dict(), indent=2))
    return 0


if __name__ == "__main__":
    sys.exit(main())
