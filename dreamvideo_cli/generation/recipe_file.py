"""The recipe that a video or a grid carries: written, and read back with every value checked."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct

from dreamvideo_cli import __version__
from dreamvideo_cli.errors import UsageError
from dreamvideo_cli.settings.places import placeless
from dreamvideo_cli.terminal.text import one_printable_line
from engine.errors import EngineError, IncompatibleError, InputError, IntegrityError
from engine.media.output.comments import read_comment
from engine.recipe import GenerateRecipe

if TYPE_CHECKING:
    from dreamvideo_cli.generation.references import WeightedAdapter
    from engine.bases import BaseLocation
    from engine.media.output.formats import Format

SIDECAR_SUFFIX = ".json"
VIDEO_SUFFIXES = (".mp4", ".gif", ".webp", ".png", SIDECAR_SUFFIX)
GRID_SCHEMA = "dv.grid_recipe/1"

Hex = Annotated[str, Meta(pattern=r"^[0-9a-f]{64}$")]
Pinned = Annotated[
    str, Meta(pattern=r"^[a-z0-9][a-z0-9._-]{0,63}:v[0-9]{1,9}@sha256:[0-9a-f]{64}$")
]


class BaseNote(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The base of a video: its name without its place, and its fingerprint."""

    id: Annotated[str, Meta(max_length=300)]
    fingerprint: Hex


