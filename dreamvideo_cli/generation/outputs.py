"""Where videos go: formats by suffix, automatic names that never meet a file."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING

from dreamvideo_cli.errors import UsageError
from engine.media.output.staging import (
    output_error,
    refuse_address,
    refuse_existing,
    refuse_folder,
)

if TYPE_CHECKING:
    from dreamvideo_cli.generation.references import WeightedAdapter
    from engine.bases import BaseLocation
    from engine.media.output.formats import Format
    from engine.recipe import GenerateRecipe

LONGEST_SIDE_PX = 4096
LONGEST_STEM = 180  # a name has at most 255 bytes; seed, number and suffix come behind
STDOUT = Path("-")
# png is a folder of frames.
SUFFIXES: Mapping[Format, str] = {"mp4": ".mp4", "gif": ".gif", "webp": ".webp", "png": ""}


@dataclass(frozen=True, slots=True)
class Outputs:
    """Where videos go."""

    format: Format  # of all of them
    paths: tuple[Path, ...]  # absolute, one a seed
    automatic: bool  # the names are ours, and give way where another process takes one meanwhile

    @property
    def to_stdout(self) -> bool:
        """The one video goes into a pipe."""
        return self.paths == (STDOUT,)


def sidecar_path(path: Path) -> Path:
    """Where a video's recipe lies when it is asked for beside it: ``out.mp4.json``."""
    return path.with_name(f"{path.name}.json")


def plan_outputs(
    stem: str,
    seeds: Sequence[int],
    output: str | None,
    *,
    format: Format | None,  # noqa: A002 - the word of the command line
    overwrite: bool,
    sidecar: bool = False,
    taken: Container[Path] = (),
) -> Outputs:
    """Format and path of each seed's video, checked to be free and writable.

    Args:
        stem: how automatic names begin.
        seeds: one video each.
        output: a file, a folder (there already, or ending in a slash), ``-`` for stdout, or None for the current
            folder.
        format: None takes the file's suffix, or mp4.
        overwrite: an explicit file may be there.
        sidecar: each video's recipe is written beside it too.
        taken: what other videos of the same command will be.

    Raises:
        UsageError: no format is known for the file, several videos are to become one, or stdout is a terminal.
        OutputExistsError: an explicit file is there.
        OutputError: the folder cannot be written to.
    """
    if output == "-":
        if sidecar:
            raise UsageError("--sidecar writes beside a file, and -o - is none", hint="-o FILE")
        return _plan_stdout(len(seeds), format or "mp4")
    folder = _output_folder(output)
    if folder is not None:
        chosen: Format = format or "mp4"
        planned = (folder / f"{stem}_s{seed}{SUFFIXES[chosen]}" for seed in seeds)
        paths = tuple(next_free(path, taken, sidecar=sidecar) for path in planned)
    else:
        chosen = file_format(str(output), format)
        paths = _one_path(str(output), seeds, taken)
    may_replace = overwrite and folder is None
    for path in paths:
        refuse_existing(path, overwrite=may_replace, makes_folder=folder is not None)
        if sidecar and path.parent.is_dir():
            refuse_existing(sidecar_path(path), overwrite=may_replace)
    return Outputs(chosen, paths, automatic=folder is not None)


def next_free(path: Path, taken: Container[Path] = (), *, sidecar: bool = False) -> Path:
    """``path``, or the first of ``path_2``, ``path_3``, … where nothing is and nothing will be."""

    def is_free(candidate: Path) -> bool:
        beside = sidecar and os.path.lexists(sidecar_path(candidate))
        return candidate not in taken and not beside and not os.path.lexists(candidate)

    if is_free(path):
        return path
    stem = re.sub(r"_\d+$", "", path.stem) if re.search(r"_s\d+_\d+$", path.stem) else path.stem
    numbered = (path.with_name(f"{stem}_{k}{path.suffix}") for k in count(2))
    return next(candidate for candidate in numbered if is_free(candidate))


def make_folder(folder: Path) -> Path:
    """A folder for all that a command makes, there now; returns its absolute path.

    Raises:
        OutputError: it cannot be made, a file is in its place, or it is an address.
    """
    folder = folder.expanduser().absolute()
    refuse_folder(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise output_error(folder, error) from error
    return folder


def names_a_file(output: str) -> bool:
    """Whether ``-o`` names one file rather than stdout or a folder for automatic names."""
    return output != "-" and _output_folder(output) is None


def _plan_stdout(videos: int, format: Format) -> Outputs:  # noqa: A002 - see above
    """One video into a pipe."""
    if videos > 1:
        raise UsageError(f"{videos} videos cannot all go to stdout", hint="-o ./FOLDER/")
    if format == "png":
        raise UsageError("png is a folder of frames", hint="--format mp4, gif or webp")
    if sys.stdout.isatty():
        raise UsageError("a video is nothing for a terminal", hint="-o FILE, or a pipe")
    return Outputs(format, (STDOUT,), automatic=False)


def _output_folder(output: str | None) -> Path | None:
    """The folder that takes automatic names, or None where a file is named."""
    if output is None:
        return Path.cwd()
    path = Path(output).expanduser().absolute()
    return path if output.endswith(("/", os.sep)) or path.is_dir() else None


def _one_path(output: str, seeds: Sequence[int], taken: Container[Path]) -> tuple[Path, ...]:
    """The file that is named, for one video alone."""
    if len(seeds) > 1:
        hint = f"-o {output}/ for a folder, or leave -o out"
        raise UsageError(f"{len(seeds)} videos cannot all be {output}", hint=hint)
    path = Path(output).expanduser().absolute()
    if path in taken:
        hint = "leave -o out for automatic names, or name a folder"
        raise UsageError(f"two videos cannot both be {path}", hint=hint)
    return (path,)


def file_format(output: str, format: Format | None) -> Format:  # noqa: A002 - see above
    """The format of an explicit file; its suffix and `--format` must not disagree."""
    refuse_address(Path(output))
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


def output_stem(uses: Sequence[WeightedAdapter], base: BaseLocation) -> str:
    """``corgi-v1_skate-v2``, or the base's name where no adapter takes part; cut to what a file system takes."""
    named = "_".join(f"{use.adapter.name}-v{use.adapter.version}" for use in uses)
    plain = re.sub(r"[^a-z0-9]+", "-", (base.card.name or base.folder.name).lower()).strip("-")
    return (named or plain or "base")[:LONGEST_STEM].rstrip("-_.")


def check_scale(scale: int, recipe: GenerateRecipe) -> None:
    """Whether the enlarged video is one that players can show.

    Raises:
        UsageError: a side is too long.
    """
    side_px = max(recipe.width_px, recipe.height_px)
    if scale > 1 and side_px * scale > LONGEST_SIDE_PX:
        hint = f"at most {LONGEST_SIDE_PX} px a side: --scale {max(1, LONGEST_SIDE_PX // side_px)}"
        raise UsageError(f"--scale {scale} makes {side_px} px into {side_px * scale}", hint=hint)


def folder_notes(outputs: Outputs, frames: int) -> tuple[str, ...]:
    """What a name that looks like a picture's becomes."""
    if outputs.format != "png" or outputs.paths[0].suffix.lower() != ".png":
        return ()
    return (f"{outputs.paths[0].name} will be a folder of {frames} pictures, 0000.png and on",)
