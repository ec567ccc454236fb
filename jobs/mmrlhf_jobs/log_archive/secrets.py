"""What of a log must not be kept: credentials, by their form and by what the environment holds."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from mmrlhf_api import Job
from mmrlhf_api.credentials import PLAIN_ENV, SECRET_ENV, hide_passwords

__all__ = ["Redaction", "secret_values"]

_HIDDEN = "***"
_SHORTEST = 6
"""Characters of a value from which on it is hidden: shorter ones are in every text."""
_KEY_BEGINS, _KEY_ENDS = "-----BEGIN ", "-----END "
_MOST_KEY_LINES = 200
_ACCESS_KEY = "AWS_ACCESS_KEY_ID"


def secret_values(environ: Mapping[str, str], job: Job | None) -> list[str]:
    """Values of variables that hold credentials, the longest first.

    They are known by their name, and by coming from a Secret, as the job says.

    Args:
        environ: Variables of this process.
        job: The job that runs in it, if it is known.
    """
    given = () if job is None else job.spec.pod_template.env
    from_secrets = {each.name for each in given if each.secret_key_ref is not None}
    held = {
        line.strip()
        for name, value in environ.items()
        if name in from_secrets
        or name == _ACCESS_KEY
        or (SECRET_ENV.search(name) and not PLAIN_ENV.search(name))
        for line in value.splitlines()
    }
    return sorted((value for value in held if len(value) >= _SHORTEST), key=len, reverse=True)


class Redaction:
    """Hides credentials in the lines of one stream.

    Args:
        values: Values to hide, the longest first.
    """

    def __init__(self, values: Iterable[str]) -> None:
        self._values = tuple(values)
        self._key_lines = 0

    def hide(self, line: str) -> str:
        """Return a line with ``***`` for what is secret; a private key may have several lines."""
        if self._key_lines:
            ended = _KEY_ENDS in line
            self._key_lines = 0 if ended else self._key_lines - 1
            return _HIDDEN
        if _KEY_BEGINS in line and "PRIVATE KEY-----" in line and _KEY_ENDS not in line:
            self._key_lines = _MOST_KEY_LINES
        for value in self._values:
            line = line.replace(value, _HIDDEN)
        return hide_passwords(line)
