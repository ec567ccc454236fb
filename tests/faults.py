"""The fault matrix: what can happen to a job, and what becomes of it then; one table for all.

::

    python -m tests.faults            write docs/faults.md
    python -m tests.faults --check    say whether the page is what this writes

`tests/operator/test_faults.py` does each of these to a job on a real API server and compares how it
ends with the row. What a process does by itself, the tests that a row names show besides.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

__all__ = ["FAULTS", "OF_THE_OPERATOR", "REAL", "Fault", "page"]

ROOT: Final = Path(__file__).resolve().parents[1]
PAGE: Final = ROOT / "docs/faults.md"
REAL: Final = "tests/operator/test_faults.py::test_every_fault_ends_as_the_matrix_says"
_PLANNING = "tests/unit/operator/test_planning.py"


@dataclass(frozen=True, kw_only=True)
class Fault:
    """A row: what happens to a job of two pods, a restart of which waits for nothing.

    Attributes:
        name: Of the job to which a test does it.
        what: What happens, in words.
        shown: The reasons that events and status show for it, in the order of the alphabet.
        or_shown: The reasons where the cluster says why it deletes a pod, from Kubernetes 1.25 on.
        says: A part of what is said with them.
        phase: Where the job ends; "" where it is gone.
        reason: The reason that it ends with.
        restarts: Restarts that it cost of `runPolicy.maxRestarts`.
        free: Restarts that were free of charge.
        pods: Its pods that are left in the end, as attempt and index.
        also: Tests that show the same from another side, such as that of the process.
    """

    name: str
    what: str
    shown: tuple[str, ...] = ()
    or_shown: tuple[str, ...] = ()
    says: str = ""
    phase: str = "Succeeded"
    reason: str = "Completed"
    restarts: int = 0
    free: int = 0
    pods: tuple[str, ...] = ("0-0", "0-1")
    also: tuple[str, ...] = ()


_AGAIN: Final = ("1-0", "1-1")
_ALONE: Final = ("0-1",)

FAULTS: Final[Sequence[Fault]] = (
    Fault(
        name="exits",
        what="a rank exits with 1",
        shown=("ApplicationError",),
        says="exits-0-1 ended with exit code 1",
        phase="Failed",
        reason="ApplicationError",
        pods=_ALONE,
        also=(f"{_PLANNING}::test_exit_codes",),
    ),
    Fault(
        name="bad-input",
        what="a rank says that its input is wrong",
        shown=("InvalidInput",),
        says="train.jsonl, row 3",
        phase="Failed",
        reason="InvalidInput",
        pods=_ALONE,
        also=("tests/jobs/test_launch.py::test_bad_input_ends_with_the_jobs_own_exit_code",),
    ),
    Fault(
        name="out-of-memory",
        what="the kernel kills a rank that went over its limit of memory",
        shown=("OutOfMemory",),
        says="OOMKilled",
        phase="Failed",
        reason="OutOfMemory",
        pods=_ALONE,
    ),
    Fault(
        name="killed",
        what="a rank gets SIGKILL, and its peers blame each other",
        shown=("Killed",),
        says="killed-0-1 ended with exit code 137",
        restarts=1,
        pods=_AGAIN,
        also=(
            f"{_PLANNING}::test_a_pod_that_blames_its_peer_is_not_the_cause",
            "tests/jobs/test_launch.py::test_a_killed_process_ends_with_the_code_of_its_signal",
            "tests/jobs/watch/test_hangs.py::test_a_killed_process_ends_the_job_with_its_signal_and_rows",
        ),
    ),
    Fault(
        name="terminated",
        what="all ranks get SIGTERM",
        shown=("Killed",),
        says="143",
        restarts=1,
        pods=_AGAIN,
    ),
    Fault(
        name="deleted",
        what="somebody deletes a pod",
        shown=("PodDeleted",),
        says="deleted-0-1",
        free=1,
        pods=_AGAIN,
        also=(
            "tests/operator/test_watches.py::test_a_pod_that_is_gone_unheard_is_made_anew",
            "tests/e2e/test_acceptance.py::test_a_job_survives_what_happens_to_pods_and_operator",
        ),
    ),
    Fault(
        name="preempted-twice",
        what="pods of higher priority take a node, twice, from a job without a budget",
        shown=("Preempted",),
        says="PreemptionByScheduler",
        free=2,
        pods=("2-0", "2-1"),
        also=("tests/unit/operator/test_restarts.py::test_free_restarts_end_however_attempts_do",),
    ),
    Fault(
        name="node-not-ready",
        what="a node falls silent, and comes back",
        shown=("NodeLost",),
        says="is gone or unreachable",
        free=1,
        pods=("1-0",),
        also=(f"{_PLANNING}::test_pods_of_a_lost_node_are_forgotten_after_a_deadline",),
    ),
    Fault(
        name="node-deleted",
        what="a node is deleted",
        shown=("PodDeleted",),
        or_shown=("NodeLost",),
        free=1,
        pods=("1-0",),
    ),
    Fault(
        name="node-shut-down",
        what="a node is shut down",
        shown=("NodeLost",),
        says="imminent node shutdown",
        free=1,
        pods=_AGAIN,
        also=("tests/unit/operator/test_causes.py::test_what_a_kubelet_says",),
    ),
    Fault(
        name="disk-pressure",
        what="a node is short of disk and evicts a pod",
        shown=("Evicted",),
        says="low on resource",
        free=1,
        pods=_AGAIN,
        also=("tests/unit/operator/test_causes.py::test_what_a_kubelet_says",),
    ),
    Fault(
        name="node-refuses",
        what="a kubelet lets a pod not begin",
        shown=("NodeRefused",),
        says="no healthy devices",
        free=1,
        pods=_AGAIN,
        also=("tests/unit/operator/test_restarts.py::test_free_restarts_end_however_attempts_do",),
    ),
    Fault(
        name="over-its-limit",
        what="a pod goes over its own limit of disk",
        shown=("StorageFull",),
        says="exceeds the limit",
        phase="Failed",
        reason="StorageFull",
        pods=_ALONE,
    ),
    Fault(
        name="disk-full",
        what="no space is left where artifacts are written",
        shown=("StorageFull",),
        says="disk full",
        phase="Failed",
        reason="StorageFull",
        pods=_ALONE,
        also=(
            "tests/unit/storage/test_artifacts.py::test_a_full_disk_is_told_and_nothing_half_written_is_left",
        ),
    ),
    Fault(
        name="image-missing",
        what="an image cannot be pulled, for as long as `deadlines.imagePull`",
        shown=("ImagePullFailed",),
        says="no such image",
        phase="Failed",
        reason="ImagePullFailed",
        pods=(),
    ),
    Fault(
        name="secret-missing",
        what="a Secret is missing, and comes",
        shown=("SecretMissing",),
        says="late",
        also=("tests/operator/test_refusals.py::test_a_secret_that_arrives_late_is_enough",),
    ),
    Fault(
        name="name-late",
        what="DNS knows the first pod too late",
        shown=("Killed",),
        says="does not resolve",
        restarts=1,
        pods=_AGAIN,
        also=(
            "tests/jobs/test_launch.py::test_a_node_that_does_not_come_is_named_with_the_reason",
            "tests/jobs/test_launch.py::test_a_name_that_resolves_late_is_waited_for",
        ),
    ),
    Fault(
        name="store-away",
        what="the store is away during a checkpoint for longer than the run waits",
        shown=("StorageUnavailable",),
        says="s3.example.test",
        restarts=1,
        pods=_AGAIN,
        also=(
            "tests/s3/test_training.py::test_an_outage_of_seconds_costs_no_attempt",
            "tests/s3/test_training.py::test_a_longer_outage_ends_the_attempt_and_the_next_one_goes_on",
        ),
    ),
    Fault(
        name="store-fails",
        what="before the start the store answers with 500, and then well",
        shown=("StorageUnreachable",),
        says="it fails with an error of its own",
        also=("tests/s3/test_look_ups.py::test_a_real_store_is_understood",),
    ),
    Fault(
        name="store-denies",
        what="before the start the store answers with 403, and then well",
        shown=("StorageDenied",),
        says="access denied",
        also=("tests/s3/test_artifacts.py::test_credentials_that_do_not_fit_are_the_users_error",),
    ),
    Fault(
        name="store-redirects",
        what="before the start the store sends elsewhere, and then answers well",
        shown=("StorageUnreachable",),
        says="redirects to another address",
        also=("tests/unit/operator/test_preflight.py::test_redirects_are_told_and_not_followed",),
    ),
    Fault(
        name="store-is-slow",
        what="before the start the store does not answer, and then does",
        shown=("StorageUnreachable",),
        says="in time",
        also=(
            "tests/unit/operator/test_preflight.py::test_a_store_that_says_nothing_is_left",
            "tests/operator/test_refusals.py::test_stores_that_never_answer_hold_up_nobody",
            "tests/s3/test_slow_uploads.py::test_training_goes_on_while_the_store_takes_a_checkpoint",
        ),
    ),
    Fault(
        name="stalls",
        what="no progress for `stallTimeoutSeconds`",
        shown=("Stalled",),
        restarts=1,
        pods=_AGAIN,
        also=(
            f"{_PLANNING}::test_stall_restarts_and_silence_before_the_operator_listened_does_not_count",
        ),
    ),
    Fault(
        name="hangs",
        what="a process stands still within a step",
        shown=("Stalled",),
        says="stands still",
        restarts=1,
        pods=_AGAIN,
        also=(
            "tests/jobs/watch/test_hangs.py::test_a_process_that_stands_still_ends_the_job",
            "tests/jobs/watch/test_hangs.py::test_the_other_node_ends_for_the_same_reason",
        ),
    ),
    Fault(
        name="rank-gone",
        what="one rank has ended well, the other runs on until `deadlines.lastRanks`",
        shown=("Stalled",),
        restarts=1,
        pods=_AGAIN,
        also=(
            f"{_PLANNING}::test_ranks_that_run_on_after_others_ended_well_are_told_at_once_and_have_a_deadline",
        ),
    ),
    Fault(
        name="node-clock",
        what="the clock of a node is an hour ahead",
        shown=("Killed",),
        restarts=1,
        pods=_AGAIN,
        also=(
            "tests/unit/operator/test_clocks.py::test_a_failure_is_judged_when_the_others_had_time_to_show_theirs",
        ),
    ),
    Fault(
        name="suspended-in-restart",
        what="the job is suspended while it waits to restart, and resumed",
        shown=("Killed",),
        restarts=1,
        pods=_AGAIN,
    ),
    Fault(
        name="deleted-in-start",
        what="the job is deleted while its pods start",
        phase="",
        reason="",
        pods=(),
        also=("tests/operator/test_removal.py::test_deletion_leaves_nothing_behind",),
    ),
    Fault(
        name="sidecar-runs-on",
        what="what a policy put beside the job runs on after it",
        pods=(),
        also=(
            "tests/unit/operator/test_side_containers.py::test_a_native_one_that_keeps_the_job_from_starting_is_named",
        ),
    ),
    Fault(
        name="sidecar-crashes",
        what="what a policy put beside the job has crashed",
        also=(
            "tests/unit/operator/test_side_containers.py::test_one_that_crashes_beside_the_job_is_nothing_to_it",
            "tests/unit/operator/test_side_containers.py::test_a_native_one_that_crashes_before_the_job_is_started_anew_by_its_kubelet",
            "tests/unit/operator/test_side_containers.py::test_an_init_container_that_fails_before_the_job_is_named",
        ),
    ),
    Fault(
        name="webhook-down",
        what="a webhook for pods does not answer, and goes",
        shown=("WriteFails",),
        says="failed calling webhook",
        also=(
            "tests/unit/operator/test_troubles.py::test_what_fails_twice_is_told_until_it_is_done",
        ),
    ),
    Fault(
        name="finalizer",
        what="a finalizer of somebody else holds a pod that should go, and is taken off",
        shown=("Killed", "PodsRemain"),
        says="finalizer-0-1 is held by example.org/held",
        restarts=1,
        pods=_AGAIN,
        also=(
            "tests/unit/operator/test_pending.py::test_what_keeps_a_pod_of_an_earlier_attempt_is_told_and_has_a_deadline",
        ),
    ),
    Fault(
        name="server-restarts",
        what="the API server is away for seconds, and answers slowly before and after",
        also=(
            "tests/operator/test_watches.py::test_watches_that_fail_miss_nothing",
            "tests/operator/test_robustness.py::test_every_request_fails_once",
            "tests/operator/test_many_jobs.py::test_every_job_meets_its_fate_and_no_other",
        ),
    ),
    Fault(
        name="namespace-deleted",
        what="the namespace is deleted while the job runs",
        phase="",
        reason="",
        pods=(),
    ),
)
"""What happens to jobs, as the page lists it."""

_ROBUST = "tests/operator/test_robustness.py"
OF_THE_OPERATOR: Final[Mapping[str, tuple[str, ...]]] = {
    "it is killed at each write, just before or after": (
        f"{_ROBUST}::test_the_operator_dies_at_every_write",
    ),
    "two of them work at the same time": (f"{_ROBUST}::test_two_operators_overlap",),
    "each request fails once, or its answer is lost": (
        f"{_ROBUST}::test_every_request_fails_once",
    ),
    "requests fail by chance, and it dies every sixty writes": (
        "tests/operator/test_many_jobs.py::test_every_job_meets_its_fate_and_no_other",
    ),
    "watches break, expire, are refused, or fall silent": (
        "tests/operator/test_watches.py::test_watches_that_fail_miss_nothing",
    ),
    "its clock jumps": (
        "tests/unit/operator/test_clocks.py::test_the_operators_own_clock_does_not_jump",
    ),
}
"""What happens to the operator while jobs run, with the tests of it."""

_HEAD: Final = f"""# What happens to a job when something goes wrong

