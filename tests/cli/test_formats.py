"""Public formats in and out, from the command line."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import get_args

from mmrlhf_api.data_formats import DATA_FORMATS
from mmrlhf_api.steps.records import DataFormat
from mmrlhfctl.commands.formats import EXPORTED, FORMATS
from tests.unit.data.public_files import write_media, write_public_file

Command = Callable[..., subprocess.CompletedProcess[str]]


def test_help_names_the_formats() -> None:
    assert list(FORMATS) == [one.name for one in DATA_FORMATS]
    assert get_args(DataFormat) == EXPORTED


def test_a_file_goes_in_and_comes_out(command: Command, tmp_path: Path) -> None:
    write_media(tmp_path)
    source, out = str(write_public_file(tmp_path, "trl")), str(tmp_path / "records.jsonl")
    done = command("import", "trl", source, "--dry-run", "--rows", "1")
    assert (done.returncode, "-- rank 1: It is blue." in done.stdout) == (0, True), done.stderr
    assert command("import", "trl", source).returncode == 2
    done = command("import", "trl", source, out, "--map", "prompt=prompt")
    assert json.loads(done.stdout)["records"] == 4, done.stderr
    done = command("export", "ms-swift", out, str(tmp_path / "swift.jsonl"))
    assert json.loads(done.stdout)["rows"] == 4, done.stderr
    done = command("import", "rlaif-v", source, out)
    assert done.returncode == 2
    assert "it looks like trl" in done.stderr
