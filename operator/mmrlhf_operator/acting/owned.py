"""What pipelines and their runs have in common: a status, objects that they own, and those gone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from mmrlhf_api.base import ApiModel
from mmrlhf_operator.acting import effects
from mmrlhf_operator.errors import PostponeError, ServerError
from mmrlhf_operator.kube.api import Api, Manifest
from mmrlhf_operator.planning.reasons import OperatorReason
from mmrlhf_operator.state.metadata import owner_uid
from mmrlhf_operator.state.store import Key
from mmrlhf_operator.state.views import Finding

__all__ = ["create_owned", "patch_if_there", "write_status"]

_STALE_SECONDS: Final = 0.5


async def write_status(
    api: Api, key: Key, path: str, seen: effects.Seen, status: ApiModel
) -> Manifest | None:
    """Write a status as `effects.write_status` does.

    Raises:
        PostponeError: The object has changed since it was read.
    """
    try:
        return await effects.write_status(api, path, seen, status)
    except ServerError as error:
        if not error.is_conflict:
            raise
        raise PostponeError(f"{key} has changed meanwhile", seconds=_STALE_SECONDS) from error


async def create_owned(
    api: Api, collection: str, manifest: Manifest, *, uid: str, what: str, foreign: str
) -> tuple[bool, Finding | None]:
    """Create an object; one that is there already and is owned was made before a crash.

    Args:
        api: The API server.
        collection: Where it goes.
        manifest: The object.
        uid: Of its owner.
        what: The object in words.
        foreign: What to say of another one that bears its name, after what it is.

    Returns:
        Whether it was made now, and what is in the way of it.

    Raises:
        PostponeError: The server speaks of a conflict, and there is no such object.
    """
    try:
        await api.create(collection, manifest)
    except ServerError as error:
        if error.is_conflict:
            there = await api.find(f"{collection}/{manifest['metadata']['name']}")
            if there is None:
                # It has just gone, or this was a conflict over something else, such as a quota.
                words = f"{what} is in conflict, and not there"
                raise PostponeError(words, seconds=_STALE_SECONDS) from error
            if owner_uid(there) == uid:
                return False, None
            message = f"there is a {what} {foreign}"
            return False, Finding(reason=OperatorReason.NAME_CONFLICT, message=message)
        if not error.is_final:
            raise
        message = f"the API server refuses {what}: {error.message}"
        return False, Finding(reason=OperatorReason.CREATION_REFUSED, message=message)
    return True, None


async def patch_if_there(api: Api, path: str, body: Mapping[str, Any]) -> None:
    """Patch an object, by its UID; one that is gone is left to the watch.

    Raises:
        PostponeError: Another one bears its name by now, or others write to it at this moment.
    """
    try:
        await api.patch(path, dict(body))
    except ServerError as error:
        if error.is_conflict:
            name = path.rpartition("/")[2]
            raise PostponeError(f"{name} is in conflict", seconds=_STALE_SECONDS) from error
        if not error.is_missing:
            raise
