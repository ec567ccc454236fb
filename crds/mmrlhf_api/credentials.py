"""What looks like a credential, and so must come from a Secret: specs are kept and published.

The expressions are within RE2, as the CRDs have them too.
"""

from __future__ import annotations

import re
from typing import Final

__all__ = ["PLAIN_ENV", "SECRET_ENV", "has_password", "has_secret", "hide_passwords"]

SECRET_ENV: Final = re.compile(
    "(?i)((^|_|HF|HUB|ACCESS|AUTH|BEARER|API|BOT|GITHUB|GITLAB)TOKEN|SECRETS?|PASSWORDS?|PASSWD"
    "|PASSPHRASE|CREDENTIALS_JSON|CONNECTION_STRING|(API|ACCESS|SECRET|PRIVATE)_?KEYS"
    "|(_|API|ACCESS|SECRET|PRIVATE)KEY)(_(B64|BASE64|PEM))?_?[0-9]*$"
    "|_(PASS|PWD|SAS|PAT|JWT|COOKIE|WEBHOOK_URL)$"
)
"""Names of variables that hold credentials, such as ``OPENAI_API_KEY`` and ``GITHUB_TOKEN``; not
those of identifiers (``AWS_ACCESS_KEY_ID``) or files (``GOOGLE_APPLICATION_CREDENTIALS``)."""
PLAIN_ENV: Final = re.compile(
    "(?i)^HF_HUB_DISABLE_IMPLICIT_TOKEN$|(^|_)((PAD|EOS|BOS|UNK|SEP|CLS|MASK|IMAGE|VIDEO)_TOKEN"
    "|PUBLIC_KEY(_(B64|BASE64|PEM))?|(CACHE|SORT|PRIMARY|PARTITION)_KEY)$"
)
"""Names that look like those and are none."""
_AUTHORITY: Final = re.compile("://([^/ ]*)")
_PASSWORD: Final = re.compile("(?s)(:|%3[aA]).")
"""The authority of an address (RFC 3986, 3.2), and what makes ``user:password`` of what is before
its last ``@``; in two steps, as one expression for both would take quadratic time."""
_SECRET: Final = re.compile(
    r"\bhf_[A-Za-z0-9]{30,}"  # Hugging Face
    r"|\bgh[oprsu]_[A-Za-z0-9]{36,}|\bgithub_pat_[A-Za-z0-9_]{30,}"
    r"|\bglpat-[A-Za-z0-9_-]{20,}"  # GitLab
    r"|\bsk-[A-Za-z0-9_-]{32,}"  # OpenAI, Anthropic
    r"|\bxox[abeoprs]-[A-Za-z0-9-]{10,}"  # Slack
    r"|\bAIza[A-Za-z0-9_-]{35}"  # Google
    r"|\beyJ[A-Za-z0-9_-]{10,512}\.eyJ[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]+"  # JSON Web Tokens
    r"|-----BEGIN [A-Z ]*PRIVATE KEY-----"
)
"""Values that say themselves what they are, whatever name they have."""


def has_password(address: str) -> bool:
    """Whether an address carries ``user:password@``."""
    return any(_hidden(found) != found[0] for found in _AUTHORITY.finditer(address))


def has_secret(text: str) -> bool:
    """Whether a text holds a token or a private key, by the forms that their makers give them."""
    return _SECRET.search(text) is not None


def hide_passwords(text: str) -> str:
    """Return a text with ``***`` for users and passwords of addresses, and for tokens."""
    return _SECRET.sub("***", _AUTHORITY.sub(_hidden, text))


def _hidden(found: re.Match[str]) -> str:
    user, mark, place = found[1].rpartition("@")
    return f"://***@{place}" if mark and _PASSWORD.search(user) else found[0]
