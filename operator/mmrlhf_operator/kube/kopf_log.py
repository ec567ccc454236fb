"""What kopf logs, at the level that it deserves.

An API server whose cache of a kind is still filling, as it is just after the CRDs were applied,
answers 429 and says when to ask again (API concepts, "429"; API Priority and Fairness does so under
load). kopf asks again, and yet logs an error each time.
"""

from __future__ import annotations

import logging
import re

__all__ = ["TriedAgain"]

_TRIED_AGAIN = re.compile(r"failed; will retry: .* -> APITooManyRequestsError\(")


class TriedAgain(logging.Filter):
    """Tells as news, not as an error, that kopf waits as the API server asks it to.

    It lets everything through; once kopf gives up, that is an error as before. It belongs to a
    handler, as filters of a logger do not see what its children log.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        """Lower the level of such a record."""
        ours = record.name.startswith("kopf") and record.levelno == logging.ERROR
        if ours and _TRIED_AGAIN.search(record.getMessage()):
            record.levelno, record.levelname = logging.INFO, "INFO"
        return True
