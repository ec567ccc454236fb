"""A training whose checkpoints go to a store that is slow to take them."""

from __future__ import annotations

import time
from pathlib import Path

from mmrlhf_jobs.storage.uris import StorageOptions
from tests.jobs.training.test_saving import Store, Training
from tests.s3.conftest import Bucket
from tests.s3.valve import Valve

A_STEP = 100
"""Bytes that the store takes while a step is done; a checkpoint has 8,000 of numbers."""


def test_training_goes_on_while_the_store_takes_a_checkpoint(
    bucket: Bucket, tmp_path: Path
) -> None:
    with Valve(bucket.server.endpoint) as valve:
        options = StorageOptions(valve.endpoint, bucket.server.region)
        training = Training(Store(f"{bucket.uri}/artifacts", options), tmp_path)
        training.run(1)
        valve.grant(0)
        training.run(2)
        while training.saver.is_busy():
            training.run(training.step + 1)
            valve.grant(A_STEP)
            while training.saver.is_busy() and valve.is_short:
                time.sleep(0.001)
        steps = training.step - 2
        valve.open()
        assert not valve.starved, "the steps wait for the upload"
        keys = bucket.server.keys(bucket.name, "artifacts/run/checkpoints/step-00000002/")
        assert [key.rpartition("/")[2] for key in keys if key.endswith("COMMITTED")]
        assert steps > 8_000 / A_STEP
        assert training.saver.savings.seconds == 0, "no step was lost to it"
        assert training.saver.savings.late == steps // 2
        assert (training.saved(), training.restored()) == ([2], 2)
