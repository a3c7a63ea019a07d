"""This process among several, where `accelerate launch` or torchrun starts the same command more than once."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from dreamvideo_cli.errors import UsageError

if TYPE_CHECKING:
    from dreamvideo_cli.terminal.options import Shell


@dataclass(frozen=True, slots=True)
class Rank:
    """This process among those of a launcher."""

    index: int = 0  # from 0; the first process speaks for all
    world_size: int = 1  # how many processes there are
    local_index: int = 0  # among those on this machine; it chooses the device

    def owns(self, number: int) -> bool:
        """Whether the piece of work of this number, counted from 0, is this process's."""
        return number % self.world_size == self.index


def read_rank(environment: Mapping[str, str] | None = None) -> Rank:
    """What the launcher says of this process; without a launcher it is the only one.

    Raises:
        UsageError: what it says makes no sense.
    """
    given = os.environ if environment is None else environment
    names = ("RANK", "WORLD_SIZE", "LOCAL_RANK")
    if "RANK" not in given or "WORLD_SIZE" not in given:
        return Rank()
    texts = [given.get(name, "0") for name in names]
    given_as = ", ".join(f"{name}={text}" for name, text in zip(names, texts, strict=True))
    if not all(text.isascii() and text.isdigit() for text in texts):
        raise UsageError(f"the launcher's variables make no sense: {given_as}")
    index, world_size, local_index = map(int, texts)
    if not index < world_size:
        raise UsageError(f"the launcher's variables make no sense: {given_as}")
    return Rank(index, world_size, local_index)


def quiet_other_ranks(shell: Shell) -> Shell:
    """The shell itself in the first of several processes, which speaks for all; a silent one in the others."""
    return replace(shell, quiet=True, progress="none") if read_rank().index else shell
