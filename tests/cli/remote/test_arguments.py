"""What users may write, and what it means."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from mmrlhf.client.connection import Connection
from mmrlhf.client.log_stream import LogLine, Position, read_log
from mmrlhf.client.names import Target, parse_job_names, parse_targets
from mmrlhf.client.pods import chosen_pods
from mmrlhf.client.submission import manifest
from mmrlhf.client.times import parse_time
from mmrlhf.errors import MmrlhfError, UsageError
from mmrlhf_api import KINDS, parse_job
from mmrlhfctl.durations import format_span, parse_span
from mmrlhfctl.errors import CliError, exit_code
from mmrlhfctl.verbs.log_choice import (
    LogOptions,
    choose_attempt,
    nothing_to_show,
    parse_ranks,
    wants,
)
from mmrlhfctl.verbs.wait import parse_purpose
from tests.cli.remote.specimens import condition, job, pod, pod_body
from tests.unit.api.specimens import changed

Command = Callable[..., subprocess.CompletedProcess[str]]

MMDPO, RTJ, CSJ, SJ = KINDS.values()


@pytest.mark.parametrize(
    ("words", "kinds", "jobs"),
    [
        ([], (MMDPO, RTJ, CSJ, SJ), ()),
        (["mmdpo"], (MMDPO,), ()),
        (["RewardTrainJobs"], (RTJ,), ()),
        (["mmdpo,csj"], (MMDPO, CSJ), ()),
        (["digits"], (), (Target(None, "digits"),)),
        (["rtj", "a", "b"], (RTJ,), (Target(RTJ, "a"), Target(RTJ, "b"))),
        (["mmdpo/a", "csj/b"], (), (Target(MMDPO, "a"), Target(CSJ, "b"))),
        (["mmdpojob.mmrlhf.io/a"], (), (Target(MMDPO, "a"),)),
        (["mmdpojobs.v1alpha1.mmrlhf.io/a"], (), (Target(MMDPO, "a"),)),
        (["rewardtrainjobs.mmrlhf.io"], (RTJ,), ()),
    ],
)
def test_words_name_kinds_or_jobs(words: list[str], kinds: object, jobs: object) -> None:
    targets = parse_targets(words)
    assert (targets.kinds, targets.jobs) == (kinds, jobs)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["mmdpo/a", "b"], "where one job is KIND/NAME, all must be so"),
        (["mmdop/a"], "did you mean mmdpo?"),
        (["mmdpo,rtj", "a"], "give one kind with names"),
        (["mmdpo,x"], "unknown kind 'x'"),
    ],
)
def test_words_that_make_no_sense_are_refused(words: list[str], message: str) -> None:
    with pytest.raises(UsageError, match=message) as caught:
        parse_targets(words)
    assert exit_code(caught.value) == 2


def test_commands_about_a_job_want_a_name() -> None:
    with pytest.raises(UsageError, match="mmdpo is a kind: name a job"):
        parse_job_names(["mmdpo"])
    with pytest.raises(UsageError, match="this takes one job"):
        parse_job_names(["a", "b"], at_most=1)
    assert parse_job_names(["mmdpo", "a"], at_most=1) == (Target(MMDPO, "a"),)


@pytest.mark.parametrize(
    ("text", "seconds"), [("90", 90), ("1.5s", 1.5), ("5m", 300), ("1h30m", 5400), ("0", 0)]
)
def test_durations_are_read(text: str, seconds: float) -> None:
    assert parse_span(text) == seconds


@pytest.mark.parametrize("text", ["", "m", "5 m", "soon", "-3s", "1m1h"])
def test_other_durations_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="no duration"):
        parse_span(text)


def test_spans_are_short() -> None:
    day = 86400
    spans = [0, 119, 120, 330, 3 * 3600 - 1, 4 * 3600, 4.5 * 3600, 47 * 3600, 3 * day, 900 * day]
    shown = ["0s", "119s", "2m", "5m30s", "179m", "4h", "4h30m", "47h", "3d", "2y170d"]
    assert [format_span(span) for span in spans] == shown
    nanoseconds = parse_time("2026-11-23T12:00:00.123456789Z")
    assert nanoseconds == datetime(2026, 11, 23, 12, tzinfo=UTC) + timedelta(microseconds=123456)
    assert parse_time("yesterday") is None


def test_ranks_are_nodes_of_the_job() -> None:
    two = job(resources={"nodes": 2})
    assert wants(two, parse_ranks("all")) == {0, 1}
    assert wants(two, parse_ranks("last")) == {1}
    assert wants(two, parse_ranks("0, 1")) == {0, 1}
    with pytest.raises(CliError, match=r"--rank 2: .* has nodes 0 to 1") as caught:
        wants(two, parse_ranks("2"))
    assert caught.value.code == 2
    with pytest.raises(CliError, match="must be all, last"):
        parse_ranks("first")


def test_attempts_are_the_current_one_the_one_before_or_a_number() -> None:
    third = job(status={"phase": "Running", "attempt": 2})
    assert choose_attempt(third, LogOptions()) == 2
    assert choose_attempt(third, LogOptions(previous=True)) == 1
    assert choose_attempt(third, LogOptions(attempt=0)) == 0
    for current, options, message in (
        (third, LogOptions(attempt=3), "no attempt 3 yet; the current one is 2"),
        (job(), LogOptions(previous=True), "first attempt"),
        (third, LogOptions(attempt=1, previous=True), "exclude each other"),
    ):
        with pytest.raises(MmrlhfError, match=message):
            choose_attempt(current, options)


def test_pods_are_chosen_by_attempt_and_rank() -> None:
    pods = [pod(f"digits-{a}-{r}", attempt=a, rank=r) for a in (1, 0) for r in (1, 0)]

    def names(**choice: object) -> list[str]:
        return [one.name for one in chosen_pods(pods, **choice)]  # type: ignore[arg-type]

    assert names(attempt=0, ranks={0, 1}) == ["digits-0-0", "digits-0-1"]
    assert names(attempt=0, ranks={1}, onwards=True) == ["digits-0-1", "digits-1-1"]


def test_why_there_are_no_logs_is_said() -> None:
    waiting = job(
        status={
            "phase": "Pending",
            "reason": "Unschedulable",
            "conditions": [condition("Scheduled", "Unschedulable", "no GPUs", status="False")],
        }
    )
    error = nothing_to_show(waiting, attempt=0)
    assert "no pods yet; it is Pending (Unschedulable): no GPUs" in error.lines[0]
    assert "-f waits" in error.lines[1]
    assert exit_code(error) == 3
    ended = nothing_to_show(job(status={"phase": "Failed"}), attempt=0)
    assert "are gone, and their logs with them" in ended.lines[0]


def test_a_new_connection_repeats_nothing_and_drops_nothing() -> None:
    """The server starts over at the whole second; lines of one time may be cut in between."""
    log = [
        LogLine("2026-11-23T12:00:01.5Z", "a"),
        LogLine("2026-11-23T12:00:01.52Z", "b"),
        LogLine("2026-11-23T12:00:01.52Z", "c"),
        LogLine("2026-11-23T12:00:01.52Z", "c"),
        LogLine("2026-11-23T12:00:02Z", "d"),
    ]
    for cut in range(len(log) + 1):
        position = Position()
        seen = [line.text for line in log[:cut] if position.accept(line)]
        assert position.since in (None, "2026-11-23T12:00:01Z", "2026-11-23T12:00:02Z")
        again = log[4:] if position.since == "2026-11-23T12:00:02Z" else log
        position.reconnect()
        seen += [line.text for line in again if position.accept(line)]
        assert seen == list("abccd"), cut


def test_a_line_that_was_cut_is_read_again() -> None:
    """Cuts in the middle of a line are too rare on a real connection to wait for."""

    class Server:
        answers = iter(
            [
                [b"2026-11-23T12:00:01Z one\n", b"2026-11-23T12:00:01.5Z tw"],
                [b"2026-11-23T12:00:01Z one\n", b"2026-11-23T12:00:01.5Z two\n"],
            ]
        )
        ended = False

        def lines(self, path: str, *, query: dict[str, str]) -> Iterator[bytes]:
            yield from next(self.answers)
            self.ended = "sinceTime" in query

        def get(self, path: str) -> dict[str, object]:
            return pod_body(state={"terminated": {}} if self.ended else {"running": {}})

    shown = read_log(Server(), "vision", pod(state={"running": {}}), follow=True)  # type: ignore[arg-type]
    assert [line.text for line in shown] == ["one", "two"]


def test_lines_of_a_log_have_a_time_or_none() -> None:
    line = LogLine.parse(b"2026-11-23T12:00:01.123456789Z step  1 \xff\n")
    assert (line.time, line.text) == ("2026-11-23T12:00:01.123456789Z", "step  1 \ufffd")
    assert LogLine.parse(b"unable to retrieve logs") == LogLine("", "unable to retrieve logs")


def test_what_is_submitted_is_what_the_user_wrote() -> None:
    data = changed(training__epochs=2, resources={"cpu": 4}, metadata__labels={"team": "vision"})
    assert manifest(parse_job(data, source="-"), namespace="ns") == {
        **data,
        "metadata": {"name": "demo", "namespace": "ns", "labels": {"team": "vision"}},
        "spec": {**data["spec"], "resources": {"cpu": "4"}},
    }


def test_what_the_server_added_is_not_submitted_again() -> None:
    data = changed()
    data["metadata"] |= {
        "uid": "u",
        "resourceVersion": "1",
        "generation": 3,
        "managedFields": [],
        "creationTimestamp": "2026-11-23T12:00:00Z",
        "namespace": "vision",
    }
    data["status"] = {"phase": "Running"}
    body = manifest(parse_job(data, source="-"), namespace="")
    assert body["metadata"] == {"name": "demo", "namespace": "vision"}
    assert "status" not in body


def test_purposes_are_judged() -> None:
    verdict = parse_purpose("condition=running=false")
    assert verdict is not None
    paused = [condition("Running", "SuspendedByUser", status="False")]
    assert verdict(job(status={"phase": "Suspended", "conditions": paused}))
    assert not verdict(job(status={"phase": "Running"}))
    succeeded = parse_purpose("condition=Succeeded")
    assert succeeded is not None
    failed = job(status={"phase": "Failed", "reason": "OutOfMemory"})
    with pytest.raises(CliError, match=r"failed \(OutOfMemory\)") as caught:
        succeeded(failed)
    assert caught.value.code == 1
    assert parse_purpose("delete") is None
    for wrong in ("condition=Done", "field=x", "jsonpath={.a[}=b", "condition=Running=maybe"):
        with pytest.raises(CliError, match=re.escape(f"--for {wrong}")):
            parse_purpose(wrong)


@pytest.mark.parametrize(
    ("purpose", "met"),
    [
        ("jsonpath={.status.phase}=Running", True),
        ("jsonpath='{.status.phase}'='Running'".replace("'{", "{").replace("}'", "}"), True),
        ("jsonpath=.status.phase=Running", True),
        ("jsonpath=status.attempt=2", True),
        ("jsonpath={.status.attempt}=3", False),
        ("jsonpath={.status.phase}", True),
        ("jsonpath={.status.reason}", False),
        ('jsonpath={.status.conditions[?(@.type=="Running")].status}=True', True),
        ('jsonpath={.status.conditions[?(@.type=="Running")].status}=False', False),
    ],
)
def test_a_field_can_be_waited_for(purpose: str, met: bool) -> None:
    verdict = parse_purpose(purpose)
    assert verdict is not None
    runs = [condition("Running", "AllPodsRunning")]
    assert verdict(job(status={"phase": "Running", "attempt": 2, "conditions": runs})) is met


def test_a_field_of_a_job_that_has_ended_comes_no_more() -> None:
    verdict = parse_purpose("jsonpath={.status.phase}=Running")
    assert verdict is not None
    with pytest.raises(CliError, match=r"has ended \(Succeeded\), and .* is not Running"):
        verdict(job(status={"phase": "Succeeded"}))


def test_a_file_may_leave_the_end_of_the_name_open() -> None:
    data = changed()
    data["metadata"] = {"generateName": "digits-"}
    parsed = parse_job(data, source="-")
    assert (parsed.metadata.name, parsed.metadata.is_unnamed) == ("digits", True)
    assert manifest(parsed, namespace="")["metadata"] == {"name": "digits"}
    data["metadata"] = {"generateName": "digits-", "name": "digits-x2k7q"}  # as the server has it
    assert not parse_job(data, source="-").metadata.is_unnamed


def test_options_may_come_before_the_command() -> None:
    before = Connection(context="prod", namespace="a", request_timeout=5.0)
    assert Connection(namespace="b").over(before) == Connection(
        context="prod", namespace="b", request_timeout=5.0
    )
    assert Connection(request_timeout=0.0).over(before).request_timeout == 0.0


def test_a_plugin_of_kubectl_names_itself_so(tmp_path: Path) -> None:
    program = tmp_path / "kubectl-mmrlhf"
    program.write_text(
        f"#!{sys.executable}\nimport sys\nfrom mmrlhfctl.__main__ import main\nsys.exit(main())\n"
    )
    program.chmod(0o755)
    done = subprocess.run([program, "get", "--help"], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("Usage: kubectl mmrlhf get ")
    wrong = subprocess.run([program, "get", "-x"], capture_output=True, text=True, check=False)
    assert wrong.returncode == 2
    assert "kubectl mmrlhf get -h" in wrong.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["wait", "x", "--timeout", "soon"], "'soon' is no duration"),
        (["get", "-o", "xml"], "xml"),
        (["logs"], "JOB"),
        (["submit"], "name one job file"),
        (["submit", "a.yaml", "-f", "b.yaml"], "name one job file"),
        (["get", "mmdpo", "x", "-A"], "--all-namespaces does not go with names"),
        (["get", "-o", "jsonpath={.items"], "a brace is not closed"),
        (["get", "--sort-by", ".a[", "-w"], "a bracket is not closed"),
        (["get", "--sort-by", ".status.phase", "-w"], "--sort-by does not go with --watch"),
        (["delete"], "name a job, or give --all or --selector"),
        (["apply", "-f", "x"], "Did you mean: mmrlhfctl submit FILE?"),
        (["help", "kill"], "Did you mean: mmrlhfctl cancel JOB"),
    ],
)
def test_wrong_usage_is_found_before_a_cluster_is(
    command: Command, arguments: list[str], message: str
) -> None:
    done = command(*arguments, KUBECONFIG="/nowhere")
    assert (done.returncode, done.stdout) == (2, "")
    assert message in done.stderr
    assert "Traceback" not in done.stderr
