"""`dv base`: which bases there are, where they lie, and which one is taken by default."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dreamvideo_cli.settings.files import config_file
from dreamvideo_cli.settings.network import go_online
from dreamvideo_cli.settings.places import (
    absolute_name,
    default_base,
    fingerprint_memo,
    locate_whole,
)
from dreamvideo_cli.terminal.options import MotionModule, Shell, Yes
from dreamvideo_cli.terminal.output import View, ask_consent, info, show
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
from engine.bases.motion_module import join_names

if TYPE_CHECKING:
    from engine.bases import BaseLocation
    from engine.bases.pull.fetch import Parcel

BaseName = Annotated[str, typer.Argument(metavar="BASE", help="A path, a known name or a hub id.")]


def list_bases(shell: Shell) -> None:
    """List the known bases: whether they are here, what they need and what they are for.

    LEARN and MAKE are the GPU memory that learning a motion and making a video take.

    Example: dv base list
    """
    from engine.bases import KNOWN

    chosen = default_base()
    names = dict.fromkeys(["mini", *KNOWN, chosen])
    documents = [{**_find(name), "default": name == chosen} for name in names]
    show(shell, bases_view(documents))


def show_base(shell: Shell, base: BaseName = "", motion_module: MotionModule = None) -> None:
    """Show a base, by default the one that is used: its licence, what it needs, where it lies.

    Example: dv base show mini
    """
    from engine.bases.names.releases import RELEASES
    from engine.errors import BaseInvalidError, BaseNotFoundError

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
    from engine.bases.hub_cache import find_snapshot
    from engine.bases.names.releases import RELEASES

    return find_snapshot(RELEASES[name].hub_id) is not None


def _find(name: str) -> dict[str, Any]:
    """What there is to tell of a base, here or not."""
    from engine.bases.names.releases import RELEASES
    from engine.errors import BaseInvalidError, BaseNotFoundError

    try:
        return base_document(locate_whole(name), name)
    except (BaseNotFoundError, BaseInvalidError) as error:
        if name in RELEASES and not _is_begun(name):
            return release_document(name)
        return failed_document(name, error.message, error.hint)


def pull_base(
    shell: Shell,
    base: Annotated[str, typer.Argument(metavar="BASE", help="A known name or a hub id.")],
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

    HF_ENDPOINT names a mirror of the hub, HF_HOME another disk.

    Example: dv base pull modelscope
    """
    go_online()
    from engine.bases.pull.fetch import fetch, known_release, plan_pull
    from engine.bases.pull.local import copy, plan_copy

    hub_id, release = known_release(base)
    if (found := _find_whole(base)) is not None and found.image_tower is not None:
        info(shell, f"{base} is here already, in {found.folder}")
        show(shell, pulled_view(base, []))
        return
    if source is None:
        parcels = plan_pull(hub_id, release)
        _agree(shell, base, parcels, yes=yes)
        with show_progress(shell) as progress:
            fetch(parcels, progress, fingerprint_memo())
    else:
        copies, missing = plan_copy(source.expanduser(), hub_id, release)
        parcels = [each.parcel for each in copies]
        _agree(shell, base, parcels, yes=yes)
        with show_progress(shell) as progress:
            copy(copies, progress)
        for each in missing:
            info(shell, f"warning: {source} does not hold {each}; dv base pull {base} fetches it")
    show(shell, pulled_view(base, parcels))


def _agree(shell: Shell, base: str, parcels: Sequence["Parcel"], *, yes: bool) -> None:
    """Tell what will be fetched, under which licence and for what, and ask once."""
    from engine.bases.pull.fetch import missing_bytes, require_room

    require_room(parcels)
    for line in pull_lines(base, parcels):
        info(shell, line)
    if not yes:
        ask_consent(shell, "fetch", size_text(missing_bytes(parcels)), is_usual=True)


def _find_whole(base: str) -> "BaseLocation | None":
    """The base where all of it is here, else None."""
    from engine.bases.hub_cache import find_snapshot
    from engine.bases.pull.fetch import check_pulled, known_release
    from engine.errors import BaseInvalidError, BaseNotFoundError

    if base == "mini":
        return locate_whole(base)
    check_pulled(base)
    if find_snapshot(known_release(base)[0]) is None:
        return None
    try:
        return locate_whole(base)
    except (BaseNotFoundError, BaseInvalidError):
        return None


def use_base(
    shell: Shell,
    base: Annotated[str, typer.Argument(metavar="BASE", help="The new default.")],
    motion_module: MotionModule = None,
) -> None:
    """Make a base the default of learn and gen.

    Example: dv base use ./my-base
    """
    from dreamvideo_cli.settings.files import set_value

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

    folder = output.expanduser().absolute()
    write_base(Path(source).expanduser().absolute(), locate_whole(like), folder)
    info(shell, f"--base {output} takes it; dv base use {output} makes it the default")
    location = locate_whole(str(folder))
    show(shell, View(base_document(location, str(folder)), [str(folder)]))
