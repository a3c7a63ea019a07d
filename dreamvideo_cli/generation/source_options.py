"""The options of `dv gen` that name photos and clips."""

from dataclasses import dataclass
from functools import partial
from typing import Annotated, Literal

import typer

from dreamvideo_cli.terminal.options import SOURCES

_sources = partial(typer.Option, rich_help_panel=SOURCES)
_share = partial(_sources, metavar="F", min=0, max=1)


@dataclass(frozen=True, kw_only=True)
class SourceOptions:
    """What a video is made from beside its prompt; without slots, as another base of its subclass has them."""

    edit: Annotated[
        str | None, _sources(metavar="CLIP", help="Make it anew from a clip under --noise.")
    ] = None
    animate: Annotated[
        str | None, _sources(metavar="PHOTO", help="Make it from a photo under --noise.")
    ] = None
    camera: Annotated[
        Literal["still", "in", "out", "left", "right", "up", "down"] | None,
        _sources(help="How the photo of --animate is filmed; by default still."),
    ] = None
    noise: Annotated[
        float | None,
        _share(
            help="Share of the steps that are run, by default .7: 1 forgets the file, 0 keeps it."
        ),
    ] = None
    start_from: Annotated[
        str | None,
        _sources(
            metavar="motion|CLIP[=F]",
            help="Begin with the noise from which the motion's clip, or another, comes; its share is F, or .1.",
        ),
    ] = None
    refine: Annotated[
        int | None,
        _sources(metavar="N", min=0, max=10, help="Sample N times more, each time more steadily."),
    ] = None
    structure: Annotated[
        str | None, _sources(metavar="CLIP", help="Follow a clip's layout, by --structure-model.")
    ] = None
    structure_model: Annotated[
        str | None,
        _sources(metavar="DIR|ID", help="The ControlNet that lays it out."),
    ] = None
    structure_kind: Annotated[
        Literal["canny", "luma", "depth", "as-is"] | None,
        _sources(help="What it is shown of the clip; by default canny, edges."),
    ] = None
    depth_model: Annotated[
        str | None,
        _sources(metavar="DIR|ID", help="The model that sees depth for that kind."),
    ] = None
    structure_scale: Annotated[
        float | None,
        _sources(metavar="F", min=0, max=2, help="How strongly; by default 1."),
    ] = None
    structure_from: Annotated[
        float | None,
        _share(help="Fraction of the steps from which on it acts."),
    ] = None
    structure_until: Annotated[
        float | None,
        _share(help="Fraction of the steps after which it no longer does; .5."),
    ] = None
    reference: Annotated[
        list[str] | None,
        _sources(metavar="PHOTO[=F]", help="Let the base read a photo as it draws; repeat it."),
    ] = None
    reference_mask: Annotated[
        str | None,
        _sources(metavar="DIR", help="Masks of these photos, by their names."),
    ] = None
    reference_blocks: Annotated[
        Literal["midup", "full"] | None,
        _sources(help="In the late layers, as by default, or in all."),
    ] = None
    reference_until: Annotated[
        float | None,
        _share(help="Fraction of the steps after which none is read."),
    ] = None
    reference_guidance: Annotated[
        Literal["cond", "both"] | None,
        _sources(help="Which half of guidance reads them."),
    ] = None
