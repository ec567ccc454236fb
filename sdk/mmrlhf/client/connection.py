"""Which cluster a command talks to, as kubectl's options say it."""

from __future__ import annotations

from dataclasses import dataclass, replace

__all__ = ["Connection"]


@dataclass(frozen=True, kw_only=True)
class Connection:
    """Options that all commands against a cluster have.

    Attributes:
        context: Context of the kubeconfig; None takes its current one.
        kubeconfig: Path of the kubeconfig; None looks where kubectl looks.
        namespace: Namespace; None takes that of the context.
        request_timeout: Seconds for one request; 0 waits for ever, None takes the default.
        server: Address of the API server; None takes that of the kubeconfig.
        token: Bearer token; None takes the credentials of the kubeconfig.
        as_user: User to act as, which the own credentials must allow.
    """

    context: str | None = None
    kubeconfig: str | None = None
    namespace: str | None = None
    request_timeout: float | None = None
    server: str | None = None
    token: str | None = None
    as_user: str | None = None

    def over(self, other: Connection) -> Connection:
        """Return this one, completed by what only ``other`` says."""
        mine = {name: value for name, value in vars(self).items() if value is not None}
        return replace(other, **mine)
