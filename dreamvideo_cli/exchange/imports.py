"""Files of other tools into the registry: what they do not say is asked for, and what they are is told."""

from __future__ import annotations

import re
import tempfile
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Any, Literal

from msgspec import structs

from dreamvideo_cli.errors import UsageError
from dreamvideo_cli.settings.places import default_base, locate
from dreamvideo_cli.terminal.options import FOREIGN, Kind, Shell, option
from dreamvideo_cli.terminal.output import info
from engine.bases.accelerators import CARD, AcceleratorCard, read_card
from engine.errors import EngineError, IncompatibleError
from registry import InvalidError, RegistryError, check_name, open_registry
from registry.strangers.importing import Imported, look_into

if TYPE_CHECKING:
    from engine.formats.opening import Opened
    from engine.formats.readers import Wish
    from registry import Adapter, Registry

CLASS_WORD = "object"
FLAGS = {"class_word": "class", "motion_module": "motion-module"}
# What is said of one kind alone.
OF_ADAPTERS = ("class_word", "caption", "word", "expert")
OF_ACCELERATORS = ("steps", "guidance", "sampler", "shift")
SEPARATORS = re.compile(r"[._-]+")
# How a pickle begins, and the pictures that words are hidden in.
PICKLED_OR_DRAWN = (b"\x80", b"\x89PNG", b"\xff\xd8\xff", b"RIFF")


_foreign = partial(option, panel=FOREIGN)


@dataclass(frozen=True, slots=True)
class ForeignOptions:
    """What a file of another tool does not say of itself."""

    kind: Kind | None = _foreign("What the file is taken for.")
    base: str | None = _foreign("The base that it was made for.", metavar="BASE")
    motion_module: str | None = _foreign(
        "AnimateDiff's motion module, where --base is an image model.",
        metavar="DIR|ID",
    )
    class_word: str | None = _foreign(
        "What the subject is a kind of, as prompts say it.",
        "--class",
        metavar="WORD",
    )
    caption: str | None = _foreign("What prompts say of the motion.", metavar="TEXT")
    word: Path | None = _foreign("The word that goes with VGen's subject.", metavar="FILE")
    expert: Literal["high", "low"] | None = _foreign(
        "Of a base of two experts: the one for much noise, or the other."
    )
    steps: int | None = _foreign(
        "Of an accelerator: in how many steps videos are sampled with it.", metavar="N", min=1
    )
    guidance: float | None = _foreign("With how much guidance; 1 is none.", metavar="F")
    sampler: Literal["ddim", "dpm++", "unipc", "euler"] | None = _foreign("By which sampler.")
    shift: float | None = _foreign("On a base of flow matching: the shift.", metavar="F")

    @property
    def given(self) -> list[str]:
        """The options that were used."""
        names = self.__dataclass_fields__
        return [f"--{FLAGS.get(name, name)}" for name in names if getattr(self, name) is not None]


def import_foreign(
    store: Registry,
    path: Path,
    options: ForeignOptions,
    shell: Shell,
    *,
    name: str | None,
    tool: str,
) -> tuple[Imported, ...]:
    """Publish what a file of another tool holds.

    Raises:
        UsageError: it is a file of our own, or no name fits.
        BaseNotFoundError, BaseInvalidError: the base cannot be used.
    """
    from engine.formats.opening import open_file
    from engine.formats.reading import convert, convert_accelerator, recognise

    _refuse_own(path, options, tool)
    _refuse_idle(options)
    opened = open_file(path)
    location = locate(options.base or default_base(), motion_module=options.motion_module)
    with tempfile.TemporaryDirectory(prefix="dv-") as folder:
        if options.kind == "accelerator":
            card, what = _card(opened, options), path.name
            chosen = _choose_name(opened, name or card.name or None)
            converted = [convert_accelerator(opened, location, card, Path(folder))]
        else:
            what, wish = recognise(opened).what, _wish(opened, options, name)
            chosen = wish.name
            converted = convert(opened, location, wish, Path(folder))
        imported = [store.import_file(e.file, tool=tool, name=chosen)[0] for e in converted]
    for each, made in zip(imported, converted, strict=True):
        for line in _describe(each.adapter, f"{what}, on {location.id}", options, made.note):
            info(shell, line)
    return tuple(imported)


def _refuse_idle(options: ForeignOptions) -> None:
    """Refuse what would say nothing of this kind."""
    is_accelerator = options.kind == "accelerator"
    names, hint = (
        (OF_ADAPTERS, "") if is_accelerator else (OF_ACCELERATORS, "--kind accelerator, or ")
    )
    if idle := [f"--{FLAGS.get(n, n)}" for n in names if getattr(options, n) is not None]:
        what = "an accelerator" if is_accelerator else "a subject or motion"
        raise UsageError(f"{idle[0]} says nothing of {what}", hint=f"{hint}leave it out")


def _card(opened: Opened, options: ForeignOptions) -> AcceleratorCard:
    """What the card beside an accelerator's file says, under the options.

    Raises:
        UsageError: neither says in how many steps it is used.
    """
    card = read_card(opened.path) or AcceleratorCard()
    asked = {name: getattr(options, name) for name in OF_ACCELERATORS}
    given = {name: value for name, value in asked.items() if value is not None}
    card = structs.replace(card, generate={**card.generate, **given})
    if "steps" not in card.generate:
        raise UsageError(
            f"{opened.path} has no {CARD} beside it that says in how many steps it is used",
            hint="--steps N, and --guidance and --sampler as its makers say",
        )
    return card


