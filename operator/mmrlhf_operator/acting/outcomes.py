"""How a look into a stranger's store may end, in words of ours.

What a store, a library or the network says in its own words is never told: it may be anything, and
so may what it repeats.
"""

from __future__ import annotations

from enum import StrEnum

from mmrlhf_operator.errors import OperatorError

__all__ = ["LookUpError", "Outcome"]


class Outcome(StrEnum):
    """Why nothing was found out; the set is closed, and each is the words of a status."""

    DENIED = "access denied"
    NO_ADDRESS = "its name has no address"
    FORBIDDEN = (
        "it is at an address that the operator asks nothing of: loopback, link-local, multicast, a"
        " cloud's metadata or the API server. Name the store's own address, or have its network"
        " allowed (preflight.addresses in the operator's configuration)"
    )
    ELSEWHERE = "the request would go to another host than the endpoint"
    NO_CONNECTION = "it takes no connection"
    NO_TLS = "it does not speak TLS, which https:// asks for"
    UNTRUSTED = "its certificate is not trusted; name a Secret with its authority in caSecret"
    SLOW = "it did not answer in time"
    TOO_LONG = "its answer is longer than any of an object store"
    TOO_MANY = "there are more objects than a look takes; name a folder with fewer"
    NO_HTTP = "its answer is not that of an object store"
    TO_HTTPS = "it redirects to https://; write that in the endpoint"
    REDIRECT = "it redirects to another address; name that one as the endpoint"
    REFUSED = "it refuses the request; is the endpoint that of an object store, and the region its?"
    FAILED = "it fails with an error of its own"
    UNNAMEABLE = "endpoint, region, bucket or key is none that an object store may have"
    ODD = "its answer cannot be understood"


class LookUpError(OperatorError):
    """A look at a store found nothing out.

    Args:
        outcome: Why.
        code: The store's own word for it, of those that S3 knows.
        passing: Whether it may be otherwise when asked again at once.
    """

    def __init__(self, outcome: Outcome, *, code: str | None = None, passing: bool = False) -> None:
        super().__init__(outcome)
        self.outcome = outcome
        self.code = code
        self.passing = passing
