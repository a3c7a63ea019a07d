"""The recipe that a video carries: read back, shown, and made again.

A video may come from a stranger. Nothing in its recipe is opened as a path; adapters are found by their digest, and the
base by its fingerprint.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct

from dreamvideo_cli import bases, settings
from dreamvideo_cli.errors import UsageError
from dreamvideo_cli.output import facts, print_result, say
from dreamvideo_cli.plan import Start, one_printable_line, words_of
from dreamvideo_cli.prompt import Prompt, compose_prompt
from dreamvideo_cli.uses import Shelf, Use, find_base, find_uses, refuse_clashing_words
from dreamvideo_cli.videos import RECIPE_SCHEMA, recipe_pairs, versions

if TYPE_CHECKING:
    from dreamvideo_cli.gen import VideoOptions
    from dreamvideo_cli.options import Shell
    from engine.bases import BaseLocation
    from engine.media.formats import Format
    from engine.recipe import GenerateRecipe
    from registry import Adapter, Kind

SIDECAR_SUFFIX = ".json"
VIDEO_SUFFIXES = (".mp4", ".gif", ".webp", ".png", SIDECAR_SUFFIX)
GRID_SCHEMA = "dv.grid_recipe/1"
# Names that say where a base is without being a path: bundled, or a hub id.
BASE_NAME = re.compile(r"mini(@\d{1,6})?|\w[\w.-]{0,95}(/\w[\w.-]{0,95})?", re.ASCII)

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


class VideoRecipe(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Everything that decided a video; ``generate`` are the settings of `GenerateRecipe`."""

    schema: Literal["dv.recipe/1"]
    base: BaseNote
    adapters: Annotated[list[AdapterNote], Meta(max_length=100)]
    generate: dict[str, Any]
    versions: Annotated[dict[str, str], Meta(max_length=10)] = {}


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
    from engine.errors import InputError
    from engine.media.comments import read_comment

    comment = read_comment(path)
    schema = schema_of(comment)
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


def schema_of(comment: str | None) -> str | None:
    """What a comment says it is, where it is a document of ours."""
    try:
        schema = msgspec.json.decode(comment or "", type=_Named).schema
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        return None
    return schema if schema.startswith("dv.") else None


def parse_recipe(comment: str, schema: str, path: Path) -> VideoRecipe:
    """The recipe in a comment.

    Raises:
        IntegrityError, IncompatibleError: see `read_recipe`.
    """
    from engine.errors import IncompatibleError, IntegrityError
    from engine.recipe import GenerateRecipe

    if schema != RECIPE_SCHEMA:
        raise IncompatibleError(
            f"{path} carries {one_printable_line(schema)[:40]}, and this dv reads {RECIPE_SCHEMA}",
            hint="a newer dv made it: update dv",
            code="video.newer",
        )
    try:
        recipe = msgspec.json.decode(comment, type=VideoRecipe)
        generate = msgspec.convert(recipe.generate, GenerateRecipe)
    except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
        raise IntegrityError(
            f"the recipe in {path} is damaged: {one_printable_line(str(error))[:200]}",
            hint="nothing of it is used; give the prompt and the adapters yourself",
            code="video.damaged",
        ) from error
    texts = {"prompt": generate.prompt, "negative": generate.negative}
    clean = {name: one_printable_line(text) for name, text in texts.items()}
    return msgspec.structs.replace(recipe, generate={**recipe.generate, **clean})


def generate_of(recipe: VideoRecipe) -> GenerateRecipe:
    """The settings of a recipe that was read."""
    from engine.recipe import GenerateRecipe

    return msgspec.convert(recipe.generate, GenerateRecipe)


def start_again(shelf: Shelf, options: VideoOptions) -> Start:
    """From the recipe of the video that `--again` names; flags override it.

    Raises:
        InputNotFoundError, InputError, IntegrityError, IncompatibleError: see `read_recipe`.
        UsageError, NotFoundError, IntegrityError, IncompatibleError, BaseNotFoundError: see `plan_videos`.
    """
    path = Path(options.again or "").expanduser().absolute()
    recipe = read_recipe(path)
    uses, notes = _uses_again(shelf, recipe, options)
    refuse_clashing_words(uses)
    base = _base_again(recipe, uses, options)
    prompt = _prompt_again(recipe, uses, options)
    return Start(
        typed=one_printable_line(options.prompt or "") or prompt.sent,
        prompt=prompt,
        uses=uses,
        base=base,
        values=recipe.generate,
        seed=recipe.generate.get("seed", 0),
        format=format_of(path),
        notes=(*notes, *_version_notes(recipe)),
    )


