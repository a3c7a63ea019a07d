"""The pictures of the README, made by running what it shows: ``python -m tests.pictures`` (or ``make pictures``).

In a home with nothing in it `dv demo` runs, then the README's first commands in a terminal. From what they leave come
`sheet.png`, `demo.webp` and `session.png`, so that all three show one release. It takes some minutes, and a font with
the characters of a terminal.
"""

from __future__ import annotations

import os
import pty
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pyte
from PIL import Image, ImageDraw, ImageFont

from dreamvideo_cli.commands.demo import ACTOR, CAPTION
from engine.metrics.videos import read_video

SAMPLES = Path(__file__).resolve().parents[1] / "dreamvideo_cli" / "samples"
FONTS = Path("/usr/share/fonts/truetype/dejavu")
COLUMNS, LINES = 88, 60
FONT_PX, EDGE_PX = 18, 20
PAPER, INK = (24, 26, 31), (222, 222, 222)
COLOURS = {
    "red": (229, 83, 96),
    "green": (106, 190, 48),
    "brown": (222, 182, 64),
    "cyan": (92, 202, 222),
}
PANEL_PX, GAP_PX, TITLE_PX = 256, 16, 34

STOP_AT = re.compile(rb"8\d/\d{3}")
LEARN_SUBJECT = "dv subject learn ./dv-demo/photos --name fox --class cat"
LEARN_MOTION = (
    f'dv motion learn ./dv-demo/clip.mp4 --name zigzag --caption "{CAPTION}" --actor "{ACTOR}"'
)
COMPOSE = (
    'dv gen "a fox zigzag on a snow background" --subject fox --motion zigzag --scale 8 -o fox.mp4'
)
MISTAKEN = 'dv gen "a fox zigzag" --subject fix --motion zigzag'


def main() -> None:
    """Make all pictures anew."""
    heed_interrupts()
    with tempfile.TemporaryDirectory(prefix="dv-pictures-") as name:
        home = Path(name)
        _lay_out(home)
        run(home, "dv demo")
        shutil.copy(home / "dv-demo" / "sheet.png", SAMPLES)
        write_animation(home / "dv-demo", SAMPLES / "demo.webp")
        write_session(home, SAMPLES / "session.png")


def heed_interrupts() -> None:
    """Let the programs that are started here take Ctrl-C, which a shell's background jobs ignore."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


def write_session(home: Path, path: Path) -> None:
    """A picture of a terminal in which a subject and a motion are learned and composed."""
    screen = pyte.Screen(COLUMNS, LINES)
    stream = pyte.ByteStream(screen)
    for line in (LEARN_SUBJECT, LEARN_MOTION, "dv runs resume {run}", COMPOSE, MISTAKEN):
        shown = line.format(run=_last_run(home))
        stream.feed(f"\x1b[1m$ {shown}\x1b[0m\r\n".encode())
        for part in _output_of(home, shown, is_stopped=line == LEARN_MOTION):
            stream.feed(part)
    draw_screen(screen).save(path, optimize=True)


def draw_screen(screen: pyte.Screen) -> Image.Image:
    """What a terminal shows, down to its last line with a character."""
    used = max(row for row in range(LINES) if screen.display[row].strip()) + 1
    plain = ImageFont.truetype(FONTS / "DejaVuSansMono.ttf", FONT_PX)
    bold = ImageFont.truetype(FONTS / "DejaVuSansMono-Bold.ttf", FONT_PX)
    wide, high = plain.getlength("M"), FONT_PX * 1.35
    size = round(COLUMNS * wide) + 2 * EDGE_PX, round(used * high) + 2 * EDGE_PX
    picture = Image.new("RGB", size, PAPER)
    pen = ImageDraw.Draw(picture)
    for row in range(used):
        for column in range(COLUMNS):
            cell = screen.buffer[row][column]
            place = EDGE_PX + column * wide, EDGE_PX + row * high
            pen.text(place, cell.data, font=bold if cell.bold else plain, fill=_colour(cell.fg))
    return picture


def _colour(name: str) -> tuple[int, int, int]:
    """Of a terminal's colour, by its name or its six hex digits."""
    if name in COLOURS or len(name) != 6:
        return COLOURS.get(name, INK)
    try:
        return tuple(bytes.fromhex(name))
    except ValueError:
        return INK


