"""The two files of a grid: where they go, and how they are written."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dreamvideo_cli.errors import UsageError
from dreamvideo_cli.plan import Takes, output_stem

if TYPE_CHECKING:
    from dreamvideo_cli.grid import GridOptions, GridPlan
    from engine.media.formats import Format


def places(options: GridOptions, planned: Sequence[Takes]) -> tuple[Format, Path | None, Path]:
    """Format, video and picture, both free and writable.

    Raises:
        UsageError, OutputExistsError, OutputError: see `engine.media.staging`.
    """
    from dreamvideo_cli.outputs import SUFFIXES, format_of_file, names_a_file, next_free
    from engine.media.staging import refuse_existing

    if options.output == "-":
        raise UsageError("a grid is two files", hint="-o FILE.mp4 or a folder")
    if options.output is not None and names_a_file(options.output):
        form = format_of_file(options.output, options.format)
        video = Path(options.output).expanduser().absolute()
        sheet = video if form == "png" else video.with_suffix(".png")
    else:
        form = options.format or "mp4"
        folder = Path(options.output or ".").expanduser().absolute()
        stem = f"grid_{output_stem(planned[-1].uses, planned[-1].base)}"
        # The picture's name is found free first, and the video takes the same.
        sheet = next_free(folder / f"{stem}.png")
        video = next_free(sheet.with_suffix(SUFFIXES[form] or ".png"))
    for path in {video, sheet}:
        refuse_existing(path, overwrite=options.overwrite)
    return form, None if form == "png" else video, sheet


def write_grid(plan: GridPlan, rows: Sequence[Sequence[Any]], fps: float, comment: str) -> None:
    """Write the video, if there is one, and the picture."""
    from engine.media.grid import Column, grid_frames, grid_sheet, write_sheet
    from engine.media.write import write_video

    title = plan.columns[0].takes.typed
    columns = [Column(column.heading, column.label) for column in plan.columns]
    labels = [f"seed {seed}" for seed in plan.seeds]
    if plan.video is not None:
        frames = grid_frames(title, columns, labels, rows)
        write_video(
            frames,
            plan.video,
            fps=fps,
            format=plan.format,
            comment=comment,
            overwrite=plan.overwrite,
        )
    picture = grid_sheet(title, columns, labels, rows)
    write_sheet(picture, plan.sheet, comment=comment, overwrite=plan.overwrite)