def format_of(path: Path) -> Format:
    """The format of a video by its name, or by its sidecar's; a folder is one of png frames."""
    named: dict[str, Format] = {".gif": "gif", ".webp": "webp", ".png": "png"}
    if path.suffix.lower() == SIDECAR_SUFFIX:
        path = path.with_suffix("")
        return named.get(path.suffix.lower(), "mp4" if path.suffix else "png")
    return "png" if path.is_dir() else named.get(path.suffix.lower(), "mp4")


def recipe_lines(recipe: VideoRecipe) -> list[str]:
    """A video's recipe for people."""
    generate = generate_of(recipe)
    adapters = [(each.kind, f"{each.ref}  weight {each.weight:g}") for each in recipe.adapters]
    made_by = ", ".join(f"{name} {number}" for name, number in recipe.versions.items())
    threads = "1 thread" if generate.threads == 1 else f"{generate.threads} threads"
    return facts(
        [
            ("prompt", generate.prompt),
            *adapters,
            ("base", f"{recipe.base.id}  {recipe.base.fingerprint[:12]}"),
            *recipe_pairs(generate),
            ("seed", f"{generate.seed}"),
            ("precision", f"{generate.precision}, {threads}"),
            ("made by", made_by),
        ]
    )


def _uses_again(
    shelf: Shelf, recipe: VideoRecipe, options: VideoOptions
) -> tuple[tuple[Use, ...], list[str]]:
    """The recipe's adapters, or those that flags put in the place of all of their kind."""
    uses: list[Use] = []
    notes: list[str] = []
    given: tuple[tuple[Kind, list[str] | None], ...]
    given = (("subject", options.subject), ("motion", options.motion))
    for kind, texts in given:
        if texts is not None:
            uses += find_uses(shelf, kind, texts)
            continue
        for note in recipe.adapters:
            if note.kind == kind:
                adapter = _find_again(shelf, note)
                found = f"{adapter.name}:v{adapter.version}"
                notes += [f"{note.label} is called {found} here"] if found != note.label else []
                uses.append(Use(note.ref, adapter, note.weight, shelf.weights(adapter)[1]))
    return tuple(uses), notes


def _find_again(shelf: Shelf, note: AdapterNote) -> Adapter:
    """The adapter of that digest, under whatever name it has here.

    Raises:
        NotFoundError: it is not here.
        IntegrityError: another one has its name and number here.
    """
    from registry.errors import IntegrityError, NotFoundError

    try:
        return shelf.store.resolve(note.ref, kind=note.kind)
    except (NotFoundError, IntegrityError) as error:
        rows = shelf.store.list(note.kind, all_versions=True).rows
        same = next((row for row in rows if row.digest == note.digest), None)
        if same is not None:
            return same
        hint = f"dv import the bundle that holds it, or put another in its place: --{note.kind} REF"
        if error.code == "ref.removed":
            hint = error.hint or hint
        message = f"the video was made with the {note.kind} {note.label}: {error.message}"
        raise type(error)(message, hint=hint, code=error.code) from error


def _base_again(recipe: VideoRecipe, uses: Sequence[Use], options: VideoOptions) -> BaseLocation:
    """The base of the adapters; without any, the one of the recipe's fingerprint or the one asked for."""
    from engine.errors import IncompatibleError

    if not uses:
        return _bare_base_again(recipe.base, options)
    base = find_base(uses, options.base, options.image_tower)
    pinned = {note.ref for note in recipe.adapters}
    if base.fingerprint != recipe.base.fingerprint and any(use.asked in pinned for use in uses):
        raise IncompatibleError(
            f"the video was made on {recipe.base.id} ({recipe.base.fingerprint[:12]}), "
            f"and its adapters are of {base.id} ({base.fingerprint[:12]})",
            hint="the recipe in the video contradicts itself; give the adapters yourself",
            code="base.mismatch",
        )
    return base


