"""A small world to train in: pictures, ranked responses, scores, a tiny model, a job file."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import yaml
from PIL import Image

from mmrlhf_jobs.data.records import RankedResponse
from mmrlhf_jobs.scores.keys import SidecarIdentity, record_keys
from mmrlhf_jobs.scores.writer import SidecarWriter
from tests.cluster.wait import wait_until
from tests.jobs.models.tiny import save_tiny
from tests.jobs.warm import Program
from tests.ports import free_port

_ANSWERS = (
    "it is a red square.",
    "a red circle, i think.",
    "there is a dog in this picture.",
    "no.",
)
_SUBCOMMANDS = {"MMDPOJob": "mmdpo", "RewardTrainJob": "reward"}
_CRITIQUES = ("right", "a circle", "a dog, wrong", "no")
_CATEGORIES = ("short", "long", "mcq")


def make_record(
    folder: Path, index: int, *, ranks: tuple[int, ...] | None = None
) -> dict[str, Any]:
    """One record with an image of its own; every fourth one has a tie."""
    name = f"images/{index}.png"
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    generator = torch.Generator().manual_seed(index)
    size = (28 + 14 * (index % 3), 28)
    pixels = torch.randint(0, 256, (size[1], size[0], 3), generator=generator, dtype=torch.uint8)
    Image.fromarray(pixels.numpy()).save(path)
    if ranks is None:
        ranks = (1, 2, 2, 4) if index % 4 == 3 else (1, 2, 3, 4)
    ids = "abcd"[: len(ranks)]
    return {
        "schema": "mmrlhf.io/ranked-response/v1",
        "record_id": f"r{index}",
        "domain": "image",
        "type": _CATEGORIES[index % 3],
        "query": {"text": f"what is in picture {index}?"},
        "media": [{"uri": name, "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}],
        "responses": [
            {
                "response_id": key,
                "text": f"{text} ({index})",
                "critique": {"human": human, "augmented": f"the answer is {human} in picture."},
            }
            for key, text, human in zip(ids, _ANSWERS, _CRITIQUES, strict=False)
        ],
        "ranking": {"ranks": dict(zip(ids, ranks, strict=True))},
    }


def write_records(path: Path, records: list[dict[str, Any]]) -> None:
    """Write records as JSON lines."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(record) + "\n" for record in records))


