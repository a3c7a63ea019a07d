"""Contact sheets of what will be learned from: photos as they are cut, masks, frames and times."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from PIL import Image, ImageChops, ImageFilter

from engine.media.clips.reader import Clip, frame_clip
from engine.media.output.layout import (
    FAINT,
    INK,
    TITLE_PX,
    Box,
    below,
    beside,
    draw,
    fitted,
    flow,
    picture,
    text,
    within,
)
from engine.media.output.sheets import write_sheet
from engine.media.photos import Photo, PhotoSet, frame_photo, place_photo
from engine.media.pixels import Pixels
from engine.media.placement import Edges, Placement, place

ALARM, OUTLINE, SHADOW = (190, 24, 24), (255, 225, 0), (0, 0, 0)
EDGE_PX, GAP_PX, BETWEEN_PX = 16, 16, 4
SMALL_PX, LARGE_PX, FRAME_PX = 112, 208, 152
INNER_PX = 1008  # of the sheet, without its edges
PHOTO_PX = SMALL_PX + BETWEEN_PX + LARGE_PX
# A sheet is for looking: beyond this many photos or frames it says how many more there are.
MOST_TILES = 60


def write_inputs(
    path: Path,
    height_px: int,
    width_px: int,
    *,
    photos: PhotoSet | None = None,
    clips: Sequence[Clip] = (),
    verdict: Sequence[str] = (),
    overwrite: bool = False,
) -> Path:
    """Write a png of exactly what will be learned from, at the size at which it is learned; returns ``path``.

    Each photo is shown whole, with what is cut off darkened, and as it is learned, its mask
    outlined; each clip with the frames taken of it and their times.

    Args:
        path: the file to make.
        height_px: of the base.
        width_px: of the base.
        photos: of a subject.
        clips: of a motion.
        verdict: lines at the end about all of it, those that begin with "warning" in red.
        overwrite: replace what is there.

    Raises:
        OutputExistsError: something is there and `overwrite` is off.
        OutputError: it cannot be written; nothing is left half-written.
        ValueError: neither photos nor clips.
    """
    sections = [_photo_section(photos, height_px, width_px)] if photos is not None else []
    sections += [_clip_section(clip, height_px, width_px) for clip in clips]
    if verdict:
        sections.append(_section("verdict", _noted(verdict)))
    if not sections:
        raise ValueError("a sheet needs photos or clips")
    sheet = draw(below(sections, GAP_PX), margin=EDGE_PX)
    return write_sheet(sheet, path, overwrite=overwrite)


def _section(title: str, lines: Iterable[Box], tiles: Sequence[Box] = ()) -> Box:
    """A title, lines about all of it, and tiles of one width."""
    head = [text(title, INNER_PX, size=TITLE_PX, colour=INK), *lines]
    return below([below(head), *([flow(tiles, INNER_PX, GAP_PX)] if tiles else [])], gap=10)


def _photo_section(photos: PhotoSet, height_px: int, width_px: int) -> Box:
    count = len(photos.photos)
    lines = ["left: the photo, what is cut off darkened; right: what is learned"]
    if any(photo.mask is not None for photo in photos.photos):
        lines.append("yellow: where the mask is half or more")
    left_out = [f"left out: {item.reason}" for item in photos.skipped]
    return _section(
        f"{count} {'photo' if count == 1 else 'photos'}, learned at {width_px}×{height_px}",
        [
            *(text(line, INNER_PX) for line in lines),
            *(text(line, INNER_PX, colour=ALARM) for line in left_out),
            *_more(count, "photos"),
        ],
        [_photo_tile(photo, photos, height_px, width_px) for photo in photos.photos[:MOST_TILES]],
    )


def _photo_tile(photo: Photo, photos: PhotoSet, height_px: int, width_px: int) -> Box:
    pixels, mask, note = frame_photo(photo, height_px, width_px)
    learned = fitted(Image.fromarray(pixels), LARGE_PX)
    if mask is not None:
        learned = _outlined(learned, mask)
    whole = _with_window(photo.pixels, place_photo(photo, height_px, width_px))
    found = "mask found by colours" if photo.mask_from == "colours" else None
    said = ["{}×{}".format(*photo.size_px), *photo.notes, found, note]
    warned = [each.text for each in photos.warnings if each.path == photo.path]
    shown = fitted(whole, SMALL_PX)
    return below(
        [
            beside([within(picture(shown), SMALL_PX, shown.height), picture(learned)], BETWEEN_PX),
            below(
                [
                    text(photo.name, PHOTO_PX, colour=INK),
                    *(text(line, PHOTO_PX) for line in said if line),
                    *(text(line, PHOTO_PX, colour=ALARM) for line in warned),
                ]
            ),
        ],
        BETWEEN_PX,
    )


def photo_box(photo: Photo, height_px: int, width_px: int) -> Edges:
    """What of a photo is learned from: left, top, right, bottom in pixels of its file."""
    return place_photo(photo, height_px, width_px).box_in(photo.size_px)


def _clip_section(clip: Clip, height_px: int, width_px: int) -> Box:
    frames = frame_clip(clip, height_px, width_px)
    whole = _with_window(clip.frames[0], place(clip.frames[0], height_px, width_px))
    taken = zip(frames[:MOST_TILES], clip.times_s, strict=False)
    return _section(
        f"{clip.path.name}, learned at {width_px}×{height_px}",
        [text(clip.taken, INNER_PX), *_noted(clip.notes), *_more(len(frames), "frames")],
        [
            _frame_tile(whole, "the whole frame"),
            *(_frame_tile(Image.fromarray(frame), f"{at_s:.3f} s") for frame, at_s in taken),
        ],
    )


def _frame_tile(frame: Image.Image, line: str) -> Box:
    return below([picture(fitted(frame, FRAME_PX)), text(line, FRAME_PX)], BETWEEN_PX)


def _noted(notes: Sequence[str]) -> list[Box]:
    """Notes as lines, warnings in red."""
    return [
        text(note, INNER_PX, colour=ALARM if note.startswith("warning") else FAINT)
        for note in notes
    ]


def _more(count: int, what: str) -> list[Box]:
    more = f"the first {MOST_TILES} of {count} {what} are shown"
    return [text(more, INNER_PX)] if count > MOST_TILES else []


def _with_window(pixels: Pixels, placed: Placement) -> Image.Image:
    """A picture of which all outside the frame is darkened."""
    image = Image.fromarray(pixels)
    dark = Image.blend(image, Image.new("RGB", image.size, (40, 40, 46)), 0.7)
    left, top, right, bottom = (round(edge) for edge in placed.box_in(image.size))
    dark.paste(image.crop((left, top, right, bottom)), (left, top))
    return dark


def _outlined(image: Image.Image, mask: Pixels) -> Image.Image:
    """A picture with the edge of its mask drawn in two colours, one of which is seen on any ground."""
    size = image.size
    inside = Image.fromarray(mask).resize(size, Image.Resampling.BILINEAR).point(_half)
    ring = ImageChops.difference(inside.filter(ImageFilter.MaxFilter(5)), inside)
    shadow = ImageChops.difference(inside, inside.filter(ImageFilter.MinFilter(3)))
    drawn = image.copy()
    drawn.paste(SHADOW, mask=shadow)
    drawn.paste(OUTLINE, mask=ring)
    return drawn


def _half(level: int) -> int:
    return 255 if level >= 128 else 0
