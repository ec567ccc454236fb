"""What looks like a credential, and so must come from a Secret: specs are kept and published.

The expressions are within RE2, as the CRDs have them too.
"""

from __future__ import annotations

import re
from typing import Final

__all__ = ["PASSWORD_IN_ADDRESS", "PLAIN_ENV", "SECRET_ENV", "has_password", "hide_passwords"]

SECRET_ENV: Final = re.compile(
    "(?i)((^|_)TOKEN|SECRET|PASSWORD|PASSWD|PASSPHRASE|CREDENTIALS_JSON|CONNECTION_STRING"
    "|(_|API|ACCESS|SECRET|PRIVATE)KEY)_?[0-9]*$|_(PASS|PWD|SAS)$"
)
"""Names of variables that hold credentials, such as ``OPENAI_API_KEY`` and ``GITHUB_TOKEN``; not
those of identifiers (``AWS_ACCESS_KEY_ID``) or files (``GOOGLE_APPLICATION_CREDENTIALS``)."""
PLAIN_ENV: Final = re.compile(
    "(?i)^HF_HUB_DISABLE_IMPLICIT_TOKEN$|(^|_)((PAD|EOS|BOS|UNK|SEP|CLS|MASK|IMAGE|VIDEO)_TOKEN"
    "|(CACHE|PUBLIC|SORT|PRIMARY|PARTITION)_KEY)$"
)
"""Names that look like those and are none."""
PASSWORD_IN_ADDRESS: Final = re.compile("://[^/@ ]*:[^/@ ]+@")
"""The ``user:password@`` of an address (RFC 3986, 3.2.1)."""


def has_password(address: str) -> bool:
    """Whether an address carries ``user:password@``."""
    return PASSWORD_IN_ADDRESS.search(address) is not None


def hide_passwords(text: str) -> str:
    """Return a text whose addresses have ``***`` for user and password."""
    return PASSWORD_IN_ADDRESS.sub("://***@", text)
