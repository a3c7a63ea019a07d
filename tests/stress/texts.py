"""Command lines with strange texts in them: each ends in an exit code that is no bug, and in output that reads."""

from __future__ import annotations

import contextlib
import io
import json
import shutil
from collections import Counter
from pathlib import Path
from random import Random
from unittest import mock

from dreamvideo_cli.main import main
from dreamvideo_cli.terminal.failures import BUG, MEANINGS

# What texts are made of. A byte that is not UTF-8 comes from the system as half of a surrogate pair.
PIECES = (
    "", " ", "a", "corgi", "skate", "v1", "latest", "best", "é", "日本", "💥", "\udcff", "\udce9t\udce9",
    "\x1b[31m", "\n", "\r", "\t", "\x7f", "\u202e", "\u200b", "-", "--", "-n", "=", ":", "@", "/", "./", "..",
    "~", "~nobody", "*", "?", "[", "%s", "{}", "{0}", "'", '"', "\\", "$x", "#", "0", "-1", "1e999", "nan", "inf",
    "9" * 30, "x" * 300, "/" * 5000, "sha256:", "@sha256:00", "subject/", "motion/", ".mp4", ".png", ".dva",
    ".safetensors", "true", "null", "[]", '{"a": 1}', "<corgi>", "mini", "http://x.y/z.png", "1..3", "256x256",
)  # fmt: skip
# TEXT is where one goes; the rest is as a person types it.
LINES = tuple(
    line.split()
    for line in (
        "TEXT",
        "help TEXT",
        "TEXT --json",
        "gen TEXT -n",
        "gen TEXT --subject corgi -n",
        "gen dog --subject TEXT -n",
        "gen dog --motion TEXT --subject TEXT -n",
        "gen dog -o TEXT -n",
        "gen dog -o TEXT --format TEXT -n",
        "gen dog --negative TEXT -n",
        "gen dog --base TEXT -n",
        "gen dog --image-tower TEXT -n",
        "gen dog --seed TEXT --count TEXT -n",
        "gen dog --size TEXT --fps TEXT -n",
        "gen dog --appearance TEXT --motion skate -n",
        "gen dog --device TEXT -n",
        "gen --again TEXT -n",
        "gen --jobs TEXT -n",
        "gen --jobs jobs -n",
        "gen dog --TEXT",
        "grid TEXT --subject TEXT --weights TEXT -n",
        "subject list TEXT",
        "subject list --registry TEXT",
        "subject show TEXT",
        "subject path TEXT",
        "subject log TEXT",
        "subject tag TEXT TEXT",
        "subject tag corgi TEXT",
        "subject untag TEXT",
        "subject rename corgi TEXT -n",
        "subject rm TEXT -n",
        "subject restore TEXT",
        "subject export corgi -o TEXT",
        "subject diff TEXT TEXT",
        "subject learn TEXT --name TEXT -n",
        "subject learn PHOTOS --name TEXT -n",
        "subject learn PHOTOS --name a --class TEXT -n",
        "subject learn PHOTOS --name a --note TEXT --tag TEXT -n",
        "subject learn PHOTOS --name a --mask TEXT -n",
        "subject learn PHOTOS --name a --holdout TEXT -n",
        "subject learn PHOTOS --name a --set TEXT=TEXT -n",
        "subject learn PHOTOS --name a --max-time TEXT -n",
        "motion learn TEXT --name TEXT --caption TEXT -n",
        "import TEXT",
        "import TEXT --name TEXT",
        "inspect TEXT",
        "resolve TEXT",
        "eval TEXT --prompt TEXT",
        "runs show TEXT",
        "runs resume TEXT",
        "runs rm TEXT -n",
        "runs promote TEXT --step 1",
        "base show TEXT",
        "base use TEXT",
        "config get TEXT",
        "config set TEXT TEXT",
        "config set base TEXT",
        "config set registry TEXT --project",
        "config unset TEXT",
        "registry verify --registry TEXT",
        "bench TEXT -n",
        "inspect BYTES/one.png",
        "inspect BYTES",
        "inspect BYTES -o TEXT.png",
        "subject learn BYTES --name a -n",
        "subject learn PHOTOS --mask BYTES --name a -n",
        "subject learn BYTES --name a --skip-bad --holdout TEXT -n",
        "subject export corgi -o BYTES/TEXT.dva",
        "subject list --registry BYTES/r",
        "subject show corgi --registry BYTES/r",
        "gen dog -o BYTES/ -n",
        "gen dog -o BYTES/TEXT.gif -n",
        "gen dog --base BYTES -n",
        "gen dog --base BYTES/base -n",
        "gen corgi --subject BYTES/corgi.dva -n",
        "gen skate --motion skate --appearance BYTES/one.png -n",
        "import BYTES/corgi.dva",
        "import BYTES/one.png",
        "inspect BYTES/corgi.dva",
        "eval BYTES/one.png",
        "motion learn BYTES --name a -n",
        "motion learn BYTES/one.png --name a -n",
        "runs list",
    )
)


