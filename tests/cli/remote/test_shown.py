"""How jobs look: the text itself, without a server."""

from __future__ import annotations

import json

import pytest
import yaml

from mmrlhf.client.views import JobView
from mmrlhf_api.kinds import KINDS
from mmrlhfctl.text.differences import difference
from mmrlhfctl.text.endings import detached, failure
from mmrlhfctl.text.events import concerns, in_order
from mmrlhfctl.text.job import description, summary
from mmrlhfctl.text.jobs import JobColumns, fitting
from mmrlhfctl.text.output import as_json, as_names, as_yaml
from mmrlhfctl.text.table import Cell, Style, Table
from tests.cli.remote.specimens import NOW, ago, condition, event, job, job_body, pod

RUNNING = {
    "phase": "Running",
    "reason": "AllPodsRunning",
    "observedGeneration": 1,
    "attempt": 1,
    "restarts": 1,
    "startTime": ago(hours=3),
    "pods": {"ready": 2, "total": 2, "summary": "2/2"},
    "progress": {
        "step": 30,
        "totalSteps": 120,
        "loss": 0.612345,
        "margin": 0.125,
        "accuracy": 0.75,
        "tokensPerSecond": 12345.6,
        "etaSeconds": 3725,
        "updatedAt": ago(seconds=4),
    },
    "artifacts": {"uri": "s3://bucket/runs/vision/digits/uid-digits"},
    "conditions": [
        condition("Accepted", "Valid"),
        condition("Running", "AllPodsRunning", "2 of 2 pods run"),
        condition("Restarting", "Resumed", status="False"),
    ],
}


CHOOSING = {
    "phase": "Running",
    "reason": "AllPodsRunning",
    "pods": {"summary": "1/2"},
    "progress": {
        "step": 31,
        "stage": "embed",
        "rowsRead": 1_234_567,
        "mediaEmbedded": 45_678,
        "itemsPerSecond": 812.4,
        "etaSeconds": 3725,
        "updatedAt": ago(seconds=4),
    },
}


def listed(
    *jobs: JobView, namespaces: bool = False, wide: bool = False, every: bool = False
) -> list[str]:
    kinds = list(KINDS.values()) if every else [job.kind for job in jobs]
    columns = JobColumns(kinds, namespaces=namespaces, wide=wide)
    return Table(columns.headers).lines([columns.row(job, NOW) for job in jobs])


def test_a_list_of_samplings_tells_what_they_have_read_embedded_and_selected() -> None:
    lines = listed(job("ClusterSampleJob", "choose", status=CHOOSING), wide=True)
    assert [line.split() for line in lines] == [
        [
            *("KIND", "NAME", "PHASE", "REASON", "READY", "ATTEMPT", "STAGE", "READ"),
            *("EMBEDDED", "SELECTED", "AGE", "LOSS", "ETA", "QUEUE", "NODEPOOL"),
        ],
        [
            *("csj", "choose", "Running", "AllPodsRunning", "1/2", "0", "embed", "1234567"),
            *("45678", "-", "4h", "-", "62m", "-", "-"),
        ],
    ]
    glanced = summary(job("ClusterSampleJob", "choose", status=CHOOSING), NOW)
    assert (
        "Progress:    embed:  1,234,567 rows read  45,678 media embedded  812 a second  62m left"
        "  (4s ago)"
    ) in glanced


def test_a_list_has_the_same_columns_for_all_kinds() -> None:
    lines = listed(
        job(status=RUNNING),
        job("RewardTrainJob", "judge", status={"phase": "Pending", "pods": {"summary": "0/4"}}),
        job("ClusterSampleJob", "choose", status={"progress": {"step": 7, "rowsRead": 50}}),
    )
    assert [line.split() for line in lines] == [
        [
            *("KIND", "NAME", "PHASE", "REASON", "READY", "ATTEMPT", "STEP", "MARGIN"),
            *("ACCURACY", "READ", "SELECTED", "AGE"),
        ],
        [
            *("mmdpo", "digits", "Running", "AllPodsRunning", "2/2", "1", "30/120", "0.125"),
            *("0.75", "-", "-", "4h"),
        ],
        ["rtj", "judge", "Pending", "-", "0/4", "0", *"-----", "4h"],
        ["csj", "choose", *"-------", "50", "-", "4h"],
    ]
    assert {line.index(end) for line, end in zip(lines, ["AGE", *["4h"] * 3], strict=True)} == {
        len(lines[0]) - 3
    }
    assert [line.split() for line in listed(job("ClusterSampleJob", "choose"), every=True)] == [
        lines[0].split(),
        ["csj", "choose", *"-" * 9, "4h"],
    ]


def test_wide_and_all_namespaces_add_columns() -> None:
    lines = listed(
        job(status=RUNNING, nodePool="h800", scheduling={"queue": "nightly"}),
        namespaces=True,
        wide=True,
    )
    assert lines[0].split() == [
        *("NAMESPACE", "KIND", "NAME", "PHASE", "REASON", "READY", "ATTEMPT", "STEP", "MARGIN"),
        *("ACCURACY", "AGE", "LOSS", "ETA", "QUEUE", "NODEPOOL"),
    ]
    assert lines[1].split()[10:] == ["4h", "0.6123", "62m", "nightly", "h800"]


