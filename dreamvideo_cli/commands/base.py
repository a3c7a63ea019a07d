"""`dv base`: which bases there are, where they lie, and which one is taken by default."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dreamvideo_cli.settings.files import config_file, set_value
from dreamvideo_cli.settings.places import (
    absolute_name,
    default_base,
    fingerprint_memo,
    locate_whole,
)
from dreamvideo_cli.settings.process import go_online
from dreamvideo_cli.terminal.options import MotionModule, Shell, Yes
from dreamvideo_cli.terminal.output import View, ask_consent, info, require_consent, show
from dreamvideo_cli.terminal.progress import show_progress
from dreamvideo_cli.terminal.text import size_text
from dreamvideo_cli.views.bases import (
    base_document,
    base_view,
    bases_view,
    failed_document,
    pull_lines,
    pulled_view,
    release_document,
    release_view,
)
from engine.bases.folder import is_path
from engine.bases.hub_cache import find_snapshot
from engine.bases.motion_module import join_names, split_name
from engine.bases.names.mistakes import find_fault
from engine.bases.names.releases import RELEASES
from engine.errors import BaseInvalidError, BaseNotFoundError

if TYPE_CHECKING:
    from engine.bases import BaseLocation
    from engine.bases.pull.parcels import Parcel

BaseName = Annotated[str, typer.Argument(metavar="BASE", help="A path, a known name or a hub id.")]


def list_bases(shell: Shell) -> None:
    """List the known bases: whether they are here, what they need and what they are for.

    LEARN and MAKE are the GPU memory that learning a motion and making a video take.

    Example: dv base list
    """
    chosen = default_base()
    names = dict.fromkeys(["mini", *RELEASES, chosen])
    documents = [{**_find(name), "default": name == chosen} for name in names]
    show(shell, bases_view(documents))


def show_base(shell: Shell, base: BaseName = "", motion_module: MotionModule = None) -> None:
    """Show a base, by default the one that is used: its licence, what it needs, where it lies.

    Example: dv base show mini
    """
    name = join_names(base or default_base(), motion_module)
    try:
        view = base_view(locate_whole(name), name)
    except (BaseNotFoundError, BaseInvalidError) as error:
        if name not in RELEASES or _is_begun(name):
            raise
        view = release_view(name)
        info(shell, f"{name} is not on this machine" + (f"; {error.hint}" if error.hint else ""))
    show(shell, view)


def _is_begun(name: str) -> bool:
    """Whether something of a known base was fetched."""
    return find_snapshot(RELEASES[name].hub_id) is not None


def _find(name: str) -> dict[str, Any]:
    """What there is to tell of a base, here or not."""
    try:
        return base_document(locate_whole(name), name)
    except (BaseNotFoundError, BaseInvalidError) as error:
        if name in RELEASES and not _is_begun(name):
            return release_document(name)
        return failed_document(name, error.message, error.hint)


def pull_base(
    shell: Shell,
    base: Annotated[str, typer.Argument(metavar="BASE", help="A known name or a hub id.")],
    motion_module: MotionModule = None,
    yes: Yes = False,
    source: Annotated[
        Path | None,
        typer.Option(
            "--from",
            metavar="DIR",
            help="Copy from a folder: a base, or one with its repositories.",
        ),
    ] = None,
) -> None:
    """Fetch a base with its image tower: only the files that are read, resumed where it stopped.

    An image model comes with a motion module; a model that is read beside a base is fetched by its hub id too.
    HF_ENDPOINT names a mirror of the hub, HF_HOME another disk.

    Example: dv base pull modelscope
    """
    go_online()
    from engine.bases.pull.fetch import fetch
    from engine.bases.pull.plan import plan_pull, plan_tower

    name = join_names(base, motion_module)
    here = _find_whole(name)
    if here is not None and here.image_tower is not None:
        info(shell, f"{name} is here already, in {here.folder}")
        show(shell, pulled_view(name, []))
        return
    folder = source and source.expanduser()
    if not yes and folder is None:
        require_consent(shell, "fetch", name)
    plan = plan_pull(name, folder) if here is None else plan_tower(name, folder)
    if not yes:
        require_consent(shell, "fetch", name)
    _announce(shell, base, plan.parcels, asks=not yes)
    with show_progress(shell) as progress:
        fetch(plan.parcels, progress, fingerprint_memo())
    for each in plan.missing:
        info(shell, f"warning: {source} does not hold {each}; dv base pull {each} fetches it")
    show(shell, pulled_view(plan.name, plan.parcels))


def _announce(shell: Shell, base: str, parcels: Sequence["Parcel"], *, asks: bool) -> None:
    """Tell what will be fetched, under which licence and for what, and ask once."""
    from engine.bases.pull.parcels import missing_bytes, require_room

    require_room(parcels)
    for line in pull_lines(base, parcels):
        info(shell, line)
    if asks:
        ask_consent(shell, "fetch", size_text(missing_bytes(parcels)), is_usual=True)


def _find_whole(name: str) -> "BaseLocation | None":
    """The base where all of it but an image tower is here, else None."""
    own, _ = split_name(name)
    try:
        return locate_whole(name)
    except (BaseNotFoundError, BaseInvalidError):
        if is_path(own) or own.startswith("mini@"):
            raise
    if (fault := find_fault(own)) is not None:
        raise fault
    return None


def use_base(
    shell: Shell,
    base: Annotated[str, typer.Argument(metavar="BASE", help="The new default.")],
    motion_module: MotionModule = None,
) -> None:
    """Make a base the default of learn and gen.

    Example: dv base use ./my-base
    """
    name = absolute_name(join_names(base, motion_module))
    location = locate_whole(name)
    path = config_file()
    set_value(path, "base", name)
    info(shell, f"{location.id} is the default base from now on, says {path}")
    show(shell, View(base_document(location, name), [name]))


def import_base(
    shell: Shell,
    source: Annotated[str, typer.Argument(metavar="FILE", help="A UNet that VGen saved.")],
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="DIR", help="The folder of the new base.")
    ],
    like: Annotated[
        str,
        typer.Option(
            metavar="BASE",
            help="A base of its shapes, which gives all else of the new one.",
        ),
    ] = "modelscope",
) -> None:
    """Make a base of the UNet that DreamVideo's own code learns on, and all else of a base of its shapes.

    Example: dv base import unet.pth --like modelscope -o ./modelscope-v1-5
    """
    from engine.formats.unet_base import import_base as write_base
    from engine.media.output.staging import refuse_existing

    folder = output.expanduser().absolute()
    refuse_existing(folder, overwrite=False, hint="a folder that is not there yet")
    write_base(Path(source).expanduser().absolute(), locate_whole(like), folder)
    info(shell, f"--base {output} takes it; dv base use {output} makes it the default")
    location = locate_whole(str(folder))
    show(shell, View(base_document(location, str(folder)), [str(folder)]))
