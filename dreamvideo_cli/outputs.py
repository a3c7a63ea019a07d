"""Where videos go: formats by suffix, automatic names that never meet a file."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING

from dreamvideo_cli.errors import UsageError

if TYPE_CHECKING:
    from engine.media.write import Format

# png is a folder of frames.
SUFFIXES: Mapping[Format, str] = {"mp4": ".mp4", "gif": ".gif", "webp": ".webp", "png": ""}


@dataclass(frozen=True, slots=True)
class Outputs:
    """Where videos go.

    Attributes:
        format: of all of them.
        paths: absolute, one a seed.
        automatic: the names are ours, and give way where another process takes one meanwhile.
    """

    format: Format
    paths: tuple[Path, ...]
    automatic: bool


def plan_outputs(
    stem: str,
    seeds: Sequence[int],
    output: str | None,
    *,
    format: Format | None,  # noqa: A002 - the word of the command line
    overwrite: bool,
) -> Outputs:
    """Format and path of each seed's video, checked to be free and writable.

    Args:
        stem: how automatic names begin.
        seeds: one video each.
        output: a file, a folder (there already, or ending in a slash), or None for the current folder.
        format: None takes the file's suffix, or mp4.
        overwrite: an explicit file may be there.

    Raises:
        UsageError: no format is known for the file, or several videos are to become one.
        OutputExistsError: an explicit file is there.
        OutputError: the folder cannot be written to.
    """
    from engine.media.staging import refuse_existing

    if output == "-":
        raise UsageError("a video cannot be written to stdout", hint="-o FILE.mp4, or a folder")
    folder = _folder_of(output)
    if folder is not None:
        chosen: Format = format or "mp4"
        paths = _free_paths(folder, stem, seeds, SUFFIXES[chosen])
    else:
        chosen = _format_of(str(output), format)
        paths = _one_path(str(output), seeds)
    for path in paths:
        refuse_existing(path, overwrite=overwrite and folder is None)
    return Outputs(chosen, paths, automatic=folder is not None)


def next_free(path: Path) -> Path:
    """``path``, or the first of ``path_2``, ``path_3``, … where nothing is."""
    if not os.path.lexists(path):
        return path
    stem = re.sub(r"_\d+$", "", path.stem) if re.search(r"_s\d+_\d+$", path.stem) else path.stem
    numbered = (path.with_name(f"{stem}_{k}{path.suffix}") for k in count(2))
    return next(candidate for candidate in numbered if not os.path.lexists(candidate))


def _folder_of(output: str | None) -> Path | None:
    """The folder that takes automatic names, or None where a file is named."""
    if output is None:
        return Path.cwd()
    path = Path(output).expanduser().absolute()
    return path if output.endswith(("/", os.sep)) or path.is_dir() else None


def _free_paths(folder: Path, stem: str, seeds: Sequence[int], suffix: str) -> tuple[Path, ...]:
    return tuple(next_free(folder / f"{stem}_s{seed}{suffix}") for seed in seeds)


def _one_path(output: str, seeds: Sequence[int]) -> tuple[Path, ...]:
    if len(seeds) > 1:
        hint = f"-o {output}/ for a folder, or leave -o out"
        raise UsageError(f"{len(seeds)} videos cannot all be {output}", hint=hint)
    return (Path(output).expanduser().absolute(),)


def _format_of(output: str, format: Format | None) -> Format:  # noqa: A002 - see above
    """The format of an explicit file; its suffix and `--format` must not disagree."""
    suffix = Path(output).suffix.lower()
    of_suffix: Mapping[str, Format] = {".mp4": "mp4", ".gif": "gif", ".webp": "webp", ".png": "png"}
    named = of_suffix.get(suffix)
    if format is None and named is None:
        reason = f"no format is known for {suffix}" if suffix else "it names no format"
        hint = "end it in .mp4, .gif or .webp, give --format, or end it in / for a folder"
        raise UsageError(f"-o {output}: {reason}", hint=hint)
    if format and named and format != named:
        raise UsageError(
            f"-o {output} says {named} and --format says {format}", hint="leave one out"
        )
    chosen = format or named
    assert chosen is not None
    return chosen
