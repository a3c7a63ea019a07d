"""`dv base`: which bases there are, where they lie, and which one is taken by default."""

from typing import Annotated

import typer

from dreamvideo_cli.settings.files import config_file
from dreamvideo_cli.settings.places import default_base, locate
from dreamvideo_cli.terminal.options import Shell
from dreamvideo_cli.terminal.output import print_json, print_lines, print_result, say
from dreamvideo_cli.terminal.text import facts, size_text, table
from dreamvideo_cli.views.bases import _row, _video_text, describe

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
            document = describe(locate(name), name)
        except (BaseNotFoundError, BaseInvalidError) as error:
            document = {"schema": "dv.base_info/1", "name": name, "here": False, "hint": error.hint}
        documents.append({**document, "default": name == chosen})
    if shell.json:
        print_json(documents)
    elif shell.quiet:
        print_lines(document["name"] for document in documents)
    else:
        print_lines(table(("BASE", "", "SIZE", "LICENCE", "VIDEO"), [_row(d) for d in documents]))


def show_base(shell: Shell, base: BaseName = "") -> None:
    """Show a base, by default the one that is used: where it lies, its licence, its size.

    Example: dv base show mini
    """
    name = base or default_base()
    document = describe(locate(name), name)
    pairs = [
        ("base", document["id"]),
        ("summary", document["summary"]),
        ("licence", document["licence"]),
        ("size", size_text(document["size_bytes"])),
        ("video", _video_text(document["video"])),
        *((name, ", ".join(words)) for name, words in document["knows"].items()),
        ("folder", document["folder"]),
        ("image tower", document["image_tower"] or "none"),
        ("revision", document["revision"]),
        ("fingerprint", document["fingerprint"]),
    ]
    print_result(shell, document, facts(pairs))


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
    print_result(shell, describe(location, name), [name])
