"""Aliases of a store by hand: shown, moved, and moved back."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Literal, Self

from pydantic import model_validator

from mmrlhf_api.scalars import Text
from mmrlhf_api.steps.marks import POSITIONAL
from mmrlhf_jobs.errors import InputError
from mmrlhf_jobs.steps.spec import Place, StepSpec
from mmrlhf_jobs.steps.step import Outcome, Step, StepContext
from mmrlhf_jobs.storage.alias import AliasStore, Cause, artifact_digest

__all__ = ["STEP", "AliasSpec"]


class AliasSpec(StepSpec):
    """Which alias, and what to do with it."""

    step: Literal["alias"] = "alias"
    """Name of the step."""
    action: Annotated[Literal["show", "promote", "rollback"], POSITIONAL]
    """What to do."""
    store: Annotated[Place, POSITIONAL]
    """Folder of artifacts that holds the alias."""
    alias: Annotated[Place, POSITIONAL]
    """Its name, such as default/vqa."""
    artifact: Place | None = None
    """For promote: the finished artifact that it is to stand for."""
    reason: Text = ""
    """Why, for those who look later."""

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if (self.artifact is None) != (self.action != "promote"):
            raise ValueError("promote needs an artifact, and nothing else has one")
        return self


def _run(spec: AliasSpec, context: StepContext) -> Outcome:
    """Show an alias, once it is moved where that was asked.

    Raises:
        InputError: There is no such alias, or what it is to stand for is not whole.
        RunError: Another has moved it meanwhile.
    """
    aliases, now = AliasStore(spec.store, context.storage), datetime.now(UTC)
    if spec.artifact is not None:
        uri = spec.artifact.rstrip("/")
        before, digest = aliases.read(spec.alias), artifact_digest(uri, context.storage)
        cause = Cause("promote", spec.reason)
        alias = aliases.move(spec.alias, uri, cause, now=now, of=before, digest=digest)
    elif spec.action == "rollback":
        alias = aliases.roll_back(spec.alias, reason=spec.reason, now=now)
    elif (found := aliases.read(spec.alias)) is not None:
        alias = found
    else:
        raise InputError(f"{spec.store}: there is no alias {spec.alias!r}")
    context.show(alias.to_dict())
    return Outcome(alias.current.uri)


STEP = Step("Show what an alias stands for, or move it by hand.", AliasSpec, _run)
