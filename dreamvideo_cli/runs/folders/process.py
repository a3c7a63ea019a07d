"""Which process holds something, and whether that very process is still there.

A process id alone is no proof: ids are given out again, and mean nothing on another machine.
"""

from __future__ import annotations

import os
import platform
import subprocess
from contextlib import suppress
from pathlib import Path

from msgspec import Struct

_START_FIELD = 19  # of /proc/<pid>/stat, counted after the command's closing bracket


class Process(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A process as another one can recognise it."""

    pid: int  # its id
    started: str  # when it began, in whatever words this system has for it; "" where it has none
    boot: str  # of which start of the machine; "" where that is unknown
    host: str  # the machine's name


def this_process() -> Process:
    """The process that asks."""
    pid = os.getpid()
    return Process(pid=pid, started=_started(pid), boot=_boot(), host=platform.node())


def is_alive(process: Process) -> bool:
    """Whether that very process runs on this machine now."""
    is_here = process.host == platform.node() and process.boot == _boot()
    return is_here and _exists(process.pid) and process.started == _started(process.pid)


def _exists(pid: int) -> bool:
    if os.name == "nt":
        return True  # there is no harmless question; the time of its start decides
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _started(pid: int) -> str:
    """Ticks since the machine's start on Linux, elsewhere what `ps` prints."""
    with suppress(OSError, IndexError):
        stat = Path(f"/proc/{pid}/stat").read_text("ascii", "replace")
        return stat.rpartition(")")[2].split()[_START_FIELD]
    with suppress(OSError):
        asked = ["ps", "-o", "lstart=", "-p", str(pid)]
        return subprocess.run(asked, capture_output=True, text=True, check=False).stdout.strip()
    return ""


def _boot() -> str:
    with suppress(OSError):
        return Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip()
    return ""
