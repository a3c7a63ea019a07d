"""The rows of the benchmark: what each learns, by which method, and what makes its videos."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

Source = Literal["adapters", "world", "other"]
Look = Literal["word", "adapter", "both"]
Move = Literal["guided", "unguided"]


@dataclass(frozen=True, slots=True)
class Row:
    """A row: its label, what makes its videos, and which adapters are used.

    Attributes:
        label: for people.
        source: adapters on the base, or the world, which paints the truth of this pair or of another.
        look: which parts of a subject are learned, or None for no subject.
        move: how a motion is learned, or None for no motion.
        is_joint: whether one LoRA is learned of subject and motion together.
    """

    label: str
    source: Source = "adapters"
    look: Look | None = None
    move: Move | None = None
    is_joint: bool = False


ROWS: Mapping[str, Row] = {
    "base": Row("base, text only"),
    "word": Row("learned word alone", look="word"),
    "identity": Row("identity adapter without word", look="adapter"),
    "subject": Row("word and identity adapter", look="both"),
    "unguided": Row("motion adapter without appearance guidance", move="unguided"),
    "motion": Row("motion adapter", move="guided"),
    "plain": Row("subject and motion, no appearance guidance", look="both", move="unguided"),
    "full": Row("subject and motion, weights 1", look="both", move="guided"),
    "lora": Row("joint LoRA, equal draws", is_joint=True),
    "oracle": Row("oracle: the world itself", source="world"),
    "stranger": Row("stranger: another pair's truth", source="other"),
}


def looks_at_clips(key: str) -> bool:
    """Whether a row learns of a clip, which takes an image tower."""
    return ROWS[key].move is not None or ROWS[key].is_joint