def write_animation(demo: Path, path: Path) -> None:
    """Photos, clip and composition beside each other, moving, enlarged by nearest neighbour."""
    photos = [np.asarray(Image.open(each)) for each in sorted((demo / "photos").iterdir())]
    clip = read_video(demo / "clip.mp4").frames
    made = read_video(demo / "both.mp4").frames
    count = len(made)
    panels = {
        "photos of a fox": [photos[k * len(photos) // count] for k in range(count)],
        "a clip of a zigzag": [clip[k * len(clip) // 2 // count] for k in range(count)],
        "a fox zigzag on a sky background": list(made),
    }
    frames = [_beside({title: each[k] for title, each in panels.items()}) for k in range(count)]
    frames[0].save(
        path, save_all=True, append_images=frames[1:], duration=180, loop=0, lossless=True
    )


def _beside(pictures: dict[str, np.ndarray]) -> Image.Image:
    """Pictures in a row, each with its title above."""
    width = len(pictures) * (PANEL_PX + GAP_PX) - GAP_PX
    paper = Image.new("RGB", (width, PANEL_PX + TITLE_PX), "white")
    pen = ImageDraw.Draw(paper)
    for number, (title, pixels) in enumerate(pictures.items()):
        left = number * (PANEL_PX + GAP_PX)
        shown = Image.fromarray(pixels).resize((PANEL_PX, PANEL_PX), Image.Resampling.NEAREST)
        paper.paste(shown, (left, TITLE_PX))
        pen.text((left, 6), title, fill="black", font=ImageFont.load_default(16))
    return paper


def _lay_out(home: Path) -> None:
    """A command called dv on the path that runs this working tree."""
    command = home / "bin" / "dv"
    command.parent.mkdir()
    command.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m dreamvideo_cli "$@"\n')
    command.chmod(0o755)


def _environment(home: Path) -> dict[str, str]:
    kept = {
        name: value for name, value in os.environ.items() if not name.startswith(("DV_", "XDG_"))
    }
    return {
        **kept,
        "HOME": str(home),
        "PATH": f"{home / 'bin'}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(SAMPLES.parents[1]),
        "TERM": "xterm-256color",
        "COLUMNS": str(COLUMNS),
        "LINES": str(LINES),
    }


def run(home: Path, line: str) -> str:
    """What a command line that must not fail prints."""
    environment = _environment(home)
    return subprocess.run(
        ["sh", "-c", line], cwd=home, env=environment, check=True, capture_output=True, text=True
    ).stdout


def _last_run(home: Path) -> str:
    return (run(home, "dv runs list -q").split() or [""])[-1]


def _output_of(home: Path, line: str, *, is_stopped: bool) -> Iterator[bytes]:
    """What a command writes to a terminal; one that is to be stopped gets Ctrl-C at its eightieth step."""
    master, slave = pty.openpty()
    os.set_blocking(master, False)
    command = ["sh", "-c", f"exec {line}"]
    with subprocess.Popen(
        command,
        cwd=home,
        env=_environment(home),
        stdin=slave,
        stdout=slave,
        stderr=slave,
        start_new_session=True,
    ) as process:
        os.close(slave)
        for part in _parts(master, lambda: process.poll() is None):
            yield part
            if is_stopped and STOP_AT.search(part):
                is_stopped = False
                process.send_signal(signal.SIGINT)
    os.close(master)


def _parts(master: int, is_running: Callable[[], bool]) -> Iterator[bytes]:
    """What comes out of a terminal until its program has ended."""
    while True:
        running = is_running()
        try:
            while part := os.read(master, 1 << 16):
                yield part
        except OSError:  # nothing there now, or nobody left to write
            if not running:
                return
        time.sleep(0.02)


if __name__ == "__main__":
    main()
