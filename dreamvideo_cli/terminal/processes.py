"""One process's share of a batch, where `accelerate launch` or torchrun starts several of the same command."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from dreamvideo_cli.errors import UsageError

if TYPE_CHECKING:
    from dreamvideo_cli.terminal.options import Shell


@dataclass(frozen=True, slots=True)
class Share:
    """Every ``of``-th piece of the work, beginning with the ``rank``-th; ``local_rank`` chooses the device."""

    rank: int = 0
    of: int = 1
    local_rank: int = 0

    def has(self, number: int) -> bool:
        """Whether the piece of this number, counted from 0, is this process's."""
        return number % self.of == self.rank


def read_share(environment: Mapping[str, str] | None = None) -> Share:
    """What the launcher says of this process; all of the work where there is no launcher.

    Raises:
        UsageError: what it says makes no sense.
    """
    given = os.environ if environment is None else environment
    names = ("RANK", "WORLD_SIZE", "LOCAL_RANK")
    if "RANK" not in given or "WORLD_SIZE" not in given:
        return Share()
    texts = [given.get(name, "0") for name in names]
    told = ", ".join(f"{name}={text}" for name, text in zip(names, texts, strict=True))
    if not all(text.isascii() and text.isdigit() for text in texts):
        raise UsageError(f"the launcher's variables make no sense: {told}")
    rank, of, local_rank = map(int, texts)
    if not rank < of:
        raise UsageError(f"the launcher's variables make no sense: {told}")
    return Share(rank, of, local_rank)


def shell_of_rank(shell: Shell) -> Shell:
    """The shell itself in the first of several processes, which speaks for all; a silent one in the others."""
    return replace(shell, quiet=True, progress="none") if read_share().rank else shell
