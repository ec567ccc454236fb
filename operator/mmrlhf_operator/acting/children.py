"""Jobs that runs and sweeps have made: seen, made, and told to stop."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from mmrlhf_api import KINDS
from mmrlhf_operator.acting.owned import create_owned, patch_if_there
from mmrlhf_operator.kube.api import Api, jobs
from mmrlhf_operator.planning.run_actions import CreateJob, PatchJob
from mmrlhf_operator.state.runs import ChildView
from mmrlhf_operator.state.store import Key, RunStore
from mmrlhf_operator.state.views import Finding

__all__ = ["Children", "NamedJob"]

_LOG = logging.getLogger(__name__)


class NamedJob(NamedTuple):
    """A job that was made, or may have been.

    Attributes:
        part: Step or point that it is of.
        kind: Its kind.
        name: Its name.
    """

    part: str
    kind: str
    name: str


class Children:
    """Jobs of what makes jobs.

    Args:
        api: The API server.
        store: What the watches have seen.
        word: What makes them, in a word, such as run.
    """

    def __init__(self, api: Api, store: RunStore, word: str) -> None:
        self._api = api
        self._store = store
        self._word = word

    def seen(self, key: Key, named: Iterable[NamedJob]) -> dict[str, ChildView]:
        """Return jobs as watches have last seen them, by part."""
        found = {one.part: self._store.job(Key(one.kind, key.namespace, one.name)) for one in named}
        return {part: ChildView.read(body) for part, body in found.items() if body is not None}

    async def there(
        self, key: Key, named: Iterable[NamedJob], seen: Mapping[str, ChildView]
    ) -> dict[str, ChildView]:
        """See whether jobs that the watches do not show are there, by asking."""
        children = dict(seen)
        for one in named:
            body = await self._api.find(f"{jobs(KINDS[one.kind], key.namespace)}/{one.name}")
            if body is None:
                children.pop(one.part, None)
            else:
                children[one.part] = ChildView.read(body)
        return children

    async def create(self, key: Key, uid: str, action: CreateJob) -> Finding | None:
        """Create a job; returns what is in the way."""
        kind, name = KINDS[action.manifest["kind"]], action.manifest["metadata"]["name"]
        made, conflict = await create_owned(
            self._api,
            jobs(kind, key.namespace),
            action.manifest,
            uid=uid,
            what=f"{kind.name} {name}",
            foreign=f"that does not belong to this {self._word}; remove it, or create the"
            f" {self._word} under another name",
        )
        if made:
            _LOG.info("%s: %s: made %s %s", key, action.step, kind.name, name)
        return conflict

    async def patch(self, key: Key, action: PatchJob) -> None:
        """Change what a job is told, unless another one bears its name by now."""
        body: dict[str, Any] = {
            "metadata": {"uid": action.uid},
            "spec": {"runPolicy": dict(action.policy)},
        }
        if action.annotations:
            body["metadata"]["annotations"] = dict(action.annotations)
        path = f"{jobs(KINDS[action.kind], key.namespace)}/{action.name}"
        await patch_if_there(self._api, path, body)
