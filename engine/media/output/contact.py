"""Contact sheets of what will be learned from: photos as they are cut, masks, frames and times."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, ImageChops, ImageDraw, ImageFilter, ImageFont

from engine.media.clips.reader import Clip, frame_box, frame_clip
from engine.media.output.drawing import fitted
from engine.media.output.staging import staged
from engine.media.photos import Photo, PhotoSet, frame_photo, place_photo
from engine.media.pixels import Pixels

Box = tuple[float, float, float, float]


PAPER, INK, FAINT = (255, 255, 255), (24, 24, 27), (113, 113, 122)
ALARM, OUTLINE, SHADOW = (190, 24, 24), (255, 225, 0), (0, 0, 0)
TITLE_PX, TEXT_PX = 17, 13
EDGE_PX, GAP_PX = 16, 16
SMALL_PX, LARGE_PX, FRAME_PX = 112, 208, 152
SHEET_PX = 1040
SIGNS = str.maketrans({"×": "x", "→": "->", "…": "...", "–": "-", "’": "'", "\n": " "})
# A sheet is for looking: beyond this many photos or frames it says how many more there are.
MOST_TILES = 60


@dataclass(frozen=True)
class Line:
    """A line of text in a colour."""

    text: str
    colour: tuple[int, int, int] = FAINT


@dataclass(frozen=True)
class Tile:
    """Pictures beside each other, and the lines below them."""

    pictures: tuple[Image.Image, ...]
    lines: tuple[Line, ...]


@dataclass(frozen=True)
class Section:
    """A title, lines about all of it, and tiles of one width."""

    title: str
    lines: tuple[Line, ...]
    tiles: tuple[Tile, ...]
    tile_px: int


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
    """Write a png of exactly what will be learned from, at the size at which it is learned.

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

    Returns:
        `path`.

    Raises:
        OutputExistsError: something is there and `overwrite` is off.
        OutputError: it cannot be written; nothing is left half-written.
        ValueError: neither photos nor clips.
    """
    sections = [_photo_section(photos, height_px, width_px)] if photos is not None else []
    sections += [_clip_section(clip, height_px, width_px) for clip in clips]
    if verdict:
        sections.append(Section("verdict", tuple(_noted(verdict)), (), FRAME_PX))
    picture = _draw(sections)
    with staged(path, overwrite=overwrite) as draft:
        picture.save(draft, format="PNG", optimize=True)
    return path


def _photo_section(photos: PhotoSet, height_px: int, width_px: int) -> Section:
    count = len(photos.photos)
    lines = [Line("left: the photo, what is cut off darkened; right: what is learned")]
    if any(photo.mask is not None for photo in photos.photos):
        lines.append(Line("yellow: where the mask is half or more"))
    lines += [Line(f"left out: {item.reason}", ALARM) for item in photos.skipped]
    lines += _more(count, "photos")
    shown = photos.photos[:MOST_TILES]
    return Section(
        title=f"{count} {'photo' if count == 1 else 'photos'}, learned at {width_px}×{height_px}",
        lines=tuple(lines),
        tiles=tuple(_photo_tile(photo, photos, height_px, width_px) for photo in shown),
        tile_px=SMALL_PX + 4 + LARGE_PX,
    )


def _photo_tile(photo: Photo, photos: PhotoSet, height_px: int, width_px: int) -> Tile:
    pixels, mask, note = frame_photo(photo, height_px, width_px)
    learned = fitted(Image.fromarray(pixels), LARGE_PX)
    if mask is not None:
        learned = _outlined(learned, mask)
    width, height = photo.size_px
    lines = [Line(photo.name, INK), Line(f"{width}×{height}")]
    found = "mask found by colours" if photo.mask_from == "colours" else None
    lines += [Line(text) for text in (*photo.notes, found, note) if text]
    lines += [Line(each.text, ALARM) for each in photos.warnings if each.path == photo.path]
    box = _box_in(photo, height_px, width_px, photo.pixels.shape[1::-1])
    whole = _with_window(photo.pixels, box)
    return Tile((fitted(whole, SMALL_PX), learned), tuple(lines))


def photo_box(photo: Photo, height_px: int, width_px: int) -> Box:
    """What of a photo is learned from: left, top, right, bottom in pixels of its file."""
    return _box_in(photo, height_px, width_px, photo.size_px)


def _box_in(photo: Photo, height_px: int, width_px: int, size: tuple[int, ...]) -> Box:
    """What of a photo is learned from, in pixels of a copy of a ``size`` of (width, height)."""
    place = place_photo(photo, height_px, width_px)
    width, height = size
    x, y = width / place.size[0], height / place.size[1]
    right, bottom = place.left + width_px, place.top + height_px
    return place.left * x, place.top * y, right * x, bottom * y


def _clip_section(clip: Clip, height_px: int, width_px: int) -> Section:
    frames = frame_clip(clip, height_px, width_px)
    height, width = clip.frames.shape[1:3]
    whole = _with_window(clip.frames[0], frame_box(width, height, width_px, height_px))
    first = Tile((fitted(whole, FRAME_PX),), (Line("the whole frame"),))
    tiles = [
        Tile((fitted(Image.fromarray(frame), FRAME_PX),), (Line(f"{time_s:.3f} s"),))
        for frame, time_s in zip(frames[:MOST_TILES], clip.times_s, strict=False)
    ]
    notes = _noted(clip.notes)
    return Section(
        title=f"{clip.path.name}, learned at {width_px}×{height_px}",
        lines=(Line(clip.taken), *notes, *_more(len(frames), "frames")),
        tiles=(first, *tiles),
        tile_px=FRAME_PX,
    )


def _noted(notes: Sequence[str]) -> list[Line]:
    """Notes as lines, warnings in red."""
    return [Line(note, ALARM if note.startswith("warning") else FAINT) for note in notes]


def _more(count: int, what: str) -> list[Line]:
    return (
        [Line(f"the first {MOST_TILES} of {count} {what} are shown")] if count > MOST_TILES else []
    )


def _draw(sections: Sequence[Section]) -> Image.Image:
    """All sections below each other; measured by drawing them onto nothing first."""
    if not sections:
        raise ValueError("a sheet needs photos or clips")
    height = _draw_onto(Image.new("RGB", (1, 1)), sections)
    paper = Image.new("RGB", (SHEET_PX, height), PAPER)
    _draw_onto(paper, sections)
    return paper


def _draw_onto(paper: Image.Image, sections: Sequence[Section]) -> int:
    """Draw the sections and return where they end."""
    pen = Pen(ImageDraw.Draw(paper))
    inner, y = SHEET_PX - 2 * EDGE_PX, EDGE_PX
    for section in sections:
        y = pen.write(Line(section.title, INK), (EDGE_PX, y), inner, TITLE_PX) + 4
        for line in section.lines:
            y = pen.write(line, (EDGE_PX, y), inner)
        y += 10
        step = section.tile_px + GAP_PX
        columns = max(1, (inner + GAP_PX) // step)
        for first in range(0, len(section.tiles), columns):
            row = section.tiles[first : first + columns]
            places = [(EDGE_PX + k * step, y) for k in range(len(row))]
            ends = [
                _draw_tile(paper, pen, tile, place, section.tile_px)
                for tile, place in zip(row, places, strict=True)
            ]
            y = GAP_PX + max(ends)
    return y


def _draw_tile(paper: Image.Image, pen: Pen, tile: Tile, place: tuple[int, int], width: int) -> int:
    """Draw a tile, its pictures aligned at their tops; returns where it ends."""
    x, y = place
    for k, picture in enumerate(tile.pictures):
        paper.paste(picture, (x + k * (SMALL_PX + 4), y))
    y += max(picture.height for picture in tile.pictures) + 4
    for line in tile.lines:
        y = pen.write(line, (x, y), width)
    return y


@dataclass(frozen=True)
class Pen:
    """Writes wrapped text."""

    draw: ImageDraw.ImageDraw

    def write(self, line: Line, place: tuple[int, int], width: int, size: int = TEXT_PX) -> int:
        """Write a text in as many lines as its width takes; returns where the next one begins."""
        font = ImageFont.load_default(size)
        x, y = place
        for part in wrap(
            _drawable(line.text), lambda words: self.draw.textlength(words, font=font) <= width
        ):
            self.draw.text((x, y), part, fill=line.colour, font=font)
            y += size + 4
        return y


def _drawable(text: str) -> str:
    """What Pillow's own font has: ASCII. Accents are left off, other letters become a `?`."""
    plain = unicodedata.normalize("NFKD", text.translate(SIGNS))
    kept = (c for c in plain if not unicodedata.combining(c))
    return "".join(c if c.isascii() and c.isprintable() else "?" for c in kept)


def wrap(text: str, fits: Callable[[str], bool]) -> list[str]:
    """Lines that fit, broken between words and, where a word alone is too long, within it."""
    lines, line = [], ""
    for word in text.split():
        rest = word
        if line and fits(f"{line} {word}"):
            line = f"{line} {word}"
            continue
        if line:
            lines.append(line)
        while rest and not fits(rest):
            cut = next((n for n in range(len(rest) - 1, 1, -1) if fits(rest[:n])), 1)
            lines.append(rest[:cut])
            rest = rest[cut:]
        line = rest
    return [*lines, line] if line else lines


def _with_window(pixels: Pixels, box: Box) -> Image.Image:
    """A picture whose outside of `box` is darkened."""
    image = Image.fromarray(pixels)
    dark = Image.blend(image, Image.new("RGB", image.size, (40, 40, 46)), 0.7)
    left, top, right, bottom = (round(edge) for edge in box)
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
