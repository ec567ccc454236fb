"""Finds PodGroups that their jobs need no more, and that nobody has deleted.

A gang is taken back once, with the change of phase or attempt that ends it. An operator that died
between the two leaves it, and with it what the scheduler sets aside. Nobody watches PodGroups: so
they are listed now and then, and what must not be there any more is taken back again.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from typing import Any, Final, Protocol

from mmrlhf_api.constants import LABEL_JOB, LABEL_KIND, LABEL_MANAGED_BY, MANAGER
from mmrlhf_operator.errors import ServerError, UnreachableError
from mmrlhf_operator.gangs.providers import PROVIDERS, Provider
from mmrlhf_operator.kube.api import Api
from mmrlhf_operator.planning.actions import Disband
from mmrlhf_operator.planning.queueing import needs_gang
from mmrlhf_operator.state.metadata import owner_uid
from mmrlhf_operator.state.store import Key

__all__ = ["LeftoverGangs"]

_LOG = logging.getLogger(__name__)
_GROUPS: Final = "podgroups"
_FIELDS: Final = ("name", "namespace", "labels", "ownerReferences")
_OURS: Final = f"{LABEL_MANAGED_BY}={MANAGER}"


class _Jobs(Protocol):
    def job(self, key: Key) -> dict[str, Any] | None: ...


class LeftoverGangs:
    """Looks for them.

    Args:
        api: The API server.
        store: What the watches have seen.
        namespaces: Namespaces that are served; none means all.
        found: Told of each, with its job; it looks at the job once more, as watches may be behind.
    """

    def __init__(
        self,
        api: Api,
        store: _Jobs,
        *,
        namespaces: tuple[str, ...],
        found: Callable[[Key, Disband], None],
    ) -> None:
        self._api = api
        self._store = store
        self._within = tuple(f"/namespaces/{name}" for name in namespaces) or ("",)
        self._found = found

    async def look(self, offered: Iterable[str]) -> None:
        """Make one look; what cannot be listed now is left for the next.

        Args:
            offered: Names of the providers that the cluster has.
        """
        for provider in PROVIDERS:
            if provider.plural == _GROUPS and provider.name in offered:
                for within in self._within:
                    await self._look_at(provider, f"{provider.path}{within}/{_GROUPS}")

    async def _look_at(self, provider: Provider, path: str) -> None:
        try:
            listed = await self._api.all_metadata(path, _FIELDS, labelSelector=_OURS)
        except (ServerError, UnreachableError) as error:
            _LOG.warning("cannot see whether gangs are left of jobs that are over: %s", error)
            return
        for metadata in listed:
            labels, name = metadata["labels"], metadata["name"]
            key = Key(labels.get(LABEL_KIND, ""), metadata["namespace"], labels.get(LABEL_JOB, ""))
            body = self._store.job(key)
            if body is None or body["metadata"]["uid"] != owner_uid({"metadata": metadata}):
                continue  # it goes with its job
            status = body.get("status") or {}
            stem, attempt = status.get("podStem") or key.name, status.get("attempt", 0)
            if not needs_gang(name, stem=stem, attempt=attempt, phase=status.get("phase")):
                _LOG.info("%s: PodGroup %s is left of what is over", key, name)
                self._found(key, Disband(api=provider.api, name=name))