def _bare_base_again(note: BaseNote, options: VideoOptions) -> BaseLocation:
    """The base of a video without adapters, sought by name here and known by its fingerprint."""
    from engine.errors import BaseInvalidError, BaseNotFoundError, IncompatibleError

    if options.base is not None:
        return bases.locate(options.base, options.image_tower)
    found = []
    for name in dict.fromkeys([settings.default_base(), note.id]):
        if name == note.id and not BASE_NAME.fullmatch(name):
            continue
        try:
            found.append(bases.locate(name, options.image_tower))
        except (BaseNotFoundError, BaseInvalidError):
            continue
        if found[-1].fingerprint == note.fingerprint:
            return found[-1]
    wanted = f"the video was made on {one_printable_line(note.id)} ({note.fingerprint[:12]})"
    hint = "--base BASE says where it lies, or takes another one"
    if not found:
        raise BaseNotFoundError(f"{wanted}, which is not on this machine", hint=hint)
    here = ", ".join(f"{each.id} ({each.fingerprint[:12]})" for each in found)
    raise IncompatibleError(f"{wanted}, and here is {here}", hint=hint, code="base.mismatch")


def _prompt_again(recipe: VideoRecipe, uses: Sequence[Use], options: VideoOptions) -> Prompt:
    """The prompt as it was sent; other adapters speak in the place of those they stand in for."""
    if options.prompt is not None:
        typed = one_printable_line(options.prompt)
        if not typed:
            raise UsageError("the prompt is empty", hint="leave it out to keep the video's own")
        return compose_prompt(typed, words_of(uses))
    sent: str = recipe.generate["prompt"]
    if options.subject is None and options.motion is None:
        return Prompt(sent)
    for kind in ("subject", "motion"):
        former = [note.phrase for note in recipe.adapters if note.kind == kind]
        present = [use.phrase for use in uses if use.adapter.kind == kind]
        for old, new in zip(former, present, strict=False):
            sent = sent.replace(old, new) if old else sent
    return compose_prompt(sent, words_of(uses))


def _version_notes(recipe: VideoRecipe) -> list[str]:
    """What may make the bytes differ."""
    here = versions()
    other = [
        f"{name} {recipe.versions[name]} (here {here[name]})"
        for name in here
        if name in recipe.versions and recipe.versions[name] != here[name]
    ]
    return [f"made with {', '.join(other)}: the bytes may differ"] if other else []


def show_recipe(path: Path, shell: Shell) -> None:
    """Tell how a video was made, from what it carries.

    Raises:
        EngineError: see `read_recipe`.
    """
    from dreamvideo_cli.grid_recipe import find_grid, grid_document, grid_lines

    grid = find_grid(path)
    if grid is not None:
        print_result(shell, printable(grid_document(path, grid)), grid_lines(grid))
        return
    recipe = read_recipe(path)
    print_result(shell, carried_document(path, recipe), recipe_lines(recipe))
    say(shell, f"make it again: dv gen --again {shlex.quote(str(path))}")


def carried_document(path: Path, recipe: VideoRecipe) -> dict[str, Any]:
    """A video's recipe as JSON tells of it."""
    return {
        "schema": "dv.inspect/1",
        "what": "video",
        "path": str(path),
        "format": format_of(path),
        "recipe": printable(msgspec.to_builtins(recipe)),
    }


def printable(value: Any) -> Any:
    """A document of a stranger's with nothing in it that could move a cursor."""
    if isinstance(value, dict):
        return {one_printable_line(key): printable(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [printable(inner) for inner in value]
    return one_printable_line(value) if isinstance(value, str) else value


def may_carry_recipe(path: Path) -> bool:
    """Whether a path looks like a video of ours; only then is it worth opening."""
    from engine.errors import EngineError
    from engine.media.comments import read_comment

    if path.suffix.lower() not in VIDEO_SUFFIXES and not path.is_dir():
        return False
    try:
        return schema_of(read_comment(path)) is not None
    except EngineError:
        return False
