"""What a grid carries: the recipe of all its cells, each shared part once."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct

from dreamvideo_cli.again import (
    GRID_SCHEMA,
    AdapterNote,
    BaseNote,
    format_of,
    schema_of,
)
from dreamvideo_cli.output import facts
from dreamvideo_cli.plan import Takes, one_printable_line
from dreamvideo_cli.videos import adapter_use, base_document, versions

MOST_CELLS = 1000


class ColumnNote(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A column: its label, its prompt as sent, and who takes part."""

    label: Annotated[str, Meta(max_length=10_000)]
    prompt: Annotated[str, Meta(max_length=10_000)]
    adapters: Annotated[list[AdapterNote], Meta(max_length=100)]


class GridRecipe(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A grid: a video for each column and seed, all with the settings ``generate``."""

    schema: Literal["dv.grid_recipe/1"]
    base: BaseNote
    prompt: Annotated[str, Meta(max_length=10_000)]
    columns: Annotated[list[ColumnNote], Meta(min_length=1, max_length=MOST_CELLS)]
    seeds: Annotated[list[int], Meta(min_length=1, max_length=MOST_CELLS)]
    generate: dict[str, Any]
    versions: Annotated[dict[str, str], Meta(max_length=10)] = {}


def grid_recipe(
    labels: Sequence[str], columns: Sequence[Takes], seeds: Sequence[int], settled: dict[str, Any]
) -> dict[str, Any]:
    """The recipe of a grid; ``settled`` are the settings of any of its cells."""
    own = {"prompt", "seed"}
    return {
        "schema": GRID_SCHEMA,
        "base": base_document(columns[0].base),
        "prompt": columns[0].typed,
        "columns": [
            {
                "label": label,
                "prompt": takes.prompt.sent,
                "adapters": [adapter_use(use) for use in takes.uses],
            }
            for label, takes in zip(labels, columns, strict=True)
        ],
        "seeds": list(seeds),
        "generate": {name: value for name, value in settled.items() if name not in own},
        "versions": versions(),
    }


def find_grid(path: Path) -> GridRecipe | None:
    """The recipe in a grid; None where the file carries another one, or none.

    Raises:
        InputNotFoundError, InputError: see `engine.media.comments.read_comment`.
        IntegrityError: it is damaged.
    """
    from engine.errors import IntegrityError
    from engine.media.comments import read_comment

    comment = read_comment(path)
    if comment is None or schema_of(comment) != GRID_SCHEMA:
        return None
    try:
        return msgspec.json.decode(comment, type=GridRecipe)
    except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
        reason = one_printable_line(str(error))[:200]
        raise IntegrityError(
            f"the recipe in {path} is damaged: {reason}", code="video.damaged"
        ) from error


def grid_document(path: Path, recipe: GridRecipe) -> dict[str, Any]:
    """A grid's recipe as JSON tells of it."""
    return {
        "schema": "dv.inspect/1",
        "what": "grid",
        "path": str(path),
        "format": format_of(path),
        "recipe": msgspec.to_builtins(recipe),
    }


def grid_lines(recipe: GridRecipe) -> list[str]:
    """A grid's recipe for people."""
    columns = []
    for note in recipe.columns:
        uses = "  ".join(f"{each.label}={each.weight:g}" for each in note.adapters)
        columns.append(("column", f"{note.label}: {note.prompt}  {uses}"))
    seeds = " ".join(str(seed) for seed in recipe.seeds)
    return facts(
        [
            ("grid of", recipe.prompt),
            *columns,
            ("seeds", seeds),
            ("base", f"{recipe.base.id}  {recipe.base.fingerprint[:12]}"),
        ]
    )
