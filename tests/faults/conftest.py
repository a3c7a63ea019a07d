"""The registry's fixtures: the faults are the registry's, found in one place by their numbers."""

from tests.registry.conftest import (
    draft,
    exit_code,
    facts,
    in_child,
    publish,
    quick_disk,
    root,
    store,
    weights,
)

__all__ = [
    "draft",
    "exit_code",
    "facts",
    "in_child",
    "publish",
    "quick_disk",
    "root",
    "store",
    "weights",
]
