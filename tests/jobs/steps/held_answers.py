"""The jobs' program, which is killed where the third answer would be kept."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Mapping
from typing import Any

from mmrlhf_jobs.__main__ import main
from mmrlhf_jobs.storage.kept_journal import KeptJournal

if __name__ == "__main__":
    put = KeptJournal.put
    kept: list[str] = []

    def put_or_die(self: KeptJournal, key: str, value: Mapping[str, Any]) -> None:
        if len(kept) == 2:
            os.kill(os.getpid(), signal.SIGKILL)
        put(self, key, value)
        kept.append(key)

    KeptJournal.put = put_or_die  # type: ignore[method-assign]
    sys.exit(main(sys.argv[1:]))