def _describe(adapter: Adapter, what: str, options: ForeignOptions, note: str) -> Iterator[str]:
    """What was taken, and what was assumed of it."""
    yield f"{adapter.name}:v{adapter.version} is the {adapter.kind} in {what}"
    yield from _assumed(adapter, options)
    yield from [note] if note else []


def _refuse_own(path: Path, options: ForeignOptions, tool: str) -> None:
    """A file of our own says itself what it is."""
    if path.is_dir():
        return
    try:
        look_into(path, tool=tool)
    except RegistryError:
        return
    raise UsageError(
        f"{path} was made by dv and says itself what it is",
        hint=f"leave {', '.join(options.given)} out",
    )


def _wish(opened: Opened, options: ForeignOptions, name: str | None) -> Wish:
    """What is asked for, a name found where none is given."""
    from engine.formats.readers import Wish

    assert options.kind != "accelerator"
    chosen = _choose_name(opened, name)
    return Wish(
        name=chosen,
        kind=options.kind,
        class_word=(options.class_word or "").strip() or CLASS_WORD,
        caption=(options.caption or "").strip() or SEPARATORS.sub(" ", chosen),
        expert=options.expert,
        word=options.word and options.word.expanduser().absolute(),
    )


def _choose_name(opened: Opened, name: str | None) -> str:
    """The name that is given, or the one that the file proposes."""
    from engine.formats.reading import propose_name

    if name is not None:
        return check_name(name)
    proposed = propose_name(opened)
    try:
        return check_name(proposed.lower())
    except InvalidError as error:
        raise UsageError(
            f"{opened.path} does not say a name that could be used: {proposed!r}",
            hint="--name gives it one",
        ) from error


def _assumed(adapter: Adapter, options: ForeignOptions) -> Iterator[str]:
    """What the file did not say and nobody else did."""
    record = adapter.record
    if adapter.kind == "subject" and options.class_word is None:
        yield f"no --class: prompts say {record.class_word!r} of {adapter.name}"
    if adapter.kind == "motion" and options.caption is None:
        yield f"no --caption: prompts say {record.caption!r} of {adapter.name}"


@contextmanager
def own_registry() -> Iterator[Registry]:
    """A registry for this process alone; it goes with the block."""
    with tempfile.TemporaryDirectory(prefix="dv-", ignore_cleanup_errors=True) as folder:
        yield open_registry(Path(folder) / "registry")


def foresee_import(
    store: Registry, own: Registry, imported: Sequence[Imported]
) -> tuple[Imported, ...]:
    """What importing into ``store`` would come to, of adapters that lie in a registry of their own.

    Raises:
        RegistryError: a name cannot be used there.
    """
    found: list[Imported] = []
    for adapter in (each.adapter for each in imported):
        kind, name, record = adapter.kind, adapter.name, adapter.record
        store.check_publish(kind, name)
        rows = list(store.list(kind, name, all_versions=True).rows)
        is_lone = not own.manifest(adapter).training.device  # a file without its manifest
        known = {row.record.content if is_lone else row.digest: row for row in rows}
        if there := known.get(record.content if is_lone else record.digest):
            found.append(Imported(there, is_new=False))
            continue
        before = [each.adapter for each in found if each.is_new]
        rows += [each for each in before if (each.kind, each.name) == (kind, name)]
        number = max([store.next_version(kind, name), *(row.version + 1 for row in rows)])
        over = rows[-1].version if rows else None
        found.append(Imported(replace(adapter, version=number), is_new=True, over=over))
    return tuple(found)


@contextmanager
def foreign_explained(source: object) -> Iterator[None]:
    """Where the registry cannot read a file, say what it is if another tool wrote it."""
    try:
        yield
    except RegistryError as error:
        if not isinstance(source, Path):
            raise
        raise explain_foreign(source, error) from error


def explain_foreign(path: Path, error: RegistryError) -> Exception:
    """Why a file that the registry could not read is none of ours: another tool's, or still unreadable.

    A plain LoRA or word is whole and good; only nobody has said what to take it for.
    """
    if not _may_be_foreign(path, error):
        return error
    try:
        found = find_foreign(path)
    except EngineError as refused:
        return refused
    return IncompatibleError(
        f"{path} holds {found['what']}, not made by dv",
        hint=f"{found['import']} takes it",
        code="file.other_tool",
    )


def find_foreign(path: Path) -> dict[str, Any]:
    """What a file of another tool is, as JSON tells of it.

    Raises:
        IncompatibleError: it cannot be taken, whatever it is taken for.
    """
    from engine.formats.opening import open_file
    from engine.formats.reading import guess_kind, recognise

    opened = open_file(path)
    found, kind = recognise(opened), guess_kind(opened)
    return {
        "schema": "dv.foreign/1",
        "path": str(path),
        "what": found.what,
        "kind": kind,
        "tensors": len(opened.tensors),
        "params": sum(tensor.numel() for tensor in opened.tensors.values()),
        "import": f"dv import {quote(str(path))} --kind {kind} --base BASE",
    }


def _may_be_foreign(path: Path, error: RegistryError) -> bool:
    """Whether bytes look like another tool's, rather than like a file of ours that is broken."""
    if error.code == "file.other_tool" or path.is_dir():
        return True
    if not path.is_file():
        return False
    with path.open("rb") as stream:
        start = stream.read(9)
    if start.startswith(b"PK"):
        return _is_of_torch(path)
    return start.startswith(PICKLED_OR_DRAWN)


def _is_of_torch(path: Path) -> bool:
    """Whether a zip is one of `torch.save`."""
    try:
        with zipfile.ZipFile(path) as archive:
            return any(name.endswith("/data.pkl") for name in archive.namelist())
    except (zipfile.BadZipFile, OSError, ValueError, RuntimeError, NotImplementedError):
        return False
