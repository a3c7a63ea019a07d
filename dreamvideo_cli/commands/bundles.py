"""Adapters as files: out of the registry, into it, and looked into."""

import re
import shutil
import sys
from contextlib import nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, get_args

import typer

from dreamvideo_cli import __version__
from dreamvideo_cli.errors import UsageError
from dreamvideo_cli.exchange.imports import (
    ForeignOptions,
    find_foreign,
    foreign_explained,
    foresee_import,
    import_foreign,
    own_registry,
)
from dreamvideo_cli.settings.places import open_registry
from dreamvideo_cli.terminal.options import DryRun, Kind, Overwrite, Shell, filled, option
from dreamvideo_cli.terminal.output import View, info, show
from dreamvideo_cli.views.adapters import (
    contents_view,
    exported_view,
    foreign_view,
    import_plan_view,
    imported_view,
    label,
)
from engine.drafts import drafted
from engine.errors import EngineError
from engine.media.files import address_in, require_path
from engine.media.output.staging import refuse_existing
from registry import NotFoundError, RegistryError
from registry.strangers.importing import look_into

if TYPE_CHECKING:
    from registry import Adapter, Registry
    from registry.strangers.importing import Imported

TOOL = f"dv {__version__}"
UNITS = {"": 0, "K": 10, "M": 20, "G": 30, "T": 40}


@dataclass(frozen=True, slots=True)
class ToolOptions:
    """For which other tool an adapter is written, and what of it."""

    tool: Literal["diffusers", "kohya", "peft", "a1111", "comfy"] | None = option(
        "Write what another tool reads, in place of a bundle.", "--format"
    )
    expert: Literal["high", "low"] | None = option(
        "With --format: the layers of one of two experts."
    )
    rank: int | None = option(
        "With --format: changed weights (dreamix, tune-a-video) as low-rank layers.",
        min=1,
        max=1024,
    )


def export_adapters(
    kind: Kind,
    refs: Annotated[list[str], typer.Argument(metavar="REF...", help="References.")],
    asked: ToolOptions,
    shell: Shell,
    *,
    output: Annotated[
        str, typer.Option("--output", "-o", metavar="FILE|-", help="Where the bundle goes.")
    ],
    overwrite: Overwrite = False,
) -> None:
    """Write versions of a KIND into one bundle, for another registry, or one of them for another tool.

    subject/NAME, motion/NAME and accelerator/NAME go into the same bundle, whichever command writes it.

    Example: dv KIND export NAME:best -o NAME.dva
    """
    store = open_registry(shell.registry)
    adapters = [_resolve_either(store, ref, kind) for ref in refs]
    if asked.tool is not None:
        place = _refuse_many(adapters, output, asked.tool)
        _export_to_tool(shell, store, adapters[0], asked, place, overwrite=overwrite)
        return
    if asked.expert is not None or asked.rank is not None:
        flag = "--rank" if asked.expert is None else "--expert"
        raise UsageError(f"{flag} goes with --format", hint="a bundle holds all of an adapter")
    if output == "-":
        _export_to_stdout(store, adapters, shell)
        return
    path = Path(output).expanduser().absolute()
    _refuse_output(path, output, overwrite=overwrite)
    _export_to(store, adapters, path)
    document = {
        "schema": "dv.bundle/1",
        "path": str(path),
        "refs": [str(each) for each in adapters],
    }
    show(shell, View(document, [str(path)]))


def _export_to_tool(
    shell: Shell,
    store: "Registry",
    adapter: "Adapter",
    asked: ToolOptions,
    path: Path,
    *,
    overwrite: bool,
) -> None:
    """Write an adapter as a file of another tool, and say what became of it."""
    from engine.formats.writing import write_foreign

    written = write_foreign(
        store.file(adapter),
        asked.tool or "",
        path,
        label=label(adapter),
        expert=asked.expert,
        rank=asked.rank,
        overwrite=overwrite,
    )
    info(shell, f"for {written.loads_in}; prompts say {written.prompt!r}")
    if written.kept is not None:
        kept = f"{written.kept:.1%} of the squares of what was learned"
        info(shell, f"rank {asked.rank} keeps {kept}")
    show(shell, exported_view(adapter, asked.tool or "", written))


def _refuse_many(adapters: "list[Adapter]", output: str, tool: str) -> Path:
    """Where the one adapter goes that a file of another tool can hold."""
    for each in adapters:
        if each.kind == "accelerator":
            raise UsageError(
                f"{label(each)} is an accelerator, and its file is one of other tools already",
                hint=f"dv accelerator path {label(each)} prints where it lies",
            )
    if len(adapters) > 1:
        named = ", ".join(label(each) for each in adapters)
        raise UsageError(f"a file of {tool} holds one adapter, not {named}", hint="export each")
    if output == "-":
        raise UsageError(f"--format {tool} writes no pipe", hint="-o FILE")
    return Path(output).expanduser().absolute()


def _refuse_output(path: Path, output: str, *, overwrite: bool) -> None:
    """Whether a bundle can be written there."""
    if output.endswith("/") or path.is_dir():
        hint = f"name a file in it: -o {path / 'NAME.dva'}"
        raise UsageError(f"-o {output} is a folder, and a bundle is one file", hint=hint)
    if path.suffix == ".safetensors":
        raise UsageError(
            f"-o {output}: a bundle is no .safetensors, it holds the manifest too",
            hint=f"-o {path.with_suffix('.dva').name}; --format diffusers and others write weights alone",
        )
    refuse_existing(path, overwrite=overwrite)


