"""A shell in a home of its own, a base without weights, and adapters that were never learned."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import redirect_stdout
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from dreamvideo_cli.main import main
from engine.bases import locate_base
from engine.media.output.write import write_video
from registry import Adapter, open_registry, read_draft
from tests.registry.samples import safetensors
from tests.tiny import build_tokenizer

Put = Callable[..., Adapter]
Dv = Callable[..., "Result"]


@dataclass(frozen=True)
class Result:
    """What a command line left behind."""

    code: int
    out: str
    err: str

    @property
    def document(self) -> Any:
        return json.loads(self.out)

    @property
    def error(self) -> Any:
        """The error object, which is the last line of stderr."""
        return json.loads(self.err.splitlines()[-1])


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty home, in whose folder `here` the shell stands."""
    for name in ("BASE", "DEVICE", "PROGRESS", "NO_INPUT", "DEBUG"):
        monkeypatch.delenv(f"DV_{name}", raising=False)
    for name in ("REGISTRY", "STATE", "CACHE"):
        monkeypatch.setenv(f"DV_{name}", str(tmp_path / name.lower()))
    monkeypatch.setenv("DV_CONFIG", str(tmp_path / "config.toml"))
    (tmp_path / "config.toml").touch()
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    return tmp_path


@pytest.fixture
def dv(home: Path, capsys: pytest.CaptureFixture[str]) -> Dv:
    """Run one command line in this process."""

    def run(*arguments: object) -> Result:
        capsys.readouterr()
        code = main([str(argument) for argument in arguments])
        out, err = capsys.readouterr()
        return Result(code, out, err)

    return run


def write_base(folder: Path) -> Path:
    """A base that is whole, holds no numbers and cannot be opened; its folder's name is in its fingerprint."""
    for part in ("unet", "vae", "text_encoder", "image_encoder"):
        (folder / part).mkdir(parents=True)
        (folder / part / "model.safetensors").write_bytes((2).to_bytes(8, "little") + b"{}")
    (folder / "scheduler").mkdir()
    (folder / "text_encoder" / "config.json").write_text('{"max_position_embeddings": 77}')
    build_tokenizer(folder / "tokenizer", old_layout=True)
    (folder / "tokenizer" / "tokenizer_config.json").unlink()
    (folder / "vae" / "config.json").write_text('{"block_out_channels": [4, 4]}')
    (folder / "image_encoder" / "config.json").write_text("{}")
    (folder / "scheduler" / "scheduler_config.json").write_text("{}")
    index = {"unet": ["diffusers", "UNet3DConditionModel"]}
    (folder / "model_index.json").write_text(json.dumps(index))
    (folder / "unet" / "config.json").write_text(json.dumps({"name": folder.name}))
    (folder / "base.toml").write_text(
        f'name = "{folder.name}"\nlicence = "Apache-2.0"\nsummary = "no weights"\n'
        "[video]\nframes = 8\nfps = 8\nheight_px = 32\nwidth_px = 48\n"
        '[generate]\nsteps = 12\nsampler = "ddim"\n'
    )
    return folder


@pytest.fixture
def make_base(home: Path) -> Callable[[str], Path]:
    """Make a base by its name, see `write_base`."""
    return lambda name: write_base(home / "bases" / name)


@pytest.fixture
def base(make_base: Callable[[str], Path]) -> Path:
    return make_base("plain")


def publisher(home: Path, base: Path) -> Put:
    """What publishes an adapter of some bytes in a home's registry, as if it had been learned on ``base``."""
    count = iter(range(1, 1000))  # 0 is what a test may give itself

    def publish(name: str, kind: str = "subject", on: Path = base, **changes: Any) -> Adapter:
        is_subject = kind == "subject"
        facts = {
            "tool": "dv 0.1.0",
            "base": {
                "id": changes.pop("base_id", str(on)),
                "fingerprint": locate_base(str(on)).fingerprint,
                "licence": "Apache-2.0",
            },
            "adapter": {"method": "dreamvideo", "dtype": "float32", "params": 1200},
            "prompt": {"token": changes.pop("token", f"<{name}>"), "class_word": "dog"}
            if is_subject
            else {"caption": changes.pop("caption", "skating away")},
            "training": {
                "recipe": {"appearance_cond": 1.0, "appearance_uncond": 0.0, "steps": 3},
                "seed": 0,
                "inputs": changes.pop("inputs", [{"name": "one.jpg", "digest": "0f" * 32}]),
                "device": "cpu",
                "seconds": 2.0,
                "metrics": {"adapter_loss": 0.125},
            },
            "note": changes.pop("note", None),
        }
        file = home / f"weights-{name}"
        file.write_bytes(changes.pop("data", None) or safetensors(value=next(count)))
        store = open_registry(home / "registry")
        files = {"weights": file}
        return store.publish(kind, name, read_draft(facts), files, **changes)

    return publish


@pytest.fixture
def put(home: Path, base: Path) -> Put:
    """Publish an adapter, see `publisher`."""
    return publisher(home, base)


@pytest.fixture(scope="session")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of three different photos."""
    folder = tmp_path_factory.mktemp("photos")
    draw = np.random.default_rng(0)
    for k in range(3):
        pixels = draw.integers(0, 255, (48, 40, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{k}.png")
    return folder


@pytest.fixture(scope="session")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A second of a white square that moves to the right."""
    frames = np.zeros((8, 64, 64, 3), np.uint8)
    for k, frame in enumerate(frames):
        frame[20:44, 4 + 5 * k : 24 + 5 * k] = 255
    path = tmp_path_factory.mktemp("clips") / "clip.mp4"
    return write_video(frames, path, fps=8, format="mp4")


@dataclass(frozen=True)
class Learned:
    """A registry with the subject `corgi` and the motion `skate`, learned on a tiny base of real classes."""

    registry: Path
    base: Path
    corgi: str
    skate: str


@pytest.fixture(scope="session")
def learned(
    tmp_path_factory: pytest.TempPathFactory, tiny_folder: Path, photos: Path, clip: Path
) -> Learned:
    """Read it only."""
    home = tmp_path_factory.mktemp("learned")
    common = ("--base", str(tiny_folder), "--registry", str(home / "registry"), "-q")
    quick = ("--batch", "1", *common)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DV_STATE", str(home / "state"))
        patch.setenv("DV_CACHE", str(home / "cache"))
        corgi = _printed(
            "subject", "learn", photos, "--name", "corgi", "--class", "dog", "--steps", 2, *quick
        )
        skate = _printed("motion", "learn", clip, "--name", "skate", "--steps", 1, *quick)
    return Learned(home / "registry", tiny_folder, corgi, skate)


def _printed(*arguments: object) -> str:
    """The one line that a command that must not fail prints."""
    out = StringIO()
    with redirect_stdout(out):
        code = main([str(argument) for argument in arguments])
    assert code == 0
    (line,) = out.getvalue().splitlines()
    return line
