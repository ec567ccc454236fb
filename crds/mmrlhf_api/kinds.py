"""Registry of kinds: what the operator, the CLI and the components need to know about each."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from mmrlhf_api.errors import UnknownKindError
from mmrlhf_api.mmdpo import MMDPOJob
from mmrlhf_api.reward import RewardTrainJob
from mmrlhf_api.sample import ClusterSampleJob

__all__ = ["KINDS", "Job", "Kind", "find_kind", "kind_of"]

Job = MMDPOJob | RewardTrainJob | ClusterSampleJob
"""A job of any kind."""


@dataclass(frozen=True, kw_only=True)
class Kind:
    """One kind.

    Attributes:
        name: ``kind`` of its objects.
        plural: Name in URLs and for kubectl.
        singular: Singular for kubectl.
        short_name: Short name for kubectl.
        subcommand: ``python -m mmrlhf_jobs <subcommand>`` runs a job of this kind.
        model: Its type.
    """

    name: str
    plural: str
    singular: str
    short_name: str
    subcommand: str
    model: type[Job]

    @property
    def aliases(self) -> tuple[str, ...]:
        """All names that a user may give, in lower case."""
        return (self.singular, self.plural, self.short_name, self.subcommand)


KINDS: Mapping[str, Kind] = MappingProxyType(
    {
        kind.name: kind
        for kind in (
            Kind(
                name="MMDPOJob",
                plural="mmdpojobs",
                singular="mmdpojob",
                short_name="mmdpo",
                subcommand="mmdpo",
                model=MMDPOJob,
            ),
            Kind(
                name="RewardTrainJob",
                plural="rewardtrainjobs",
                singular="rewardtrainjob",
                short_name="rtj",
                subcommand="reward",
                model=RewardTrainJob,
            ),
            Kind(
                name="ClusterSampleJob",
                plural="clustersamplejobs",
                singular="clustersamplejob",
                short_name="csj",
                subcommand="sample",
                model=ClusterSampleJob,
            ),
        )
    }
)
"""All kinds by their name."""


def kind_of(job: Job) -> Kind:
    """Return the registry's entry of a job."""
    return KINDS[job.kind]


def find_kind(name: str) -> Kind:
    """Return the kind that a user means: its name, plural, singular or short name, in any case.

    Raises:
        UnknownKindError: There is none; the message lists what there is.
    """
    wanted = name.lower()
    for kind in KINDS.values():
        if wanted in kind.aliases:
            return kind
    names = [alias for kind in KINDS.values() for alias in (kind.name, *kind.aliases)]
    by_lower = {alias.lower(): alias for alias in reversed(names)}
    close = difflib.get_close_matches(wanted, list(by_lower), n=1)
    raise UnknownKindError(name, suggestion=by_lower[close[0]] if close else None, known=KINDS)
