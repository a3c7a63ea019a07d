"""What `--accelerator` says: which change of the base's own weights, and the settings that go with it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from dreamvideo_cli.errors import UsageError
from dreamvideo_cli.settings.places import fingerprint_memo

if TYPE_CHECKING:
    from dreamvideo_cli.generation.options import SamplingOptions
    from engine.bases.accelerators import Accelerator


def find_accelerator(options: SamplingOptions, values: Mapping[str, Any]) -> Accelerator | None:
    """The accelerator that is asked for, else the one of a recipe's ``values``, else none.

    Raises:
        BaseNotFoundError, BaseInvalidError: see `engine.bases.accelerators.locate_accelerator`.
        InputNotFoundError: the recipe has one that is not bundled, and none was given.
    """
    from engine.bases.accelerators import find_bundled, locate_accelerator
    from engine.errors import InputNotFoundError

    former = values.get("accelerator")
    if options.accelerator is not None:
        return locate_accelerator(options.accelerator, memo=fingerprint_memo())
    if former is None:
        return None
    found = find_bundled(former)
    if found is None:
        raise InputNotFoundError(
            f"the video was made with an accelerator, sha256:{former}, which it does not hold",
            hint="--accelerator PATH gives it again",
        )
    return found


def accelerate(
    accelerator: Accelerator | None, options: SamplingOptions, values: Mapping[str, Any]
) -> Mapping[str, Any]:
    """The settings under the flags: those of ``values``, and of an accelerator's card where it is new to them.

    Raises:
        UsageError: there is no card, and no flag says in how many steps.
    """
    if accelerator is None or values.get("accelerator") == accelerator.digest:
        return values
    if accelerator.card is None and options.steps is None:
        raise UsageError(
            f"the accelerator {accelerator.name} has no accelerator.toml that says in how many steps it is used",
            hint="--steps N, and --guidance and --sampler as its makers say",
        )
    told = accelerator.card.generate if accelerator.card else {}
    return {**values, **told, "accelerator": accelerator.digest}
