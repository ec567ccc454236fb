"""A run of MLflow: https://mlflow.org/docs/latest/api_reference/python_api/mlflow.client.html."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from typing import Any, Final

from mmrlhf_api import MlflowTracking
from mmrlhf_api.progress import STEP
from mmrlhf_jobs.reporting.trackers.tracker import Row, RunIdentity, is_figure

__all__ = ["MlflowRun", "flatten"]

_UID_TAG: Final = "mmrlhf.uid"
_AT_ONCE: Final = 100
"""Parameters of one request (MLflow's limit); a value has 500 characters at most."""
_LONGEST: Final = 500
_PATIENCE: Final = {
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "20",
}
"""Whoever calls tries again; a server that does not answer must not hold up the end of a job."""


class MlflowRun:
    """Logs rows to a server or a database file.

    Args:
        settings: ``spec.tracking.mlflow``.
        identity: What the run is called.
    """

    name = "MLflow"

    def __init__(self, settings: MlflowTracking, identity: RunIdentity) -> None:
        self._settings = settings
        self._identity = identity
        self._last: dict[str, int] = {}

    def open(self) -> None:
        """Begin the run, or go on with the one that has this id as a tag."""
        from mlflow import MlflowClient
        from mlflow.entities import Metric, Param

        self._metric = Metric
        if self._settings.token_env is not None:
            os.environ["MLFLOW_TRACKING_TOKEN"] = os.environ[self._settings.token_env]
        for name, value in _PATIENCE.items():
            os.environ.setdefault(name, value)
        client = MlflowClient(tracking_uri=self._settings.tracking_uri)
        experiment = client.get_experiment_by_name(self._settings.experiment)
        place = (
            client.create_experiment(self._settings.experiment)
            if experiment is None
            else experiment.experiment_id
        )
        found = client.search_runs([place], filter_string=f"tags.`{_UID_TAG}` = '{self._uid}'")
        if found:
            run = found[0]
            self._last = {
                name: max(one.step for one in client.get_metric_history(run.info.run_id, name))
                for name in run.data.metrics
            }
            client.update_run(run.info.run_id, status="RUNNING")
        else:
            tags = {_UID_TAG: self._uid, **self._identity.tags}
            run = client.create_run(place, tags=tags, run_name=self._identity.name)
            params = [Param(name, value) for name, value in flatten(self._identity.job)]
            for start in range(0, len(params), _AT_ONCE):
                client.log_batch(run.info.run_id, params=params[start : start + _AT_ONCE])
        self._client, self._run_id = client, run.info.run_id

    @property
    def _uid(self) -> str:
        return self._identity.id

    def log(self, row: Row, time: float) -> None:
        """Log the figures of the row that no earlier attempt has."""
        step = int(row[STEP.name])
        new = {
            name: float(value)
            for name, value in row.items()
            if name != STEP.name and is_figure(value) and step > self._last.get(name, -1)
        }
        if new:
            metrics = [
                self._metric(name, value, int(time * 1000), step) for name, value in new.items()
            ]
            self._client.log_batch(self._run_id, metrics=metrics)

    def keep(self) -> None:
        """Nothing: what was logged is there."""

    def close(self, *, succeeded: bool) -> None:
        """End the run; the next attempt goes on with one that was killed."""
        self._client.set_terminated(self._run_id, status="FINISHED" if succeeded else "KILLED")


def flatten(value: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Yield the values of a job by dotted path, as MLflow's parameters can hold them."""
    for name, item in value.items():
        path = f"{prefix}{name}"
        if isinstance(item, Mapping):
            yield from flatten(item, f"{path}.")
        else:
            yield path, str(item)[:_LONGEST]
