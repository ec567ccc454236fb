"""Digests of the outlines of all schemas; made by python -m mmrlhf_api.generate."""

from __future__ import annotations

from typing import Final

__all__ = ["SCHEMA_DIGESTS"]

SCHEMA_DIGESTS: Final = {
    "MMDPOJob": "f4ae5400efb9eab27446e7c3e26d4dae",
    "RewardTrainJob": "940e5446802725c117e2f04d1e98d787",
    "ClusterSampleJob": "11a4c6967fcfd192e1b11c25e9f2a4fa",
    "StepJob": "5c3807357c1db3d90a7718c4164e9da4",
    "AlignmentPipeline": "09e28f2e22f26ff114ff2786fed323c1",
    "AlignmentRun": "4364ecb32f8dd2aab5c28f15de2890be",
    "Sweep": "b47bdc822f56db1499aa014d451a3b64",
}
