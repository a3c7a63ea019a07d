"""`dv base`: which bases there are, where they lie, and which one is taken by default."""

from typing import Annotated, Any

import typer

from dreamvideo_cli.settings.files import config_file
from dreamvideo_cli.settings.places import absolute_name, default_base, locate_whole
from dreamvideo_cli.terminal.options import MotionModule, Shell
from dreamvideo_cli.terminal.output import View, info, show
from dreamvideo_cli.views.bases import (
    base_document,
    base_view,
    bases_view,
    failed_document,
    release_document,
    release_view,
)
from engine.bases.motion_module import join_names

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
