"""The priority of the event loop's thread: docs/decisions/0016-pages-run-last.md has the figures."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import Final

NICENESS: Final = -7
REALTIME_PRIORITY: Final = 1
"""The lowest. Where the system does not permit it, the niceness counts."""


def raise_priority() -> bool:
    """Lets the calling thread, the event loop's, run before all else, so that pages that keep all processors busy do
    not delay it. Threads and processes that it starts do not inherit that. Where the kernel divides time between
    terminal sessions first, the service's is raised too if the service leads it, as under systemd.

    Returns whether the system permits it (root, CAP_SYS_NICE, RLIMIT_RTPRIO)."""
    with contextlib.suppress(OSError):  # an ordinary user may not
        os.sched_setscheduler(0, os.SCHED_OTHER | os.SCHED_RESET_ON_FORK, os.sched_param(0))
        os.setpriority(os.PRIO_PROCESS, 0, NICENESS)
        if os.getsid(0) == os.getpid():
            Path("/proc/self/autogroup").write_text(str(NICENESS))
    with contextlib.suppress(OSError):
        os.sched_setscheduler(0, os.SCHED_RR | os.SCHED_RESET_ON_FORK, os.sched_param(REALTIME_PRIORITY))
        return True
    return False
