"""Accelerators: changes of a base's own weights after which it needs fewer calls; where one lies and what it says.

A file of safetensors, and in it or beside it a card that says in how many steps, with how much guidance and by which
sampler a base is sampled with it. Its name is a path, the name of one that is bundled, or a hub id, in this order.
"""

from __future__ import annotations

import json
import tomllib
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import msgspec
from msgspec import Meta, Struct

from engine.bases.catalog import BaseLocation
from engine.bases.folder import hash_files, is_path, read_header, weight_files
from engine.bases.hub_cache import find_snapshot
from engine.errors import BaseInvalidError, BaseNotFoundError, IncompatibleError, RecipeError
from engine.recipe import GenerateRecipe, build_recipe

BUNDLED = Path(__file__).resolve().parents[1] / "mini" / "accelerators"
CARD = "accelerator.toml"
# What a card may set of a video.
SETTINGS = ("steps", "guidance", "guidance_low", "sampler", "shift")
# In the metadata of a file that holds its card: under the key, the entry.
METADATA_KEY, METADATA_ENTRY = "dreamvideo", "card"


class AcceleratorCard(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What an accelerator says of itself.

    ``base`` is the fingerprint of the base whose weights it changes, where it is for one alone; ``generate`` are those
    of `SETTINGS` that it says.
    """

    schema: str = "dv.accelerator/1"
    name: str = ""
    licence: str = "unknown"
    summary: str = ""
    base: Annotated[str, Meta(pattern=r"^[0-9a-f]{64}$")] | None = None
    generate: dict[str, Any] = {}


@dataclass(frozen=True, slots=True)
class Accelerator:
    """An accelerator that is on this machine.

    Attributes:
        name: as it was asked for.
        file: its weights.
        digest: SHA-256 of the file, 64 hex digits.
        card: what it says of itself, or None.
    """

    name: str
    file: Path
    digest: str
    card: AcceleratorCard | None


def locate_accelerator(name: str, *, memo: Path | None = None) -> Accelerator:
    """The accelerator called ``name``; never touches the network.

    Args:
        name: ``mini-4``, ``./folder``, ``./file.safetensors``, ``owner/repository``.
        memo: file that remembers hashes by path, size and time, or None.

    Raises:
        BaseNotFoundError: it is not on this machine.
        BaseInvalidError: it is not one file of safetensors, or its card cannot be read.
    """
    file = _find_file(name)
    try:
        read_header(file)
    except (OSError, ValueError) as error:
        raise BaseInvalidError(
            f"accelerator {name}: {file.name} is no .safetensors file"
        ) from error
    return Accelerator(name, file, hash_files([file], memo)[file], read_card(file))


def find_bundled(digest: str) -> Accelerator | None:
    """The bundled accelerator with this digest, or None."""
    names = [folder.name for folder in sorted(BUNDLED.glob("*/"))]
    return next(
        (found for name in names if (found := locate_accelerator(name)).digest == digest), None
    )


def check_accelerator(
    accelerator: Accelerator, location: BaseLocation, recipe: GenerateRecipe
) -> None:
    """Whether an accelerator is for this base, and the recipe with it calls the network less often than without.

    Raises:
        IncompatibleError: it is for another base.
        RecipeError: it saves no calls.
    """
    card = accelerator.card or AcceleratorCard()
    if card.base not in {None, location.fingerprint}:
        raise IncompatibleError(
            f"the accelerator {accelerator.name} changes the weights of another base ({card.base:.12}) than"
            f" {location.id} ({location.fingerprint[:12]})",
            hint="leave it out, or name its base: --base BASE",
        )
    plain = build_recipe(GenerateRecipe, {"prompt": "", **location.card.generate_defaults})
    calls, usual = (each.steps + len(each.guided_steps) for each in (recipe, plain))
    if calls >= usual:
        raise RecipeError(
            f"the accelerator {accelerator.name} saves nothing: {recipe.steps} steps with guidance"
            f" {recipe.guidance:g} are {calls} calls, and without it {location.id} is called {usual} times",
            hint=f"--steps {card.generate.get('steps', max(1, usual // 4))}, or leave it out",
        )


def _find_file(name: str) -> Path:
    if (BUNDLED / name).is_dir() and not is_path(name):
        folder = BUNDLED / name
    elif is_path(name) or Path(name).exists():
        folder = Path(name).expanduser().resolve()
    else:
        found = find_snapshot(name) if "/" in name else None
        if found is None:
            bundled = ", ".join(sorted(each.name for each in BUNDLED.glob("*/")))
            hint = (
                f"./FOLDER or ./FILE, a hub id that was fetched, or one that is bundled: {bundled}"
            )
            raise BaseNotFoundError(f"accelerator {name} is not on this machine", hint=hint)
        folder = found
    if folder.is_file():
        return folder
    files = list(weight_files(folder)) if folder.is_dir() else []
    if not files:
        raise BaseNotFoundError(f"accelerator {name}: no .safetensors there")
    if len(files) > 1:
        few = ", ".join(path.name for path in files[:3])
        raise BaseInvalidError(
            f"accelerator {name} is {len(files)} files: {few}", hint="name one of them"
        )
    return files[0]


def read_card(file: Path) -> AcceleratorCard | None:
    """The card beside a file, by the file's name or by its own, else the one in it."""
    beside = (file.with_suffix(".toml"), file.parent / CARD)
    path = next((each for each in beside if each.is_file()), None)
    if path is None:
        return _read_card_in(file)
    try:
        return convert_card(tomllib.loads(path.read_text("utf-8")))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, msgspec.ValidationError) as error:
        raise BaseInvalidError(f"{path} cannot be read: {error}") from error


def _read_card_in(file: Path) -> AcceleratorCard | None:
    """The card in a file's metadata; whoever opens a file that cannot be read tells of it."""
    with suppress(OSError, ValueError, AttributeError, KeyError):
        said = read_header(file)[0]["__metadata__"][METADATA_KEY]
        return convert_card(json.loads(said)[METADATA_ENTRY])
    return None


def convert_card(plain: object) -> AcceleratorCard:
    """A card of plain data.

    Raises:
        ValidationError: it is none, or sets something else than `SETTINGS`.
    """
    card = msgspec.convert(plain, AcceleratorCard)
    if other := [name for name in card.generate if name not in SETTINGS]:
        known = ", ".join(SETTINGS)
        raise msgspec.ValidationError(f"generate.{other[0]:.40} is none of {known}")
    return card
