"""What each step that needs no torch is told, as a command line and as a file."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count
from pathlib import Path
from typing import Any

import yaml

from mmrlhf_jobs.__main__ import main
from mmrlhf_jobs.annotation.tasks import read_key
from mmrlhf_jobs.data.queries import write_queries
from mmrlhf_jobs.data.writers import write_records
from mmrlhf_jobs.scores.keys import SidecarIdentity, record_keys
from mmrlhf_jobs.scores.writer import SidecarWriter
from mmrlhf_jobs.storage.alias import AliasStore, Cause, artifact_digest
from mmrlhf_jobs.storage.artifacts import ArtifactStore
from tests.unit.annotation.forms import fill, make_query, results
from tests.unit.data.builders import make_record, save_image, write_rows

__all__ = ["CASES", "Case", "make_inputs", "model_server"]


@dataclass(frozen=True)
class Case:
    """One step and one run of it; ``{in}`` and ``{out}`` are folders.

    Attributes:
        step: Its name.
        line: Its command line.
        file: The same as a file, without the step.
        old: The same as an old command line: module and arguments.
        made: Files that it makes.
    """

    step: str
    line: str
    file: Mapping[str, Any]
    old: str
    made: tuple[str, ...]

    def arguments(self, folder: Path, out: Path) -> list[str]:
        return [self.step, *_placed(self.line, folder, out).split()]

    def old_arguments(self, folder: Path, out: Path) -> tuple[str, list[str]]:
        module, *arguments = _placed(self.old, folder, out).split()
        return module, arguments

    def write(self, path: Path, folder: Path, out: Path, **more: Any) -> Path:
        """Write the file."""
        text = yaml.safe_dump({"step": self.step, **self.file, **more})
        path.write_text(_placed(text, folder, out))
        return path


CASES = (
    Case(
        "import",
        "trl {in}/pairs.jsonl {out}/records.jsonl --media-root {in} --incomplete infer",
        {
            "format": "trl",
            "source": "{in}/pairs.jsonl",
            "out": "{out}/records.jsonl",
            "mediaRoot": "{in}",
            "incomplete": "infer",
        },
        "data.importers trl {in}/pairs.jsonl {out}/records.jsonl --media-root {in}"
        " --incomplete infer",
        ("records.jsonl",),
    ),
    Case(
        "export",
        "trl {in}/records.jsonl {out}/trl.jsonl --pairs extremes",
        {
            "format": "trl",
            "records": "{in}/records.jsonl",
            "out": "{out}/trl.jsonl",
            "pairs": "extremes",
        },
        "",
        ("trl.jsonl",),
    ),
    Case(
        "bench",
        "{in}/records.jsonl --scores one={in}/scores.parquet --scores {in}/scores.parquet"
        " --json {out}/bench.json --html {out}/bench.html",
        {
            "records": "{in}/records.jsonl",
            "scores": ["one={in}/scores.parquet", "{in}/scores.parquet"],
            "jsonOut": "{out}/bench.json",
            "htmlOut": "{out}/bench.html",
        },
        "evaluation.rewardbench {in}/records.jsonl --scores one={in}/scores.parquet"
        " --scores {in}/scores.parquet --json {out}/bench.json --html {out}/bench.html",
        ("bench.json", "bench.html"),
    ),
    Case(
        "gate",
        "{in}/rules.yaml {out}/report.json --candidate {in}/candidate.json"
        " --champion {in}/champion.json --store {out}/store --alias default/vqa"
        " --artifact {in}/models/one",
        {
            "rulesFile": "{in}/rules.yaml",
            "out": "{out}/report.json",
            "candidate": ["{in}/candidate.json"],
            "champion": ["{in}/champion.json"],
            "store": "{out}/store",
            "alias": "default/vqa",
            "artifact": "{in}/models/one",
        },
        "",
        ("report.json",),
    ),
    Case(
        "alias",
        "show {in} default/vqa",
        {"action": "show", "store": "{in}", "alias": "default/vqa"},
        "",
        (),
    ),
    Case(
        "annotate-export",
        "label-studio {in}/queries.jsonl {out}/tasks {out}/key.jsonl --embed-media --seed 3",
        {
            "tool": "label-studio",
            "queries": "{in}/queries.jsonl",
            "folder": "{out}/tasks",
            "key": "{out}/key.jsonl",
            "embedMedia": True,
            "seed": 3,
        },
        "annotation export label-studio {in}/queries.jsonl {out}/tasks {out}/key.jsonl"
        " --embed-media --seed 3",
        ("tasks/page.xml", "tasks/tasks-00001.json", "key.jsonl"),
    ),
    Case(
        "annotate-import",
        "label-studio {in}/answers.json {in}/key.jsonl {out}/ranked.jsonl --reviewer 1"
        " --reviewer 2 --unresolved {out}/again.jsonl",
        {
            "tool": "label-studio",
            "answers": "{in}/answers.json",
            "key": "{in}/key.jsonl",
            "out": "{out}/ranked.jsonl",
            "reviewers": ["1", "2"],
            "unresolved": "{out}/again.jsonl",
        },
        "annotation import label-studio {in}/answers.json {in}/key.jsonl {out}/ranked.jsonl"
        " --reviewer 1 --reviewer 2 --unresolved {out}/again.jsonl",
        ("ranked.jsonl",),
    ),
    Case(
        "critiques",
        "{in}/commented.jsonl {out}/enhanced.jsonl --endpoints {in}/endpoints.yaml"
        " --journal {out}/kept",
        {
            "records": "{in}/commented.jsonl",
            "out": "{out}/enhanced.jsonl",
            "endpoints": "{in}/endpoints.yaml",
            "journal": "{out}/kept",
        },
        "endpoints critiques {in}/commented.jsonl {out}/enhanced.jsonl"
        " --endpoints {in}/endpoints.yaml --journal {out}/kept",
        ("enhanced.jsonl",),
    ),
    Case(
        "report",
        "{out}/evaluation.json --understanding one={in}/lmms_eval.json --html {out}/page.html",
        {
            "out": "{out}/evaluation.json",
            "understanding": ["one={in}/lmms_eval.json"],
            "htmlOut": "{out}/page.html",
        },
        "",
        ("evaluation.json", "page.html"),
    ),
    Case(
        "compare",
        "{in}/queries.jsonl {out}/verdicts.json --candidate {in}/queries.jsonl"
        " --champion {in}/queries.jsonl --candidate-model model-0 --champion-model model-0"
        " --endpoints {in}/endpoints.yaml --json {out}/comparison.json"
        " --candidate-out {out}/candidate.json --champion-out {out}/champion.json",
        {
            "records": "{in}/queries.jsonl",
            "out": "{out}/verdicts.json",
            "candidate": "{in}/queries.jsonl",
            "champion": "{in}/queries.jsonl",
            "candidateModel": "model-0",
            "championModel": "model-0",
            "endpoints": "{in}/endpoints.yaml",
            "jsonOut": "{out}/comparison.json",
            "candidateOut": "{out}/candidate.json",
            "championOut": "{out}/champion.json",
        },
        "",
        ("verdicts.json", "candidate.json", "champion.json", "comparison.json"),
    ),
    Case(
        "safety",
        "{in}/safety.yaml {out}/results.json --responses {in}/queries.jsonl --model model-0"
        " --json {out}/safety.json",
        {
            "plan": "{in}/safety.yaml",
            "out": "{out}/results.json",
            "responses": "{in}/queries.jsonl",
            "model": "model-0",
            "jsonOut": "{out}/safety.json",
        },
        "",
        ("results.json", "safety.json"),
    ),
    Case(
        "prune",
        "{in} --json {out}/prune.json",
        {"store": "{in}", "jsonOut": "{out}/prune.json"},
        "",
        ("prune.json",),
    ),
    Case(
        "responses",
        "{in}/queries.jsonl {out}/responses.jsonl --endpoints {in}/endpoints.yaml --samples 2",
        {
            "records": "{in}/queries.jsonl",
            "out": "{out}/responses.jsonl",
            "endpoints": "{in}/endpoints.yaml",
            "samples": 2,
        },
        "endpoints responses {in}/queries.jsonl {out}/responses.jsonl"
        " --endpoints {in}/endpoints.yaml --samples 2",
        ("responses.jsonl",),
    ),
)
"""The steps that need no torch."""


def make_inputs(folder: Path, server: str) -> None:
    """Write all that the cases read.

    Args:
        folder: Where to.
        server: URL of a model server.
    """
    save_image(folder)
    pair = {"prompt": "Which digit?", "chosen": "Six.", "rejected": "Two.", "image": "image.png"}
    write_rows(folder / "pairs.jsonl", [pair, {**pair, "chosen": "Two.", "rejected": "One."}])
    records = [make_record(f"r{n}", query={"text": f"Digit {n}?"}) for n in range(3)]
    write_records(records, str(folder / "records.jsonl"))
    with SidecarWriter(str(folder / "scores.parquet"), SidecarIdentity(kind="reward")) as writer:
        for record in records:
            names = [one.response_id for one in record.responses]
            keys = record_keys(record)
            writer.write(keys, [1.0, 0.0], record_id=record.record_id, response_ids=names)
    write_queries([make_query("q1"), make_query("q2")], str(folder / "queries.jsonl"))
    task = {"name": "nsfw", "records": str(folder / "queries.jsonl"), "judge": "words"}
    plan = {
        "judges": [{"name": "words", "template": {"phrases": ["to q1"]}}],
        "tasks": [{**task, "measures": ["asr", "rta"]}],
    }
    (folder / "config.json").write_text('{"model_type": "llava_onevision"}')
    benchmark = {"results": {"mmstar": {"alias": "mmstar", "average,none": 0.5}}}
    (folder / "lmms_eval.json").write_text(json.dumps(benchmark))
    (folder / "safety.yaml").write_text(yaml.safe_dump(plan))
    paths = [str(folder / name) for name in ("queries.jsonl", "tasks", "key.jsonl")]
    assert main(["annotate-export", "label-studio", *paths, "--embed-media"]) == 0
    (folder / "answers.json").write_text(json.dumps(list(_answers(folder))))
    _make_models(folder)
    commented = [
        make_record(
            f"c{n}",
            responses=[
                {
                    "response_id": name,
                    "text": f"It is {name}.",
                    "critique": {"human": f"Wrong {name}."},
                }
                for name in (f"a{n}", f"b{n}")
            ],
            ranking={"ranks": {f"a{n}": 1, f"b{n}": 2}},
        )
        for n in range(2)
    ]
    write_records(commented, str(folder / "commented.jsonl"))
    endpoint = {"name": "m", "baseUrl": server, "model": "m", "retry": {"firstWait": 0.01}}
    (folder / "endpoints.yaml").write_text(yaml.safe_dump({"endpoints": [endpoint]}))


def _make_models(folder: Path) -> None:
    """A candidate that is better than the champion, and an alias of another one."""
    criterion = {"name": "bench", "measure": "outcomes", "figure": "right"}
    (folder / "rules.yaml").write_text(yaml.safe_dump({"criteria": [criterion]}))
    for name, right in (("candidate", True), ("champion", False)):
        rows = [{"query": f"q{n}", "figures": {"right": right or n < 50}} for n in range(200)]
        results = {"version": "GateResults/v1", "data": "held-out", "rows": rows}
        (folder / f"{name}.json").write_text(json.dumps(results))
    store = ArtifactStore(str(folder))
    for name in ("one", "two"):
        (folder / f"new-{name}").mkdir()
        (folder / f"new-{name}" / "weights").write_text(name)
        store.publish(folder / f"new-{name}", f"models/{name}")
    uri = str(folder / "models/two")
    AliasStore(str(folder)).move(
        "default/vqa",
        uri,
        Cause("promote", "the first"),
        now=datetime(2026, 11, 29, tzinfo=UTC),
        of=None,
        digest=artifact_digest(uri),
    )


def _answers(folder: Path) -> Iterator[dict[str, Any]]:
    key = read_key(str(folder / "key.jsonl"))
    shown = json.loads((folder / "tasks/tasks-00001.json").read_text())
    for number, task in enumerate(shown):
        known = key[task["data"]["task_id"]]
        if not known.self_test:
            annotation = {
                "id": number,
                "completed_by": 1,
                "result": results(fill(known, (2, 1, 3))),
                "was_cancelled": False,
                "updated_at": "2026-11-24T07:19:34.880837Z",
                "lead_time": 15.7,
            }
            yield {"id": number, "data": task["data"], "annotations": [annotation]}


@contextmanager
def model_server(
    *,
    answers: int | None = None,
    held: threading.Event | None = None,
    asked: list[str] | None = None,
    say: Callable[[str], str] | None = None,
    bodies: list[Any] | None = None,
) -> Iterator[str]:
    """A server that says back what it was asked, with some words more, or what it is told to say.

    Args:
        answers: Requests that it answers; None for all. It holds the others until it ends.
        held: Set when it holds one.
        asked: Is given the text of each request, once it comes.
        say: What it says to a text.
        bodies: Is given the body of each request.
    """
    left = count(0 if answers is None else -answers)
    over = threading.Event()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            if bodies is not None:
                bodies.append(body)
            content = body["messages"][0]["content"]
            text = said = content if isinstance(content, str) else content[-1]["text"]
            if asked is not None:
                asked.append(f"{said} {body.get('seed')}")
            if answers is not None and next(left) >= 0:
                assert held is not None
                held.set()
                over.wait()
                return
            # Of the prompt of Table 7 the comment alone.
            said = said.rpartition("for the answer:] ")[2].partition("\n\nExpanded")[0]
            told = f"Said of {said}" if say is None else say(text)
            choice = {"message": {"content": told}, "finish_reason": "stop"}
            answer = json.dumps({"choices": [choice], "model": "m"}).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(answer)))
            self.send_header("X-Request-Id", self.headers["X-Request-Id"])
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/v1"
    finally:
        over.set()
        server.shutdown()
        thread.join()
        server.server_close()


def _placed(text: str, folder: Path, out: Path) -> str:
    return text.replace("{in}", str(folder)).replace("{out}", str(out))