Written by `make crds` out of `tests/faults.py`. Every row is done to a job of two pods (one where a
node is lost) on a real API server, with pods that do what the test says, and the job must end as
the row says ([the test](../{REAL.partition("::")[0]})). `backoffSeconds` is 0 in it.
[Troubleshooting](troubleshooting.md) says what each reason means, and what to do about it.

- **Shown**: the reasons of the warnings that tell of it, as events; after "or" what is shown where
  the cluster says why it deletes a pod, from Kubernetes 1.25 on.
- **Ends as**: phase and reason in the end, when nothing else happens.
- **Budget**: restarts out of `runPolicy.maxRestarts`, and those that are free of charge.
- **Pods left**: as attempt and index: `1-0` is the first pod of the second attempt. Pods of the
  last attempt that have ended stay for their logs until the job is deleted.
- **Shown besides**: tests of the same from another side, such as that of the process.

"""
_OPERATOR: Final = """
## What happens to the operator

Jobs end as ever, no pod is made twice, and each transition is told once.

"""


def page() -> str:
    """Return docs/faults.md."""
    columns = ("What happens", "Shown", "Ends as", "Budget", "Pods left", "Shown besides")
    own = [(what, ", ".join(_links(tests))) for what, tests in OF_THE_OPERATOR.items()]
    return (
        _HEAD
        + _table(columns, map(_cells, FAULTS))
        + _OPERATOR
        + _table(("What happens", "Shown by"), own)
    )


def _table(columns: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = (columns, ("---",) * len(columns), *rows)
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _cells(fault: Fault) -> tuple[str, ...]:
    budget = [
        *([f"{fault.restarts} counted"] if fault.restarts else []),
        *([f"{fault.free} free"] if fault.free else []),
    ]
    return (
        fault.what,
        " or ".join(", ".join(_code(each)) for each in (fault.shown, fault.or_shown) if each)
        or "nothing",
        f"`{fault.phase}` ({fault.reason})" if fault.phase else "gone",
        ", ".join(budget) or "none",
        ", ".join(_code(fault.pods)) or "none",
        ", ".join(_links(fault.also)),
    )


def _code(words: Iterable[str]) -> list[str]:
    return [f"`{word}`" for word in words]


def _links(tests: Iterable[str]) -> list[str]:
    found = []
    for test in tests:
        path, _, name = test.partition("::")
        found.append(f"[{name.removeprefix('test_').replace('_', ' ')}](../{path})")
    return found


def main(arguments: Sequence[str]) -> int:
    """Write the page, or check it; returns the exit code."""
    if "--check" not in arguments:
        PAGE.write_text(page())
        return 0
    if PAGE.read_text() == page():
        return 0
    sys.stderr.write("docs/faults.md is not what tests/faults.py says: run `make crds`\n")
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