def test_a_terminal_of_80_columns_shows_what_tells_most() -> None:
    kinds = [job().kind]
    columns = JobColumns(kinds, namespaces=False, wide=False)
    headers, row = columns.headers, columns.row(job(status=RUNNING), NOW)

    def shown(width: int) -> list[str]:
        return [headers[place] for place in fitting(headers, [row], width)]

    assert shown(200) == headers
    assert shown(80) == ["KIND", "NAME", "PHASE", "REASON", "READY", "STEP", "MARGIN", "AGE"]
    assert shown(1) == ["KIND", "NAME", "PHASE", "REASON", "AGE"]
    table = Table(shown(80))
    kept = [row[headers.index(name)] for name in shown(80)]
    assert max(map(len, table.lines([kept]))) <= 80


def test_a_job_that_has_ended_has_no_time_left() -> None:
    ended = job(status={**RUNNING, "phase": "Succeeded", "completionTime": ago(minutes=30)})
    headers, row = (line.split() for line in listed(ended, wide=True))
    assert row[headers.index("ETA")] == "-"
    lines = summary(ended, NOW)
    assert "Started:     2026-11-23T09:00:00Z (ran 150m)" in lines
    assert "Ended:       2026-11-23T11:30:00Z (30m ago)" in lines
    assert not any("left" in line for line in lines)


def test_rows_that_come_later_keep_the_columns() -> None:
    table = Table(["NAME", "PHASE"])
    assert table.lines([["digits", "Running"]]) == ["NAME     PHASE", "digits   Running"]
    assert table.lines([["d", "Succeeded"]], header=False) == ["d        Succeeded"]


def test_colours_do_not_move_columns() -> None:
    rows: list[list[str | Cell]] = [
        [Cell("Failed", Style.BAD), "x"],
        [Cell("Running", Style.BUSY), "y"],
    ]
    plain = Table(["PHASE", "N"]).lines(rows)
    coloured = Table(["PHASE", "N"], colours=True).lines(rows)
    assert coloured[1] == "\x1b[31mFailed\x1b[0m    x"
    assert [line.index(end) for line, end in zip(plain[1:], "xy", strict=True)] == [10, 10]


def test_a_job_that_is_being_deleted_says_so() -> None:
    going = job(status=RUNNING, metadata={"deletionTimestamp": ago(seconds=3)})
    assert "Deleting" in listed(going)[1]


def test_a_glance_says_where_why_and_how_far() -> None:
    assert summary(job(status=RUNNING), NOW) == [
        "Job:         MMDPOJob vision/digits",
        "Phase:       Running (AllPodsRunning)",
        "Message:     2 of 2 pods run",
        "Ready:       2/2 pods",
        "Attempt:     1 (1 of 3 restarts used)",
        "Started:     2026-11-23T09:00:00Z (runs 3h)",
        (
            "Progress:    step 30/120 (25 %)  loss 0.6123  margin 0.125  accuracy 0.750  "
            "12,346 tokens/s  62m left  (4s ago)"
        ),
        "Artifacts:   s3://bucket/runs/vision/digits/uid-digits",
    ]


def test_the_message_is_that_of_the_phase() -> None:
    failed = job(
        status={
            "phase": "Failed",
            "reason": "InvalidInput",
            "conditions": [
                condition("Accepted", "Valid", "the spec is valid"),
                condition("Restarting", "InvalidInput", "old words", status="False"),
                condition("Failed", "InvalidInput", "data.jsonl, row 3: no responses"),
            ],
        }
    )
    assert failed.message == "data.jsonl, row 3: no responses"
    refused = job(
        status={
            "phase": "Pending",
            "reason": "SecretMissing",
            "conditions": [condition("Accepted", "SecretMissing", "no Secret s3", status="False")],
        }
    )
    assert refused.message == "no Secret s3"


def test_the_message_of_the_status_goes_before_those_of_conditions() -> None:
    waiting = job(
        status={
            "phase": "Pending",
            "reason": "WaitingForPods",
            "message": "pods of an earlier attempt are not gone yet",
            "conditions": [condition("Running", "WaitingForPods", "0 of 2 pods run", "False")],
        }
    )
    assert "Message:     pods of an earlier attempt are not gone yet" in summary(waiting, NOW)


def test_a_job_that_nobody_has_seen_says_so() -> None:
    assert "no operator has looked at this job yet" in "\n".join(summary(job(), NOW))


def test_a_status_of_an_older_spec_says_so() -> None:
    lines = summary(job(status=RUNNING, metadata={"generation": 3}), NOW)
    assert "Note:        this is about spec version 1; the latest is 3" in lines


