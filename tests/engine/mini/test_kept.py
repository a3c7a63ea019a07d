"""What the training keeps is there whole or not at all, and is of the scenes it is used for."""

from __future__ import annotations

import os
import tarfile
from pathlib import Path
from random import Random

import numpy as np
import pytest
import torch
from diffusers import AutoencoderKL

from engine.errors import InputError
from engine.mini.recipe.autoencoder import build_autoencoder
from engine.mini.recipe.dataset import CLIP_SHARES, Dataset, make_dataset
from engine.mini.recipe.presets import PRESETS
from engine.mini.recipe.train import main, obtain_autoencoder, obtain_latents
from engine.mini.world.sprites import fetch_sprites

TINY, CPU = PRESETS["tiny"], torch.device("cpu")

pytestmark = pytest.mark.filterwarnings("ignore")


class Stopped(BaseException):
    """The training is stopped here."""


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset:
    return make_dataset(TINY, tmp_path, seed=0)


@pytest.fixture
def npm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An archive of two stills, which an `npm` on the path downloads; more than half of it is the second."""
    stills = tmp_path / "made" / "package" / "assets"
    stills.mkdir(parents=True)
    (stills / "a.webp").write_bytes(Random(0).randbytes(10_000))
    (stills / "b.webp").write_bytes(Random(1).randbytes(90_000))
    archive = tmp_path / "npm.tgz"
    with tarfile.open(archive, "w:gz") as tar:
        tar.add(stills / "a.webp", "package/assets/a.webp")
        tar.add(stills / "b.webp", "package/assets/b.webp")
    command = tmp_path / "bin" / "npm"
    command.parent.mkdir()
    command.write_text(f"#!/bin/sh\ncp '{archive}' sprites.tgz\n")
    command.chmod(0o755)
    monkeypatch.setenv("PATH", f"{command.parent}{os.pathsep}{os.environ['PATH']}")
    return archive


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_sprites_that_were_unpacked_in_part_are_fetched_again(npm: Path, tmp_path: Path) -> None:
    folder, whole = tmp_path / "sprites", npm.read_bytes()
    npm.write_bytes(whole[: len(whole) // 2])
    with pytest.raises((EOFError, tarfile.TarError)):
        fetch_sprites(folder)
    assert names_in(folder) == []
    npm.write_bytes(whole)
    assert names_in(fetch_sprites(folder)) == ["a.webp", "b.webp"]
    assert names_in(folder) == ["package"]


def test_sprites_are_fetched_once_and_what_a_killed_fetch_left_is_removed(
    npm: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "sprites"
    (folder / ".dv-0.part" / "package" / "assets").mkdir(parents=True)
    fetch_sprites(folder)
    npm.unlink()
    assert names_in(fetch_sprites(folder)) == ["a.webp", "b.webp"]
    assert names_in(folder) == ["package"]


def test_pictures_written_in_part_are_painted_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def write_half(file, **pictures):
        file.write(b"half")
        raise Stopped

    with monkeypatch.context() as patch:
        patch.setattr(np, "savez", write_half)
        with pytest.raises(Stopped):
            make_dataset(TINY, tmp_path, seed=0)
    assert names_in(tmp_path) == []
    painted, read = (make_dataset(TINY, tmp_path, seed=0) for _ in range(2))
    assert np.array_equal(painted.stills, read.stills)
    assert np.array_equal(painted.clips, read.clips)


def test_latents_written_in_part_are_encoded_again(
    dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def write_half(latents, path):
        path.write_bytes(b"half")
        raise Stopped

    autoencoder = build_autoencoder(TINY)
    with monkeypatch.context() as patch:
        patch.setattr(torch, "save", write_half)
        with pytest.raises(Stopped):
            obtain_latents(autoencoder, dataset, tmp_path)
    assert names_in(tmp_path) == ["world.npz"]
    encoded, read = (obtain_latents(autoencoder, dataset, tmp_path) for _ in range(2))
    assert all(torch.equal(*pair) for pair in zip(encoded, read, strict=True))


def test_an_autoencoder_written_in_part_is_written_again(
    sprites: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def write_half(network, folder):
        folder.mkdir()
        (folder / "config.json").write_text("{}")
        raise Stopped

    with monkeypatch.context() as patch:
        patch.setattr(AutoencoderKL, "save_pretrained", write_half)
        with pytest.raises(Stopped):
            obtain_autoencoder(TINY, sprites, tmp_path, seed=0, device=CPU)
    assert not [name for name in names_in(tmp_path) if name.endswith((".part", "vae"))]
    log = (tmp_path / "log.csv").read_text()
    network = obtain_autoencoder(TINY, sprites, tmp_path, seed=0, device=CPU)
    assert network.config.latent_channels == TINY.latent_channels
    assert (tmp_path / "log.csv").read_text() == log


def test_a_start_removes_what_a_killed_one_left(sprites: Path, tmp_path: Path) -> None:
    (tmp_path / ".dv-0.part").write_bytes(b"half")
    place = ["--out", str(tmp_path), "--sprites", str(sprites)]
    main(["--preset", "tiny", "--stage", "autoencoder", *place])
    assert ".dv-0.part" not in names_in(tmp_path)


def test_pictures_of_another_seed_are_refused(dataset: Dataset, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"world\.npz was made of other scenes") as refused:
        make_dataset(TINY, tmp_path, seed=1)
    assert "--out" in str(refused.value.hint)
    assert np.array_equal(make_dataset(TINY, tmp_path, seed=0).stills, dataset.stills)


def test_pictures_of_another_world_are_refused(
    dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(CLIP_SHARES, "moving left", 2)
    with pytest.raises(InputError, match="other scenes"):
        make_dataset(TINY, tmp_path, seed=0)


def test_pictures_without_a_digest_are_refused(dataset: Dataset, tmp_path: Path) -> None:
    np.savez(tmp_path / "world.npz", stills=dataset.stills, clips=dataset.clips)
    with pytest.raises(InputError, match="other scenes"):
        make_dataset(TINY, tmp_path, seed=0)


def test_latents_of_other_scenes_are_refused(dataset: Dataset, tmp_path: Path) -> None:
    autoencoder = build_autoencoder(TINY)
    stills, clips = obtain_latents(autoencoder, dataset, tmp_path)
    (tmp_path / "other").mkdir()
    other = make_dataset(TINY, tmp_path / "other", seed=1)
    with pytest.raises(InputError, match=r"latents\.pt was made of other scenes"):
        obtain_latents(autoencoder, other, tmp_path)
    torch.save((stills, clips), tmp_path / "latents.pt")
    with pytest.raises(InputError, match="other scenes"):
        obtain_latents(autoencoder, dataset, tmp_path)


def test_a_refusal_is_one_line(dataset: Dataset, sprites: Path, tmp_path: Path) -> None:
    command = ["--preset", "tiny", "--seed", "1", "--out", str(tmp_path), "--sprites", str(sprites)]
    with pytest.raises(SystemExit) as ended:
        main(command)
    assert str(ended.value).startswith(f"error: {tmp_path / 'world.npz'} was made of other scenes")
    assert "\n" not in str(ended.value)
