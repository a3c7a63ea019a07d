"""Bases are used from this disk; one command fetches them."""

from __future__ import annotations

import os

OFFLINE = "HF_HUB_OFFLINE"
# What the caller said of it, since every command but one is offline whatever they said.
ASKED = "_DV_HF_HUB_OFFLINE"


def stay_offline() -> None:
    """Keep the libraries that are imported later off the network, unless the caller wants them on it."""
    os.environ.setdefault(ASKED, os.environ.get(OFFLINE, "0"))
    os.environ.setdefault(OFFLINE, "1")


def go_online() -> None:
    """Let the libraries that are imported later use the network, unless the caller wants them off it."""
    os.environ[OFFLINE] = os.environ.get(ASKED, "0")
