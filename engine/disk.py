"""What the disk refuses, told in one way whoever wrote."""

from __future__ import annotations

import errno

from engine.errors import OutputError

NO_SPACE = "output.no_space"


def refusal(what: str, error: Exception) -> OutputError:
    """What the disk refuses, with what would do; where it is full the error's code is `NO_SPACE`."""
    # safetensors tells the system's number only in its text.
    is_full = getattr(error, "errno", None) in {errno.ENOSPC, errno.EDQUOT} or any(
        words in str(error) for words in ("No space left", f"os error {errno.ENOSPC}")
    )
    if is_full:
        hint = "free some space and continue; the save before it is whole"
        return OutputError(f"{what}: the disk is full", hint=hint, code=NO_SPACE)
    return OutputError(f"{what} cannot be written: {error}")