def fuzz_texts(photos: Path, strange: Path, count: int, seed: int) -> Counter[int]:
    """Run ``count`` command lines in the current folder; how often each exit code came.

    Args:
        photos: a folder of photos.
        strange: a folder whose name is not UTF-8, see `make_strange`.
        count: of command lines.
        seed: of what is drawn.

    Raises:
        AssertionError: naming the line that ended in a bug, or printed what cannot be read.
    """
    draw, ends = Random(seed), Counter[int]()
    for number in range(count):
        line = list(draw.choice(LINES))
        if "jobs" in line:
            Path("jobs").write_bytes(_job(draw))
        words = [
            _text(draw) if word == "TEXT" else word.replace("TEXT", _text(draw)) for word in line
        ]
        words = [str(photos) if word == "PHOTOS" else word for word in words]
        words = [word.replace("BYTES", str(strange)) for word in words]
        if draw.random() < 0.5 and "--" not in words:
            words.append("--json")
        encoding = draw.choice(["utf-8", "ascii", "latin-1"])
        code, out, err = _run(words, encoding)
        told = f"{number} of seed {seed}, {encoding}: {words!r}\n{out!r}\n{err!r}"
        assert code in MEANINGS, told
        assert code != BUG, told
        if "--json" in words[: words.index("--") if "--" in words else None]:
            _check_json(code, out.decode(encoding), err.decode(encoding), told)
        assert all(byte >= 32 or byte == 10 for byte in err), told  # no escape reaches a terminal
        assert err or not code, told
        ends[code] += 1
    return ends


def make_strange(folder: Path, photos: Path, base: Path) -> Path:
    """A folder in ``folder`` with photos, a base and a bundle of `corgi`, each by a name that is not UTF-8."""
    strange = folder / "\udce9t\udce9"
    shutil.copytree(photos, strange)
    shutil.copytree(base, strange / "base")
    shutil.copy(photos / "0.png", strange / "one.png")
    shutil.copy(photos / "1.png", strange / "\udcff.png")
    assert not _run(["subject", "export", "corgi", "-o", str(strange / "corgi.dva")], "utf-8")[0]
    return strange


def _text(draw: Random) -> str:
    """Some pieces, as the system hands them over: never with NUL."""
    return "".join(draw.choice(PIECES) for _ in range(draw.choice((1, 1, 1, 2, 3))))


def _job(draw: Random) -> bytes:
    """A line of `--jobs`, whose texts may hold anything that JSON can."""

    def word() -> str:
        return draw.choice((*PIECES, "\0", "\ud800", "corgi", "skate"))

    fields = {
        draw.choice(
            ("prompt", "subject", "motion", "out", "id", "seed", "negative", "base", word())
        ): word()
    }
    job = {"prompt": "dog", **fields}
    line = json.dumps(job).encode()
    return line if draw.random() < 0.8 else line.replace(b"dog", b"\xff\xfe")


def _run(words: list[str], encoding: str) -> tuple[int, bytes, bytes]:
    """Exit code and both outputs of a command line in this process."""
    buffers = io.BytesIO(), io.BytesIO()
    out, err = (io.TextIOWrapper(buffer, encoding=encoding) for buffer in buffers)
    nothing = mock.patch("sys.stdin", io.TextIOWrapper(io.BytesIO()))
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err), nothing:
        code = main(words)
    out.flush()
    err.flush()
    found = code, buffers[0].getvalue(), buffers[1].getvalue()
    out.close()
    err.close()
    return found


def _check_json(code: int, out: str, err: str, told: str) -> None:
    """Results are JSON; what failed is said by the last line."""
    try:
        for line in out.splitlines():
            json.loads(line)
        said = json.loads(err.splitlines()[-1])["exit"] if code else 0
    except (ValueError, LookupError) as error:
        raise AssertionError(told) from error
    assert said == code, told
