"""Jobs and pods, as far as clients look at them.

The views read plain dicts and tolerate whatever is in them: an object that another version wrote
is shown as far as it is understood.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import cached_property
from typing import Any

from mmrlhf.client.times import parse_time
from mmrlhf.errors import NotFoundError
from mmrlhf_api.constants import CONTAINER, LABEL_ATTEMPT, LABEL_INDEX, ConditionType, Phase, Reason
from mmrlhf_api.kinds import KINDS, Kind

__all__ = ["JobView", "PodView"]


@dataclass(frozen=True, kw_only=True)
class JobView:
    """A job.

    Attributes:
        kind: Its kind.
        body: The object itself.
    """

    kind: Kind
    body: Mapping[str, Any]
    metadata: Mapping[str, Any] = field(init=False, repr=False)
    spec: Mapping[str, Any] = field(init=False, repr=False)
    status: Mapping[str, Any] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        for part in ("metadata", "spec", "status"):
            object.__setattr__(self, part, self.body.get(part) or {})

    @classmethod
    def read(cls, body: Mapping[str, Any]) -> JobView:
        """Read an object of the API server."""
        return cls(kind=KINDS[body["kind"]], body=body)

    @property
    def name(self) -> str:
        """Its name."""
        return str(self.metadata["name"])

    @property
    def namespace(self) -> str:
        """Its namespace."""
        return str(self.metadata["namespace"])

    @property
    def uid(self) -> str:
        """Its identity."""
        return str(self.metadata.get("uid", ""))

    @property
    def created(self) -> datetime | None:
        """When it was created."""
        return parse_time(self.metadata.get("creationTimestamp"))

    @property
    def title(self) -> str:
        """Kind and name, for messages."""
        return f"{self.kind.name} {self.namespace}/{self.name}"

    @property
    def argument(self) -> str:
        """Kind and name, as commands take them."""
        return f"{self.kind.short_name}/{self.name}"

    @property
    def resource(self) -> str:
        """Kind and name, as kubectl writes them."""
        return f"{self.kind.singular}.mmrlhf.io/{self.name}"

    @property
    def phase(self) -> str:
        """Its phase; empty before the operator has seen it."""
        return str(self.status.get("phase") or "")

    @property
    def deleting(self) -> bool:
        """Whether it is being deleted."""
        return "deletionTimestamp" in self.metadata

    @property
    def ended(self) -> bool:
        """Whether it has succeeded or failed."""
        return self.phase in {Phase.SUCCEEDED, Phase.FAILED}

    @property
    def suspended(self) -> bool:
        """Whether its spec says to suspend it."""
        return (self.spec.get("runPolicy") or {}).get("suspend") is True

    @property
    def cancelled(self) -> bool:
        """Whether its spec says to give it up."""
        return (self.spec.get("runPolicy") or {}).get("cancel") is True

    @property
    def was_cancelled(self) -> bool:
        """Whether it has ended because it was given up."""
        return self.failed and self.reason == Reason.CANCELLED

    @property
    def failed(self) -> bool:
        """Whether it has failed, or was cancelled."""
        return self.phase == Phase.FAILED or self.holds(ConditionType.FAILED)

    @property
    def attempt(self) -> int:
        """Number of the current attempt, from 0."""
        return int(self.status.get("attempt") or 0)

    @property
    def reason(self) -> str:
        """Why it is in its phase, in one word."""
        return str(self.status.get("reason") or "")

    @cached_property
    def conditions(self) -> Mapping[str, Mapping[str, Any]]:
        """Conditions by type, in the order of the status; what is none is left out."""
        return {
            str(entry["type"]): {"status": "Unknown", **entry}
            for entry in self.status.get("conditions") or ()
            if isinstance(entry, Mapping) and entry.get("type")
        }

    def holds(self, condition: str) -> bool:
        """Whether a condition is True."""
        return bool(self.conditions.get(condition, {}).get("status") == "True")

    @property
    def message(self) -> str:
        """Why it is in its phase, in a sentence."""
        if self.status.get("message"):
            return str(self.status["message"])
        return self._guess_message()

    def _guess_message(self) -> str:
        """Look for the message in the conditions: operators of old wrote it nowhere else."""
        entries = list(self.conditions.values())
        for wanted in (
            lambda entry: entry["type"] == self.phase and entry.get("reason") == self.reason,
            lambda entry: entry.get("reason") == self.reason,
            lambda entry: entry["type"] == self.phase,
            lambda entry: entry["type"] == ConditionType.ACCEPTED and entry["status"] == "False",
        ):
            for entry in entries:
                if self.phase and wanted(entry) and entry.get("message"):
                    return str(entry["message"])
        return ""

    @property
    def state_line(self) -> str:
        """Its state in one line; equal lines mean that nothing new happened."""
        phase = self.phase or "not seen by an operator yet"
        why = f" ({self.reason})" if self.reason else ""
        return f"{phase}{why}: {self.message}" if self.message else f"{phase}{why}"

    @property
    def progress(self) -> Mapping[str, Any]:
        """Its latest figures, as the status has them, such as ``step`` and ``loss``."""
        return self.status.get("progress") or {}

    @property
    def metrics(self) -> Mapping[str, float]:
        """Its final figures by name; empty before the end."""
        return self.status.get("metrics") or {}

    @property
    def artifacts(self) -> str | None:
        """URI of its artifacts; None before the operator has chosen one."""
        return (self.status.get("artifacts") or {}).get("uri")

    @property
    def nodes(self) -> int:
        """Number of its nodes."""
        return int((self.spec.get("resources") or {}).get("nodes") or 1)

    @property
    def max_restarts(self) -> int:
        """Restarts that its policy allows."""
        value = (self.spec.get("runPolicy") or {}).get("maxRestarts")
        return value if isinstance(value, int) else 3


@dataclass(frozen=True, kw_only=True)
class PodView:
    """A pod of a job.

    Attributes:
        name: Its name.
        uid: Its identity.
        owner: UID of the job that owns it.
        attempt: Attempt that it belongs to.
        rank: Index in the attempt, which is the node rank.
        state: One word for people, as kubectl shows it.
        why: Message that goes with the state.
        node: Node that it is bound to.
        created: When it was created.
        container: Name of the container that runs the job.
        started: Whether that container has run, so that there is a log.
        ended: Whether it has ended.
        exit_code: Its exit code.
        containers: State of each of its containers, those that run before the job's included.
    """

    name: str
    uid: str
    owner: str
    attempt: int
    rank: int
    state: str
    why: str
    node: str
    created: datetime | None
    container: str
    started: bool
    ended: bool
    exit_code: int | None
    containers: Mapping[str, Mapping[str, Any]] = field(default_factory=dict, repr=False)

    def with_container(self, name: str | None) -> PodView:
        """The same pod, as far as one of its containers has run; None is the job's.

        Raises:
            NotFoundError: It has no such container; names those that it has.
        """
        if name is None or name == self.container:
            return self
        if name not in self.containers:
            has = ", ".join(self.containers)
            raise NotFoundError(f"{self.name} has no container {name}; it has {has}")
        state = self.containers[name]
        ended = "terminated" in state
        return replace(self, container=name, started="running" in state or ended, ended=ended)

    @classmethod
    def read(cls, body: Mapping[str, Any]) -> PodView | None:
        """Read an object of the API server; None for a pod that is not of a job."""
        metadata, status = body["metadata"], body.get("status") or {}
        labels = metadata.get("labels") or {}
        try:
            attempt, rank = int(labels[LABEL_ATTEMPT]), int(labels[LABEL_INDEX])
        except (KeyError, ValueError):
            return None
        spec = body.get("spec") or {}
        names = [container["name"] for container in spec.get("containers") or ()]
        container = CONTAINER if CONTAINER in names or not names else names[0]
        state = _state(status.get("containerStatuses"), container)
        terminated = state.get("terminated")
        word, why = _word(metadata, spec, status, state)
        return cls(
            name=metadata["name"],
            uid=metadata.get("uid", ""),
            owner=_owner(metadata),
            attempt=attempt,
            rank=rank,
            state=word,
            why=why,
            node=spec.get("nodeName") or "",
            created=parse_time(metadata.get("creationTimestamp")),
            container=container,
            started="running" in state or terminated is not None,
            ended=terminated is not None or status.get("phase") in {"Succeeded", "Failed"},
            exit_code=terminated.get("exitCode") if terminated else None,
            containers=_containers(spec, status),
        )


def _owner(metadata: Mapping[str, Any]) -> str:
    owners = metadata.get("ownerReferences") or ()
    return next((owner["uid"] for owner in owners if owner.get("controller")), "")


def _state(statuses: Any, container: str) -> Mapping[str, Any]:  # noqa: ANN401 - from the wire
    for entry in statuses or ():
        if entry.get("name") == container:
            state: Mapping[str, Any] = entry.get("state") or {}
            return state
    return {}


def _containers(
    spec: Mapping[str, Any], status: Mapping[str, Any]
) -> Mapping[str, Mapping[str, Any]]:
    return {
        container["name"]: _state(status.get(statuses), container["name"])
        for group, statuses in (
            ("containers", "containerStatuses"),
            ("initContainers", "initContainerStatuses"),
            ("ephemeralContainers", "ephemeralContainerStatuses"),
        )
        for container in spec.get(group) or ()
    }


def _word(
    metadata: Mapping[str, Any],
    spec: Mapping[str, Any],
    status: Mapping[str, Any],
    state: Mapping[str, Any],
) -> tuple[str, str]:
    """Return state and message, the most telling first.

    The job's container decides, as it does for the operator: what runs beside it says nothing.
    """
    begun = "running" in state or "terminated" in state
    if not begun and (held := _held_by_init(spec, status)) is not None:
        return held
    if (ended := state.get("terminated")) is not None:
        word = status.get("reason") or ended.get("reason") or "Ended"
        return word, _brief(ended.get("message") or status.get("message"))
    if "deletionTimestamp" in metadata or "running" in state:
        return "Terminating" if "deletionTimestamp" in metadata else "Running", ""
    if (waiting := state.get("waiting") or {}).get("reason"):
        return waiting["reason"], _brief(waiting.get("message"))
    for condition in status.get("conditions") or ():
        if condition["type"] == "PodScheduled" and condition["status"] == "False":
            return condition.get("reason") or "Pending", _brief(condition.get("message"))
    return status.get("reason") or status.get("phase") or "Unknown", _brief(status.get("message"))


def _held_by_init(spec: Mapping[str, Any], status: Mapping[str, Any]) -> tuple[str, str] | None:
    """What keeps the job's container from starting; side containers may run or start anew."""
    sides = {
        container["name"]
        for container in spec.get("initContainers") or ()
        if container.get("restartPolicy") == "Always"
    }
    for entry in status.get("initContainerStatuses") or ():
        state, name = entry.get("state") or {}, entry["name"]
        waiting = state.get("waiting") or {}
        if waiting.get("reason") not in {None, "PodInitializing"}:
            return f"Init:{waiting['reason']}", f"{name}: {_brief(waiting.get('message'))}"
        if name in sides:
            continue
        if (ended := state.get("terminated")) and ended.get("exitCode"):
            return (
                f"Init:{ended.get('reason') or 'Error'}",
                f"{name}: {_brief(ended.get('message'))}",
            )
        if "running" in state:
            return "Init", f"{name} runs"
    return None


def _brief(text: object) -> str:
    return " ".join(str(text or "").split())
