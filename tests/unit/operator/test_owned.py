"""Objects that runs and pipelines own, made where the server speaks of conflicts."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any, cast

import pytest

from mmrlhf_operator.acting.owned import create_owned, patch_if_there
from mmrlhf_operator.errors import PostponeError, ServerError
from mmrlhf_operator.kube.api import Api
from mmrlhf_operator.planning.reasons import OperatorReason


class Refusing:
    """A server that refuses what is written, and has what it is told to have."""

    def __init__(self, there: dict[str, Any] | None, status: int = 409) -> None:
        self.there = there
        self.status = status

    async def patch(self, path: str, _: dict[str, Any]) -> None:
        raise ServerError(status=self.status, reason="", message="no", request=f"PATCH {path}")

    async def create(self, path: str, _: dict[str, Any]) -> None:
        words = "the object has been modified"
        raise ServerError(status=409, reason="Conflict", message=words, request=f"POST {path}")

    async def find(self, _: str) -> dict[str, Any] | None:
        return self.there


def owned_by(uid: str) -> dict[str, Any]:
    return {"metadata": {"name": "a", "ownerReferences": [{"uid": uid, "controller": True}]}}


def create(there: dict[str, Any] | None) -> Any:
    api = cast("Api", Refusing(there))
    body = {"metadata": {"name": "a"}}
    made = create_owned(api, "/things", body, uid="me", what="Thing a", foreign="of another")
    return asyncio.run(made)


def test_one_that_is_there_and_ours_was_made_before_and_another_is_in_the_way() -> None:
    assert create(owned_by("me")) == (False, None)
    made, conflict = create(owned_by("you"))
    assert (made, conflict.reason) == (False, OperatorReason.NAME_CONFLICT)


def test_a_conflict_over_what_is_not_there_is_no_reason_to_wait_for_it() -> None:
    with pytest.raises(PostponeError, match="Thing a is in conflict, and not there"):
        create(None)


@pytest.mark.parametrize(
    ("status", "raised"), [(409, PostponeError), (404, None), (500, ServerError)]
)
def test_a_patch_is_given_up_only_where_there_is_nothing_to_patch(
    status: int, raised: type[Exception] | None
) -> None:
    api = cast("Api", Refusing(None, status))
    with pytest.raises(raised) if raised else contextlib.nullcontext():
        asyncio.run(patch_if_there(api, "/things/a", {"spec": {"cancel": True}}))
