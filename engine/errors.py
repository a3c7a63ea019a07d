"""What can go wrong in the engine, one class a kind of remedy, each with a stable code."""

from __future__ import annotations


class EngineError(Exception):
    """Root of the engine's errors.

    Attributes:
        code: stable, append-only identifier such as ``input.unusable``.
        message: one line: what is wrong, with the value.
        hint: what would do, or None.
    """

    code = "engine.failed"

    def __init__(self, message: str, *, hint: str | None = None, code: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        if code is not None:
            self.code = code

    @property
    def line(self) -> str:
        """What is wrong and, where that is known, what would do."""
        return self.message if self.hint is None else f"{self.message}; {self.hint}"


class RecipeError(EngineError):
    """A setting has a value that cannot be used, or a name that does not exist."""

    code = "recipe.invalid"


class InputNotFoundError(EngineError):
    """A photo, clip, mask or folder is not there."""

    code = "input.not_found"


class InputError(EngineError):
    """A photo, clip or mask is there and cannot be used."""

    code = "input.unusable"


class BaseNotFoundError(EngineError):
    """The base's files are not on this machine."""

    code = "base.not_found"


class BaseInvalidError(EngineError):
    """The base's folder is there and is not a base that any family can open."""

    code = "base.invalid"


class ScorerMissingError(EngineError):
    """What scores is not on this machine: a tower's files, or a library that only scores need."""

    code = "scorer.not_found"


class IncompatibleError(EngineError):
    """An adapter does not fit the base or the other adapters."""

    code = "adapter.incompatible"


class IntegrityError(EngineError):
    """An adapter's file is damaged, unsafe, or not what it says it is."""

    code = "adapter.damaged"


class DeviceError(EngineError):
    """The device or the precision asked for is not to be had here."""

    code = "device.unavailable"


class MemoryExhaustedError(EngineError):
    """The device ran out of memory."""

    code = "device.out_of_memory"


class MissingPackageError(EngineError):
    """A package that something asked for needs is not installed."""

    code = "package.missing"


class OutputExistsError(EngineError):
    """The output is already there and was not to be overwritten."""

    code = "output.exists"


class OutputError(EngineError):
    """The output cannot be written: no permission, no space, no such folder."""

    code = "output.failed"


class DivergedError(EngineError):
    """The loss or a weight is no longer a finite number."""

    code = "learn.diverged"


class StoppedError(EngineError):
    """The caller asked to stop; everything up to here is saved."""

    code = "run.stopped"