class AdapterNote(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An adapter that took part, pinned, and what stood for it in the prompt."""

    kind: Literal["subject", "motion"]
    ref: Pinned
    weight: Annotated[float, Meta(ge=0.0, le=10.0)]
    phrase: Annotated[str, Meta(max_length=1000)] = ""

    @property
    def label(self) -> str:
        """``corgi:v3``, for people."""
        return self.ref.partition("@")[0]

    @property
    def digest(self) -> str:
        """64 hex digits."""
        return self.ref.rpartition(":")[2]


class VideoRecipe(
    Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True
):
    """Everything that decided a video; ``generate`` are the settings of `GenerateRecipe`.

    ``scale`` is how many times each pixel is repeated on each side in the file.
    """

    schema: Literal["dv.recipe/1"]
    base: BaseNote
    adapters: Annotated[list[AdapterNote], Meta(max_length=100)]
    generate: dict[str, Any]
    versions: Annotated[dict[str, str], Meta(max_length=10)] = {}
    scale: Annotated[int, Meta(ge=1, le=16)] = 1


class _Named(Struct):
    """What any document says of itself."""

    schema: str


def read_recipe(path: Path) -> VideoRecipe:
    """The recipe in a video, every value in it checked.

    Raises:
        InputNotFoundError: nothing is there.
        InputError: it is no video, or carries no recipe.
        UsageError: it is a grid, which is many videos.
        IntegrityError: it carries a recipe that is damaged.
        IncompatibleError: a newer version wrote it.
    """
    comment = read_comment(path)
    schema = read_schema(comment)
    if comment is None or schema is None:
        raise InputError(
            f"{path} carries no recipe",
            hint="videos made by dv do, unless another program has written them anew",
            code="video.no_recipe",
        )
    if schema == GRID_SCHEMA:
        hint = f"dv inspect {path} shows its cells; make one of them: dv gen PROMPT --subject …"
        raise UsageError(f"{path} is a grid of many videos", hint=hint)
    return parse_recipe(comment, schema, path)


def read_schema(comment: str | None) -> str | None:
    """What a comment says it is, where it is a document of ours."""
    try:
        schema = msgspec.json.decode(comment or "", type=_Named).schema
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        return None
    return schema if schema.startswith("dv.") else None


def parse_recipe(comment: str, schema: str, path: Path) -> VideoRecipe:
    """The recipe in a comment."""
    if schema != RECIPE_SCHEMA:
        raise IncompatibleError(
            f"{path} carries {one_printable_line(schema)[:40]}, and this dv reads {RECIPE_SCHEMA}",
            hint="a newer dv made it: update dv",
            code="video.newer",
        )
    with _refused_if_damaged(path):
        recipe = msgspec.json.decode(comment, type=VideoRecipe)
        generate = msgspec.convert(recipe.generate, GenerateRecipe)
    texts = {"prompt": generate.prompt, "negative": generate.negative}
    clean = {name: one_printable_line(text) for name, text in texts.items()}
    return msgspec.structs.replace(recipe, generate={**recipe.generate, **clean})


@contextmanager
def _refused_if_damaged(path: Path) -> Iterator[None]:
    """What cannot be decoded within the block is a damaged recipe."""
    try:
        yield
    except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
        raise IntegrityError(
            f"the recipe in {path} is damaged: {one_printable_line(str(error))[:200]}",
            hint="nothing of it is used; give the prompt and the adapters yourself",
            code="video.damaged",
        ) from error


def read_generate(recipe: VideoRecipe) -> GenerateRecipe:
    """The settings of a recipe that was read."""
    return msgspec.convert(recipe.generate, GenerateRecipe)


def guess_format(path: Path) -> Format:
    """The format of a video by its name, or by its sidecar's; a folder is one of png frames."""
    named: dict[str, Format] = {".gif": "gif", ".webp": "webp", ".png": "png"}
    if path.suffix.lower() == SIDECAR_SUFFIX:
        path = path.with_suffix("")
        return named.get(path.suffix.lower(), "mp4" if path.suffix else "png")
    return "png" if path.is_dir() else named.get(path.suffix.lower(), "mp4")


def may_carry_recipe(path: Path) -> bool:
    """Whether a path looks like a video of ours; only then is it worth opening."""
    if path.suffix.lower() not in VIDEO_SUFFIXES and not path.is_dir():
        return False
    try:
        return read_schema(read_comment(path)) is not None
    except EngineError:
        return False


MOST_IN_A_ROW = 1000


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
    columns: Annotated[list[ColumnNote], Meta(min_length=1, max_length=MOST_IN_A_ROW)]
    seeds: Annotated[list[int], Meta(min_length=1, max_length=MOST_IN_A_ROW)]
    generate: dict[str, Any]
    versions: Annotated[dict[str, str], Meta(max_length=10)] = {}


def find_grid(path: Path) -> GridRecipe | None:
    """The recipe in a grid; None where the file carries another one, or none.

    Raises:
        IntegrityError: it is damaged.
    """
    comment = read_comment(path)
    if comment is None or read_schema(comment) != GRID_SCHEMA:
        return None
    with _refused_if_damaged(path):
        return msgspec.json.decode(comment, type=GridRecipe)


RECIPE_SCHEMA = "dv.recipe/1"


def recipe_document(
    base: BaseLocation, uses: Sequence[WeightedAdapter], recipe: GenerateRecipe, scale: int = 1
) -> dict[str, Any]:
    """What decides the file's pixels, and nothing else: no time, no place on this machine."""
    return {
        "schema": RECIPE_SCHEMA,
        "base": base_document(base),
        "adapters": [adapter_use(use) for use in uses],
        "generate": msgspec.to_builtins(recipe),
        "versions": versions(),
        **({"scale": scale} if scale != 1 else {}),
    }


def base_document(base: BaseLocation) -> dict[str, str]:
    """The base without its place on this machine."""
    return {"id": placeless(base.id), "fingerprint": base.fingerprint}


def adapter_use(use: WeightedAdapter) -> dict[str, Any]:
    """An adapter in a recipe; ``phrase`` is what stands for it in the prompt."""
    return {
        "kind": use.adapter.kind,
        "ref": str(use.adapter),
        "weight": use.weight,
        "phrase": use.phrase,
    }


def versions() -> dict[str, str]:
    """Of what the pixels depend on beside the recipe."""
    from importlib.metadata import version

    return {"dv": __version__, "torch": version("torch"), "diffusers": version("diffusers")}


def canonical_json(document: dict[str, Any]) -> str:
    """JSON in the one spelling that equal documents share."""
    return json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
