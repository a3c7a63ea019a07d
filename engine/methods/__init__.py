"""Methods of learning, one file each: a stage is a loss and what it moves; learning, saving and using are shared.

A new method is one module and one line of `METHODS`.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import TYPE_CHECKING

from engine.errors import RecipeError

if TYPE_CHECKING:
    from engine.methods.protocol import Method

# Name and kind of adapter → module and the method in it; nothing heavy is imported before a method is used.
METHODS: Mapping[tuple[str, str], tuple[str, str]] = {
    ("dreamvideo", "subject"): ("engine.methods.dreamvideo", "SUBJECT"),
    ("dreamvideo", "motion"): ("engine.methods.dreamvideo", "MOTION"),
    ("word", "subject"): ("engine.methods.word", "WORD_ALONE"),
    ("lora", "subject"): ("engine.methods.lora", "SUBJECT"),
    ("lora", "motion"): ("engine.methods.lora", "MOTION"),
    ("lora", "joint"): ("engine.methods.lora", "JOINT"),
}


def find_method(name: str, kind: str) -> Method:
    """The method called ``name`` that learns adapters of this kind.

    Raises:
        RecipeError: there is none; the hint names those that there are.
    """
    if (name, kind) not in METHODS:
        known = ", ".join(method for method, learned in METHODS if learned == kind)
        raise RecipeError(f"no method {name!r} learns a {kind}", hint=f"one of: {known}")
    module, attribute = METHODS[name, kind]
    method: Method = getattr(importlib.import_module(module), attribute)
    return method