def import_adapters(
    source: Annotated[
        str,
        typer.Argument(
            metavar="FILE|-", help="A bundle (.dva), an adapter's file, or another tool's."
        ),
    ],
    foreign: ForeignOptions,
    shell: Shell,
    *,
    name: Annotated[
        str | None, typer.Option(metavar="NAME", help="Instead of the name in the file.")
    ] = None,
    max_size: Annotated[
        str, typer.Option(metavar="SIZE", help="Refuse more than this, such as 500M.")
    ] = "4G",
    dry_run: DryRun = False,
) -> None:
    """Take adapters from a file or a pipe into the registry; words and LoRA of other tools too.

    A name that is there already gets a new version, which is said; --name keeps them apart. Of another tool's file
    --kind and --base say what it is taken for.

    Example: dv import fox.dva
    """
    if source == "-" and sys.stdin.isatty():
        raise UsageError("no bundle comes from a terminal", hint="name a file, or use a pipe")
    if source != "-" and address_in(Path(source)):
        require_path(Path(source))
    most_bytes = read_bytes(max_size)
    store = open_registry(shell.registry)
    with own_registry() if dry_run else nullcontext(store) as target:
        if foreign.given:
            path = _refuse_longer(source, most_bytes, foreign)
            imported = import_foreign(target, path, foreign, shell, name=name, tool=TOOL)
        else:
            stream = sys.stdin.buffer if source == "-" else Path(source).expanduser().absolute()
            with foreign_explained(stream):
                imported = target.import_file(stream, tool=TOOL, name=name, most_bytes=most_bytes)
        if dry_run:
            imported = foresee_import(store, target, imported)
    for line in filter(None, map(_arrival, imported)):
        info(shell, line)
    show(shell, import_plan_view(store, imported) if dry_run else imported_view(imported))


def _arrival(imported: "Imported") -> str:
    """What must be said of an adapter that comes where one of its name was, or ""."""
    adapter, named = imported.adapter, label(imported.adapter)
    if not imported.is_new:
        return f"{named} is there already"
    if imported.over is None:
        return ""
    kind = filled("a KIND", "kind", adapter.kind)
    return (
        f"warning: {kind} {adapter.name} was here before: the imported one is {named}, its latest version in place"
        f" of v{imported.over}; --name OTHER keeps them apart"
    )


def _refuse_longer(source: str, most_bytes: int, foreign: ForeignOptions) -> Path:
    """The path of another tool's file that is not too long to read."""
    if source == "-":
        raise UsageError(
            f"{foreign.given[0]} is for a file of another tool, which a pipe cannot bring",
            hint="write it to a file first",
        )
    path = Path(source).expanduser().absolute()
    if path.is_file() and path.stat().st_size > most_bytes:
        raise UsageError(
            f"{path} has more than {most_bytes} bytes", hint="--max-size raises the limit"
        )
    return path


def show_adapters_in(place: Path, shell: Shell) -> None:
    """Tell what a bundle, an adapter's file or another tool's holds, without importing it."""
    try:
        with foreign_explained(place):
            looked = look_into(place, tool=TOOL)
    except EngineError as error:
        if error.code != "file.other_tool":
            raise
        show(shell, foreign_view(find_foreign(place)))
        return
    show(shell, contents_view(looked if isinstance(looked, tuple) else [looked]))


def read_bytes(text: str) -> int:
    """``500M`` to bytes; a unit is a power of 1024.

    Raises:
        UsageError: it is not written so.
    """
    match = re.fullmatch(r"(\d{1,9})([KMGT]?)(?:I?B)?", text.strip().upper())
    if not match:
        raise UsageError(f"--max-size {text!r} is no size", hint="for example 500M or 4G")
    return int(match[1]) << UNITS[match[2]]


def _resolve_either(store: "Registry", ref: str, kind: Kind) -> "Adapter":
    """What a reference stands for; ``subject/…`` and the like say the kind themselves, so one bundle takes all."""
    if ref.startswith(tuple(f"{each}/" for each in get_args(Kind))):
        return store.resolve(ref)
    try:
        return store.resolve(ref, kind=kind)
    except NotFoundError as error:
        with suppress(RegistryError):
            other = store.resolve(ref).kind
            error.hint = f"write {other}/{ref}"
        raise


def _export_to(store: "Registry", adapters: "list[Adapter]", path: Path) -> None:
    """Write the file whole or not at all."""
    import os

    with drafted(path) as draft, draft.open("xb") as target:
        store.export(adapters, target)
        target.flush()
        os.fsync(target.fileno())


def _export_to_stdout(store: "Registry", adapters: "list[Adapter]", shell: Shell) -> None:
    """By way of a temporary file: a bundle is sought while it is written, and goes out unbroken."""
    import tempfile

    if shell.json:
        raise UsageError("--json and -o - both want stdout", hint="leave one out")
    if sys.stdout.isatty():
        raise UsageError("a bundle is nothing for a terminal", hint="-o FILE, or a pipe")
    with tempfile.TemporaryFile() as spool:
        store.export(adapters, spool)
        spool.seek(0)
        sys.stdout.flush()
        shutil.copyfileobj(spool, sys.stdout.buffer)
        sys.stdout.buffer.flush()