@dataclass(frozen=True)
class World:
    """Files of one test.

    Attributes:
        folder: Everything is below it.
    """

    folder: Path

    @classmethod
    def make(cls, folder: Path, *, queries: int = 13, held_out: int = 5) -> World:
        """Make data, side-car and model."""
        data = folder / "data"
        train = [make_record(data, index) for index in range(queries)]
        write_records(data / "train.jsonl", train)
        write_records(
            data / "heldout.jsonl", [make_record(data, 100 + index) for index in range(held_out)]
        )
        world = cls(folder)
        world.write_rewards(train)
        save_tiny(folder / "model", scale=2.0)
        return world

    @classmethod
    def copy(cls, other: World, folder: Path) -> World:
        """A world of its own with the same files."""
        shutil.copytree(other.folder, folder)
        return cls(folder)

    def write_rewards(self, records: list[dict[str, Any]]) -> None:
        """Score each response by its rank; one pair in five is scored against it."""
        path = self.folder / "rewards.parquet"
        path.unlink(missing_ok=True)
        with SidecarWriter(str(path), SidecarIdentity(kind="reward")) as writer:
            for index, raw in enumerate(records):
                record = RankedResponse.model_validate(raw)
                scores = [float(4 - rank) for rank in record.ranks]
                if index % 5 == 0:
                    scores[0], scores[1] = scores[1], scores[0]
                writer.write(
                    record_keys(record),
                    scores,
                    record_id=record.record_id,
                    response_ids=[one.response_id for one in record.responses],
                )

    def job(self, **changes: Any) -> dict[str, Any]:
        """A job of 7 steps of 4 queries; `changes` are set by dotted path below spec."""
        job: dict[str, Any] = {
            "apiVersion": "mmrlhf.io/v1alpha1",
            "kind": "MMDPOJob",
            "metadata": {"name": "tiny"},
            "spec": {
                "artifacts": {"uri": str(self.folder / "artifacts")},
                "model": {"uri": str(self.folder / "model")},
                "data": {
                    "train": {"uri": str(self.folder / "data/train.jsonl")},
                    "evaluation": {"uri": str(self.folder / "data/heldout.jsonl")},
                },
                "objective": {"beta": {"strategy": "dynamic"}},
                "reward": {"scoresUri": str(self.folder / "rewards.parquet")},
                "optimizer": {"learningRate": 0.001},
                "training": {"epochs": 2, "queriesPerStep": 4, "queriesPerMicroBatch": 2},
                "checkpoint": {"everySteps": 2},
                "tracking": {"reportSamples": 0},
            },
        }
        return self.changed(job, changes)

    def reward_job(self, **changes: Any) -> dict[str, Any]:
        """A RewardTrainJob of 8 steps of 4 queries; `changes` as in `job`."""
        job = self.job()
        spec = job["spec"]
        del spec["reward"]
        spec["objective"] = {}
        spec["inference"] = {"maxNewTokens": 4}
        spec["benchmark"] = {"uri": str(self.folder / "data/heldout.jsonl")}
        named = {**job, "kind": "RewardTrainJob", "metadata": {"name": "judge"}}
        return self.changed(named, changes)

    def changed(self, job: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
        """Set values by dotted path below spec."""
        for path, value in changes.items():
            node = job["spec"]
            *parents, last = path.split("__")
            for parent in parents:
                node = node.setdefault(parent, {})
            node[last] = value
        return job

    def write_job(self, job: dict[str, Any], name: str = "job.yaml") -> Path:
        """Write a job file."""
        path = self.folder / name
        path.write_text(yaml.safe_dump(job))
        return path

    def start(
        self,
        job: dict[str, Any],
        *,
        processes: int = 1,
        launched: bool = False,
        until: str | None = None,
        **env: str,
    ) -> Program:
        """Start a job in processes of its own, or by the launcher of a node, as in a pod.

        Args:
            job: The job.
            processes: How many.
            launched: Whether by the launcher.
            until: Event after which rank 0 stays until a signal comes, as ``step=3``; see `held`.
            env: Variables.
        """
        path = self.write_job(job)
        arguments = [_SUBCOMMANDS[job["kind"]], "--job", str(path)]
        module = "tests.jobs.launched" if launched else "mmrlhf_jobs"
        if until is not None:
            module, arguments = "tests.jobs.training.held", [f"event:{until}", *arguments]
        environ = {
            **os.environ,
            "MMRLHF_PROGRESS_FILE": str(self._progress),
            "MMRLHF_TERMINATION_FILE": str(self._termination),
            **env,
        }
        self._progress.unlink(missing_ok=True)
        self._termination.unlink(missing_ok=True)
        if launched:
            node = {
                "MMRLHF_JOB": str(path),
                "GLOO_SOCKET_IFNAME": "lo",
                "PET_NNODES": "1",
                "PET_NODE_RANK": "0",
                "PET_NPROC_PER_NODE": str(processes),
                "PET_MASTER_ADDR": "127.0.0.1",
                "PET_MASTER_PORT": str(free_port()),
                "PET_SHUTDOWN_TIMEOUT": "300",
            }
            return Program(module, arguments, environ | node)
        return Program(module, arguments, environ, processes=processes)

    def run(self, job: dict[str, Any], *, processes: int = 1, **env: str) -> Run:
        """Run a job to its end."""
        process = self.start(job, processes=processes, launched=False, **env)
        try:
            _, stderr = process.communicate(timeout=1500)
        finally:
            process.kill()
        return Run(process.wait(), stderr, self.events(), self.termination())

    def events(self) -> list[dict[str, Any]]:
        """Progress events so far."""
        if not self._progress.is_file():
            return []
        lines = self._progress.read_text().splitlines(keepends=True)
        return [json.loads(line) for line in lines if line.endswith("\n")]

    def wait_for(self, event: str, process: Program) -> None:
        """Wait until a job that runs has told an event, as ``step=3``."""
        name, _, value = event.partition("=")

        def told() -> bool:
            if any(str(one.get(name)) == value and one["event"] == name for one in self.events()):
                return True
            assert process.poll() is None, f"it ended before {event}: {process.communicate()}"
            return False

        wait_until(told, timeout=120, what=event, interval=0.002)

    def termination(self) -> dict[str, Any] | None:
        """Content of the termination file, if the run wrote one."""
        if not self._termination.is_file():
            return None
        content: dict[str, Any] = json.loads(self._termination.read_text())
        return content

    @property
    def _progress(self) -> Path:
        return self.folder / "progress.jsonl"

    @property
    def _termination(self) -> Path:
        return self.folder / "termination.json"

    def results(self, name: str = "tiny") -> Path:
        """Folder of the only run of a job in the artifacts."""
        (folder,) = (self.folder / "artifacts/default" / name).iterdir()
        return folder


@dataclass(frozen=True)
class Run:
    """How a run ended.

    Attributes:
        code: Exit code.
        stderr: What it wrote.
        events: Progress events.
        termination: Content of the termination file.
    """

    code: int
    stderr: str
    events: list[dict[str, Any]]
    termination: dict[str, Any] | None

    @property
    def steps(self) -> list[dict[str, Any]]:
        """Step events."""
        return [event for event in self.events if event["event"] == "step"]
