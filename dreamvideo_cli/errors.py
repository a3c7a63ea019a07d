"""What can be wrong with a command line itself; what goes wrong behind it has its own classes there."""

from __future__ import annotations


class ShellError(Exception):
    """Root of the command line's own errors.

    Attributes:
        code: stable, append-only identifier such as ``usage.invalid``.
        message: one line: what is wrong, with the value.
        hint: what would do, or None.
    """

    code = "shell.failed"

    def __init__(self, message: str, *, hint: str | None = None, code: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        if code is not None:
            self.code = code


class UsageError(ShellError):
    """The arguments do not say what can be done."""

    code = "usage.invalid"


class ExistsError(ShellError):
    """What was to be made is there already, and the caller wanted to know."""

    code = "adapter.exists"


class BatchError(ShellError):
    """Of many pieces of work some failed; each was told when it did."""

    code = "batch.partial"


class UnfitError(ShellError):
    """The base would need hours for what is asked of it here, and nobody insisted."""

    code = "base.unfit"