def test_the_description_is_whole() -> None:
    pods = [
        pod(
            "digits-1-1",
            attempt=1,
            rank=1,
            state={"running": {}},
            phase="Running",
            spec={"nodeName": "n2"},
        ),
        pod(
            "digits-0-0",
            state={"terminated": {"exitCode": 137, "reason": "OOMKilled", "message": "too\nlarge"}},
        ),
        pod("digits-1-0", attempt=1, state={"waiting": {"reason": "ImagePullBackOff"}}),
    ]
    events = in_order(
        [
            event("digits", "Restarting", "attempt 1 begins", kind="MMDPOJob"),
            event("digits-0-0", "OOMKilling", "memory", lastTimestamp=ago(hours=1), count=3),
        ]
    )
    lines = description(job(status=RUNNING), pods, events, NOW)
    assert "Created:     2026-11-23T08:00:00Z (4h ago)" in lines
    assert "Nodes:       1 (1 processes and 0 GPUs each)" in lines
    start = lines.index("Conditions:")
    assert lines[start + 1 : start + 5] == [
        "  TYPE         STATUS   REASON           SINCE   MESSAGE",
        "  Accepted     True     Valid            5m      -",
        "  Running      True     AllPodsRunning   5m      2 of 2 pods run",
        "  Restarting   False    Resumed          5m      -",
    ]
    start = lines.index("Pods:")
    assert [line.split() for line in lines[start + 2 : start + 5]] == [
        ["digits-0-0", "0", "0", "OOMKilled", "137", "-", "9m", "too", "large"],
        ["digits-1-0", "1", "0", "ImagePullBackOff", "-", "-", "9m", "-"],
        ["digits-1-1", "1", "1", "Running", "-", "n2", "9m", "-"],
    ]
    assert lines[-2:] == [
        "  60m    Normal   OOMKilling   pod/digits-0-0   memory (x3)",
        "  2m     Normal   Restarting   mmdpo/digits     attempt 1 begins",
    ]


@pytest.mark.parametrize(
    ("found", "wanted"),
    [
        (event("digits", "Created", "", kind="MMDPOJob"), True),
        (event("digits-0-12", "Pulled", ""), True),
        (event("digits-0-0", "Pulled", "", lastTimestamp=ago(hours=5)), False),
        (event("digits-two-0-0", "Pulled", ""), False),
        (event("digits-0-0-0", "Pulled", ""), False),
        (event("digits", "Created", "", kind="RewardTrainJob"), True),
        (event("other", "Created", "", kind="MMDPOJob"), False),
        (event("digits-0-0", "Synced", "", kind="Service"), False),
    ],
)
def test_events_of_others_are_left_out(found: dict[str, object], wanted: bool) -> None:
    assert concerns(found, job()) is wanted


def test_data_forms_are_the_objects_and_nothing_else() -> None:
    bodies = [job_body(status=RUNNING), job_body("RewardTrainJob", "judge")]
    data = json.loads(as_json(bodies))
    assert data["kind"] == "List"
    assert [item["metadata"]["name"] for item in data["items"]] == ["digits", "judge"]
    assert "managedFields" not in data["items"][0]["metadata"]
    assert yaml.safe_load(as_yaml(bodies[:1], single=True))["status"] == RUNNING
    assert as_names(bodies) == "mmdpojob.mmrlhf.io/digits\nrewardtrainjob.mmrlhf.io/judge\n"


def test_a_difference_shows_fields_and_not_the_servers_own() -> None:
    before = job_body(training__epochs=1, status=RUNNING)
    after = job_body(training__epochs=2, metadata={"generation": 2, "resourceVersion": "8"})
    lines = difference(before, after, name="digits").splitlines()
    changes = [line for line in lines[2:] if line[0] in "+-"]
    assert changes == ["-    epochs: 1", "+    epochs: 2"]
    assert difference(before, before, name="digits") == ""
    assert difference(None, after, name="digits").count("\n+") > 5


def test_leaving_says_whether_the_job_goes_on(capsys: pytest.CaptureFixture[str]) -> None:
    left = detached(job(status=RUNNING))
    assert (left.code, left.lines) == (130, ())
    told = capsys.readouterr().err
    assert told.startswith("detached; MMDPOJob vision/digits is kept and goes on: ")
    assert "cancel mmdpo/digits -n vision` stops it for good" in told
    ended = detached(job(status={**RUNNING, "phase": "Succeeded"}))
    assert (ended.code, ended.lines) == (130, ())
    told = capsys.readouterr().err
    assert told == "detached; MMDPOJob vision/digits has ended (Succeeded)\n"


@pytest.mark.parametrize(
    ("reason", "lines"),
    [
        ("Cancelled", ["MMDPOJob vision/digits was cancelled"]),
        ("OutOfMemory", ["MMDPOJob vision/digits failed (OutOfMemory): words", "more about it: "]),
    ],
)
def test_a_job_that_did_not_succeed_fails_the_command(reason: str, lines: list[str]) -> None:
    status = {
        "phase": "Failed",
        "reason": reason,
        "conditions": [condition("Failed", reason, "words")],
    }
    error = failure(job(status=status))
    assert error is not None
    assert error.code == 1
    assert len(error.lines) == len(lines)
    assert all(told.startswith(start) for told, start in zip(error.lines, lines, strict=True))
    assert failure(job(status=RUNNING)) is None


def test_every_kind_can_be_shown() -> None:
    for name in KINDS:
        assert description(job(name, status={"phase": "Pending"}), [], [], NOW)
