"""How two adapters differ: in settings, inputs, scores, base, words and files."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from registry.content.manifest import Manifest


@dataclass(frozen=True, slots=True)
class Difference:
    """A field in which two manifests differ."""

    field: str  # such as ``training.recipe.steps`` or ``training.inputs.one.jpg``
    left: Any  # of the first; None where it has none
    right: Any  # of the second; None where it has none


def differences(left: Manifest, right: Manifest) -> tuple[Difference, ...]:
    """Every field in which two manifests differ, in the order of the manifest."""
    ours, theirs = dict(_fields(left)), dict(_fields(right))
    return tuple(
        Difference(field, ours.get(field), theirs.get(field))
        for field in dict.fromkeys([*ours, *theirs])
        if ours.get(field) != theirs.get(field)
    )


def _fields(manifest: Manifest) -> Iterator[tuple[str, Any]]:
    table = msgspec.to_builtins(manifest)
    table["files"] = {file.role: file.digest for file in manifest.files}
    table["training"]["inputs"] = _by_name(manifest)
    return _flat(table, "")


def _by_name(manifest: Manifest) -> dict[str, str]:
    """Digests by file name; a name that stands there again gets its number."""
    found: dict[str, str] = {}
    for entry in manifest.training.inputs:
        again = sum(1 for name in found if name.partition(" #")[0] == entry.name)
        found[f"{entry.name} #{again + 1}" if again else entry.name] = entry.digest
    return found


def _flat(table: Mapping[str, Any], before: str) -> Iterator[tuple[str, Any]]:
    for key, value in table.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{before}{key}.")
        else:
            yield f"{before}{key}", value
