"""The rows of the benchmark: what each learns, by which method, and what makes its videos."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from engine.methods import METHODS

Source = Literal["adapters", "world", "other"]
Look = Literal["word", "adapter", "both"]
Move = Literal["guided", "unguided"]
OURS = "dreamvideo"


@dataclass(frozen=True, slots=True)
class Row:
    """A row: its label, what makes its videos, and which adapters are used.

    Attributes:
        label: for people.
        source: adapters on the base, or the world, which paints the truth of this pair or of another.
        look: which parts of a subject are learned, or None for no subject.
        move: how a motion is learned, or None for no motion.
        subject_method: by which the subject is learned; another than DreamVideo learns all that it has to.
        motion_method: likewise of the motion.
        is_joint: whether one LoRA is learned of subject and motion together.
    """

    label: str
    source: Source = "adapters"
    look: Look | None = None
    move: Move | None = None
    is_joint: bool = False
    subject_method: str = OURS
    motion_method: str = OURS


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


# What other methods' rows stand beside, first and last.
BESIDE, TRUTHS = ("base", "subject", "motion", "full"), ("oracle", "stranger")


def list_methods() -> tuple[str, ...]:
    """Every method but ours that learns subjects or motions."""
    known = dict.fromkeys(name for name, kind in METHODS if kind != "joint")
    return tuple(name for name in known if name != OURS)


def method_rows(names: Sequence[str]) -> dict[str, Row]:
    """Rows of each method: what it learns alone, and both; where it learns one of both, the other is ours."""
    rows: dict[str, Row] = {}
    for name in names:
        kinds = {kind: (name, kind) in METHODS for kind in ("subject", "motion")}
        subject, motion = (name if kinds[kind] else OURS for kind in kinds)
        if kinds["subject"]:
            rows[f"{name}:subject"] = Row(f"{name}: subject", look="both", subject_method=name)
        if kinds["motion"]:
            rows[f"{name}:motion"] = Row(f"{name}: motion", move="guided", motion_method=name)
        both = f"{subject} subject, {motion} motion" if subject != motion else f"{name}: both"
        rows[f"{name}:both"] = Row(
            both, look="both", move="guided", subject_method=subject, motion_method=motion
        )
    return rows


def looks_at_clips(row: Row) -> bool:
    """Whether a row learns of a clip as DreamVideo does, which takes an image tower."""
    return row.is_joint or (row.move is not None and row.motion_method == OURS)
