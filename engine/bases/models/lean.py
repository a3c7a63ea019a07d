"""A quicker start for a process that makes videos: diffusers without the packages that no video needs.

Where they are installed diffusers imports peft and transformers, and torch's compiler for marks on its layers: two
thirds of a start. They stay hidden only while it is imported, and whoever wants one later gets it; diffusers itself
believes from then on that they are missing, so that this is for processes of our own alone.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

UNNEEDED = ("peft", "transformers", "torch._dynamo")
CLASSES = ("AutoencoderKL", "DDPMScheduler", "UNet3DConditionModel", "UNetMotionModel")


def import_diffusers() -> None:
    """Import what opening a base takes, with the rest left out, unless some of it is here already."""
    if any(name in sys.modules for name in ("diffusers", *UNNEEDED)):
        return
    try:
        with _hidden(UNNEEDED):
            import diffusers

            for name in CLASSES:
                getattr(diffusers, name)
    except Exception:  # noqa: BLE001 - a version that cannot do without them is imported as it is
        for name in [name for name in sys.modules if name.partition(".")[0] == "diffusers"]:
            del sys.modules[name]


@contextmanager
def _hidden(names: Sequence[str]) -> Iterator[None]:
    """While open, packages seem not to be installed, and a layer's mark against being compiled marks nothing."""
    import torch.compiler

    def leave(function: Any = None, **_: Any) -> Any:
        return function if function is not None else leave

    disable = torch.compiler.disable
    torch.compiler.disable = leave  # type: ignore[assignment]
    sys.modules.update(dict.fromkeys(names))  # type: ignore[arg-type]
    try:
        yield
    finally:
        torch.compiler.disable = disable
        for name in names:
            with suppress(KeyError):
                del sys.modules[name]
