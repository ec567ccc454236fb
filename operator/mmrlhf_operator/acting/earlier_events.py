"""What operators before this one have told by events, looked up once for a namespace."""

from __future__ import annotations

from datetime import datetime
from typing import Final

from mmrlhf_api.constants import MANAGER
from mmrlhf_operator.acting.shared_looks import SharedLooks
from mmrlhf_operator.kube.api import Api, collection

__all__ = ["EarlierEvents"]

_SECONDS: Final = 60.0
"""For which a look is good: whoever asks wants to know what was told before this operator began."""


class EarlierEvents:
    """Names of the events that operators have told."""

    def __init__(self) -> None:
        self._looks = SharedLooks(_names, seconds=_SECONDS)

    async def names(self, api: Api, namespace: str, *, now: datetime) -> frozenset[str]:
        """Return the names of those in a namespace.

        Raises:
            ServerError: They cannot be listed.
            UnreachableError: The server does not answer.
        """
        return await self._looks.within(api, namespace, now=now)

    async def close(self) -> None:
        """End the looks that are under way."""
        await self._looks.close()


async def _names(api: Api, namespace: str) -> frozenset[str]:
    path, ours = collection("Event", namespace), f"source={MANAGER}"
    listed = await api.all_metadata(path, ("name",), fieldSelector=ours)
    return frozenset(entry["name"] for entry in listed)
