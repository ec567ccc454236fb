"""What a replica of the operator serves to Prometheus."""

from __future__ import annotations

import urllib.request

from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families

from mmrlhf_operator.serving.metrics import METRICS_PATH

__all__ = ["Page"]


class Page:
    """What a replica serves."""

    def __init__(self, address: str) -> None:
        self._url = f"http://{address}{METRICS_PATH}"

    def text(self) -> str:
        with urllib.request.urlopen(self._url, timeout=300) as answer:
            content: str = answer.read().decode()
            return content

    def families(self) -> list[Metric]:
        return list(text_string_to_metric_families(self.text()))

    def value(self, name: str, **labels: str) -> float:
        """The sum of what has these labels, among others."""
        return sum(
            sample.value
            for family in self.families()
            for sample in family.samples
            if sample.name == name and labels.items() <= sample.labels.items()
        )
