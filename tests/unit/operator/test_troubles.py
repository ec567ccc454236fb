"""What fails and is tried again is told, in the words of whoever refuses."""

from __future__ import annotations

import pytest

from mmrlhf_operator.acting.troubles import Troubles
from mmrlhf_operator.errors import PostponeError, ServerError
from mmrlhf_operator.state.views import Finding
from tests.unit.operator.world import running

WORDS = 'failed calling webhook "pods.example.org": connection refused'


def fail(troubles: Troubles, error: Exception) -> None:
    with pytest.raises(type(error)), troubles.noted():
        raise error


def told(troubles: Troubles) -> str | None:
    return None if troubles.finding is None else troubles.finding.message


def refusal(request: str = "POST /api/v1/pods", status: int = 500) -> ServerError:
    return ServerError(status=status, reason="InternalError", message=WORDS, request=request)


def test_what_fails_twice_is_told_until_it_is_done() -> None:
    troubles = Troubles()
    fail(troubles, refusal())
    fail(troubles, refusal("DELETE /api/v1/pods/demo-0-0"))
    assert told(troubles) is None  # each failed once, as any request may
    fail(troubles, refusal())
    assert WORDS in (told(troubles) or "")
    assert "POST /api/v1/pods" in (told(troubles) or "")
    with troubles.noted():
        pass
    assert told(troubles) is None
    fail(troubles, refusal())
    assert told(troubles) is None


def test_what_failed_once_before_and_once_after_the_job_went_on_is_not_told() -> None:
    troubles = Troubles()
    fail(troubles, refusal())
    troubles.begin_anew()
    fail(troubles, refusal())
    assert told(troubles) is None
    fail(troubles, refusal())
    troubles.begin_anew()
    assert told(troubles) is not None


def test_what_fails_once_for_each_version_of_a_job_is_not_told() -> None:
    troubles = Troubles()
    for version in ("1", "2", "2"):
        assert told(troubles) is None
        with pytest.raises(ServerError), troubles.noted(version):
            raise refusal()
    assert told(troubles) is not None


def test_a_job_that_changed_meanwhile_is_no_trouble() -> None:
    troubles = Troubles()
    for _ in range(9):
        fail(troubles, refusal("PATCH /apis/x/demo/status", status=409))
    assert told(troubles) is None


def test_what_is_waited_for_is_told_after_a_while() -> None:
    troubles = Troubles()
    waits = PostponeError("Service mmdpo-demo of an earlier job is not gone yet", seconds=1.0)
    for _ in range(4):
        fail(troubles, waits)
    assert told(troubles) is None
    fail(troubles, waits)
    assert "Service mmdpo-demo" in (told(troubles) or "")


def test_it_is_a_condition_and_an_event_and_ends_as_such() -> None:
    there = running()
    there.blocked = Finding(reason="WriteFails", message=WORDS)
    there.reconcile()
    assert ("Warning", "WriteFails") in there.news
    entry = there.conditions["Blocked"]
    assert (entry["status"], entry["message"]) == ("True", WORDS)
    there.settle()
    there.blocked = None
    there.settle()
    assert there.conditions["Blocked"]["status"] == "False"
    for name in there.pods:
        there.finish(name)
    there.settle()
    assert there.status["phase"] == "Succeeded"
