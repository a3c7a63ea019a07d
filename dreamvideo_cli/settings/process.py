"""This process: `dv`'s own from its first line or one of others that call it, and off the network or on it."""

from __future__ import annotations

import os

OFFLINE = "HF_HUB_OFFLINE"
# What the caller said of it, since every command but one is offline whatever they said.
ASKED = "_DV_HF_HUB_OFFLINE"

_is_ours = False


def claim() -> None:
    """Say that nobody else computes in this process."""
    global _is_ours  # noqa: PLW0603
    _is_ours = True


def is_ours() -> bool:
    """Whether libraries may be imported as `dv` alone needs them."""
    return _is_ours


def stay_offline() -> None:
    """Keep the libraries that are imported later off the network, unless the caller wants them on it."""
    os.environ.setdefault(ASKED, os.environ.get(OFFLINE, "0"))
    os.environ.setdefault(OFFLINE, "1")


def go_online() -> None:
    """Let the libraries that are imported later use the network, unless the caller wants them off it."""
    os.environ[OFFLINE] = os.environ.get(ASKED, "0")
