"""`dv base`: which bases there are, where they lie, and which one is taken by default."""

from typing import Annotated

import typer

from dreamvideo_cli.settings.files import config_file
from dreamvideo_cli.settings.places import default_base, locate
from dreamvideo_cli.terminal.options import Shell
from dreamvideo_cli.terminal.output import View, say, show
from dreamvideo_cli.views.bases import base_document, base_view, bases_view, missing_document

BaseName = Annotated[str, typer.Argument(metavar="BASE", help="A path, a known name or a hub id.")]


def list_bases(shell: Shell) -> None:
    """List the known bases and those adapters were learned on.

    Example: dv base list
    """
    from engine.bases import KNOWN
    from engine.errors import BaseInvalidError, BaseNotFoundError

    chosen = default_base()
    documents = []
    for name in dict.fromkeys(["mini", *KNOWN, chosen]):
        try:
            document = base_document(locate(name), name)
        except (BaseNotFoundError, BaseInvalidError) as error:
            document = missing_document(name, error.hint)
        documents.append({**document, "default": name == chosen})
    show(shell, bases_view(documents))


def show_base(shell: Shell, base: BaseName = "") -> None:
    """Show a base, by default the one that is used: where it lies, its licence, its size.

    Example: dv base show mini
    """
    name = base or default_base()
    show(shell, base_view(locate(name), name))


def use_base(
    shell: Shell, base: Annotated[str, typer.Argument(metavar="BASE", help="The new default.")]
) -> None:
    """Make a base the default of learn and gen.

    Example: dv base use ./my-base
    """
    from dreamvideo_cli.settings.files import set_value
    from engine.bases.catalog import is_path

    location = locate(base)
    name = str(location.folder) if is_path(base) else base
    path = config_file()
    set_value(path, "base", name)
    say(shell, f"{location.id} is the default base from now on, says {path}")
    show(shell, View(base_document(location, name), [name]))
