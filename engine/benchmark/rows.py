"""The rows of a bench: what each learns and what makes its videos."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Literal

Source = Literal["adapters", "lora", "world", "other"]
Look = Literal["word", "adapter", "both"]
Move = Literal["guided", "unguided"]


@dataclass(frozen=True, slots=True)
class Method:
    """A row: its label, what makes its videos, and which parts of the adapters are used."""

    label: str
    source: Source = "adapters"
    look: Look | None = None
    move: Move | None = None


METHODS: Mapping[str, Method] = {
    "base": Method("base, text only"),
    "word": Method("learned word alone", look="word"),
    "identity": Method("identity adapter without word", look="adapter"),
    "subject": Method("word and identity adapter", look="both"),
    "unguided": Method("motion adapter without appearance guidance", move="unguided"),
    "motion": Method("motion adapter", move="guided"),
    "plain": Method("subject and motion, no appearance guidance", look="both", move="unguided"),
    "full": Method("subject and motion, weights 1", look="both", move="guided"),
    "lora": Method("joint LoRA, equal steps", source="lora"),
    "oracle": Method("oracle: the world itself", source="world"),
    "stranger": Method("stranger: another pair's truth", source="other"),
}


def why_missing(key: str) -> str | None:
    """Why a method cannot be tried here, or None."""
    if METHODS[key].source == "lora" and find_spec("peft") is None:
        return "peft is not installed"
    return None


def looks_at_clips(key: str) -> bool:
    """Whether a method learns a motion, which takes an image tower."""
    return METHODS[key].move is not None or METHODS[key].source == "lora"
