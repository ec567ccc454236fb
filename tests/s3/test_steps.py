"""Steps whose inputs and outputs are in an object store that no default leads to."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from mmrlhf_jobs.__main__ import main
from mmrlhf_jobs.data.queries import write_queries
from tests.s3.conftest import Bucket
from tests.unit.annotation.forms import make_query
from tests.unit.data.builders import save_image, write_rows


def test_a_step_reads_and_writes_at_its_endpoint(
    bucket: Bucket, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """An import and an export for annotators: the bytes are those of a run on a disk."""
    inputs, local = tmp_path / "inputs", tmp_path / "local"
    inputs.mkdir()
    save_image(inputs)
    pair = {"prompt": "Which?", "chosen": "Six.", "rejected": "Two.", "image": "image.png"}
    write_rows(inputs / "pairs.jsonl", [pair])
    write_queries([make_query()], str(inputs / "queries.jsonl"))
    bucket.server.upload_folder(inputs, bucket.name, "inputs")
    server = bucket.server
    store = ["--endpoint", server.endpoint, "--region", server.region, "--outage-seconds", "20"]

    def steps(source: str, out: str, options: list[str]) -> None:
        command = ["import", "trl", f"{source}/pairs.jsonl", f"{out}/records.jsonl"]
        assert main([*command, *options]) == 0, capsys.readouterr().err
        places = [f"{source}/queries.jsonl", f"{out}/tasks", f"{out}/key.jsonl"]
        command = ["annotate-export", "label-studio", *places, "--embed-media"]
        assert main([*command, *options]) == 0, capsys.readouterr().err

    steps(str(inputs), str(local), [])
    steps(f"{bucket.uri}/inputs", f"{bucket.uri}/out", store)
    fetched = tmp_path / "fetched"
    bucket.server.download_folder(bucket.name, "out", fetched)
    names = {str(path.relative_to(local)) for path in local.rglob("*") if path.is_file()}
    assert names == {"records.jsonl", "key.jsonl", "tasks/page.xml", "tasks/tasks-00001.json"}
    for name in names:
        assert (fetched / name).read_bytes() == (local / name).read_bytes(), name


def test_a_file_names_the_store(
    bucket: Bucket, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    save_image(tmp_path)
    pair = {"prompt": "Which?", "chosen": "Six.", "rejected": "Two.", "image": "image.png"}
    write_rows(tmp_path / "pairs.jsonl", [pair])
    bucket.server.upload_folder(tmp_path, bucket.name, "inputs")
    step = {
        "step": "import",
        "format": "trl",
        "source": f"{bucket.uri}/inputs/pairs.jsonl",
        "out": f"{bucket.uri}/out/records.parquet",
        "storage": {"endpoint": bucket.server.endpoint, "region": bucket.server.region},
    }
    (tmp_path / "step.yaml").write_text(yaml.safe_dump(step))
    assert main(["step", str(tmp_path / "step.yaml")]) == 0
    assert json.loads(capsys.readouterr().out)["records"] == 1
    bucket.server.download_folder(bucket.name, "out", tmp_path / "out")
    assert (tmp_path / "out/records.parquet").stat().st_size
