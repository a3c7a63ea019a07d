"""Where photos and clips lie that videos were made from and motions learned from, by their digests.

Recipes and manifests have no paths, so videos and adapters can be given away without telling where their maker's files
lie. This machine notes that for itself in ``<state>/inputs.ndjson``, and finds them again; where it does not, the
flags give the files again.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import msgspec

from dreamvideo_cli.runs.notebook import append_notes, read_notes
from dreamvideo_cli.settings.places import state_folder
from dreamvideo_cli.terminal.text import read_path, write_path
from engine.errors import InputError, InputNotFoundError

MOST_BYTES = 1 << 20


class _Known(msgspec.Struct, frozen=True):
    digest: str
    path: str


def remember_paths(paths: Mapping[str, Path]) -> None:
    """Note where each digest was found."""
    known = _read()
    fresh = {digest: write_path(path) for digest, path in paths.items()}
    notes = [_Known(*pair) for pair in fresh.items() if known.get(pair[0]) != pair[1]]
    if notes:
        append_notes(_file(), notes, MOST_BYTES)


def find_again(
    digest: str,
    what: str,
    flag: str,
    digest_of: Callable[[Path], str],
    *,
    made: str = "the video was made with the",
    otherwise: str = "",
) -> Path:
    """Where a file of a recipe lies, its bytes seen to be the same.

    Args:
        digest: of it, as the recipe has it.
        what: it is: ``clip``.
        flag: that gives it again: ``--edit CLIP``.
        digest_of: the digest of what lies at a path.
        made: what it was used for.
        otherwise: what would do too, behind a semicolon.

    Raises:
        InputNotFoundError: nobody knows where it is, or it is there no more.
        InputError: it was changed.
    """
    made = f"{made} {what} sha256:{digest}"
    hint = f"{flag} gives it again{otherwise}"
    written = _read().get(digest)
    if written is None:
        raise InputNotFoundError(f"{made}, and nobody knows where that lies", hint=hint)
    path = read_path(written)
    if not path.exists():
        raise InputNotFoundError(f"{made}, and {path} is gone", hint=hint)
    found = digest_of(path)
    if found != digest:
        raise InputError(
            f"{path} was changed since: {made}, and it is sha256:{found} now",
            hint=f"put it back as it was; {flag} takes another one",
        )
    return path


def _file() -> Path:
    return state_folder() / "inputs.ndjson"


def _read() -> dict[str, str]:
    """Each path by its digest; of one digest the last counts."""
    return {each.digest: each.path for each in read_notes(_file(), _Known, MOST_BYTES)}
