"""Make `mini` from nothing within minutes: `python -m engine.mini.recipe.train --preset gpu --minutes 8 --out DIR`.

The minutes hold everything: drawing the world, each stage's training, the check and the release. Every
stage ends annealed however fast the machine is, for its rate follows the clock. The rates reached are
told in the first seconds of each stage. A run that was stopped goes on from its checkpoints when the same
command is given again.

DIR/log.csv has stage, step, mean loss and seconds; DIR/stills.png and DIR/clips.png are sample sheets;
DIR/weights is the base, and DIR/check.txt says how good it is. Where the preset has a share for it, DIR/student is
a denoiser that makes a video in four calls.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
import warnings
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from diffusers import AutoencoderKL

from engine.drafts import discard_drafts, drafted
from engine.errors import EngineError, InputError
from engine.mini.recipe.autoencoder import build_autoencoder, scale_latents, train_autoencoder
from engine.mini.recipe.budget import STAGES, Order, Stage, divide, read_plan, write_plan
from engine.mini.recipe.denoiser import (
    Objective,
    Parts,
    build_denoiser,
    build_scheduler,
    train_on_clips,
    train_on_stills,
)
from engine.mini.recipe.distil import CALLS, distil
from engine.mini.recipe.inherit import Ancestor, open_ancestor, take_weights, take_words
from engine.mini.recipe.presets import PRESETS, Preset
from engine.mini.recipe.release import write_release
from engine.mini.recipe.sheets import write_sheet
from engine.mini.recipe.towers import Towers, train_towers
from engine.mini.world.batches import Batches
from engine.mini.world.captions import build_tokenizer
from engine.mini.world.population import Population, gather_population

if TYPE_CHECKING:
    from collections.abc import Sequence

    from diffusers import UNet3DConditionModel
    from torch import Tensor
    from transformers import CLIPTokenizer

RELEASE_SECONDS = 10.0
"""Left at the end of a run without a check."""
INHERITED_RATE = 0.3
"""Towers that go on learn so much slower: the denoiser reads them."""


@dataclass(frozen=True)
class Run:
    """One run: what to make of what, where, and the seconds of each stage."""

    preset: Preset
    folder: Path
    device: torch.device
    tokenizer: CLIPTokenizer
    batches: Batches
    ancestor: Ancestor | None
    seconds: dict[str, float]
    half: bool

    @property
    def is_same_size(self) -> bool:
        """Whether the ancestor's latents are taken as they are."""
        return self.ancestor is not None and self.ancestor.side_px == self.preset.side_px

    def stage(self, name: str, rate: float = 1.0) -> Stage:
        """A stage with its seconds and peak rate."""
        return Stage(name, self.seconds[name], getattr(self.preset, name).lr * rate)


def has_bfloat16(device: torch.device) -> bool:
    """Whether bfloat16 is quicker than single precision there: known of a GPU, measured on a CPU."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported())
    whole = torch.ones(768, 768, device=device)
    return device.type == "cpu" and _time_product(whole.bfloat16()) < 0.8 * _time_product(whole)


def _time_product(x: Tensor) -> float:
    """Seconds of a matrix times itself, the quickest of five."""
    times = []
    for _ in range(5):
        begun = time.perf_counter()
        torch.mm(x, x)
        times.append(time.perf_counter() - begun)
    return min(times)


def main(arguments: Sequence[str] | None = None) -> None:
    """Read the command line and run."""
    begun = time.monotonic()
    options = read_options(arguments)
    torch.set_num_threads(options.threads)
    try:
        run = prepare(options, torch.device(options.device), begun)
        train(run, version=options.version)
        if options.check:
            sys.stdout.write(check(run, options.sprites))
    except EngineError as error:
        raise SystemExit(f"error: {error.line}") from error


def read_options(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The command line, refused where it asks for what cannot be made."""
    parser = argparse.ArgumentParser(prog="python -m engine.mini.recipe.train", description=__doc__)
    parser.add_argument("--preset", choices=PRESETS, default="cpu")
    parser.add_argument(
        "--minutes", type=float, required=True, help="for everything, from start to end"
    )
    parser.add_argument("--out", type=Path, required=True, help="folder for all that is made")
    parser.add_argument("--from", type=Path, dest="ancestor", help="base to go on from")
    parser.add_argument(
        "--sprites", type=Path, help="folder of unpacked sprites, seen beside figures"
    )
    parser.add_argument("--device", help="such as cuda or cpu; cuda where there is one")
    parser.add_argument(
        "--threads", type=int, default=1, help="of a CPU; more must wait for each other"
    )
    parser.add_argument(
        "--stages",
        nargs="+",
        choices=STAGES,
        help="train these; the parts of other stages are taken from the base of --from",
    )
    parser.add_argument(
        "--check",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="score the released base in the last minutes",
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--version", type=int, default=5, help="version of the released base")
    options = parser.parse_args(arguments)
    for folder in (options.ancestor, options.sprites):
        if folder and not folder.is_dir():
            parser.error(f"{folder} is not a folder")
    if options.stages and not options.ancestor:
        parser.error("--stages leaves parts untrained without --from, which gives them")
    if options.minutes <= 0:
        parser.error(f"--minutes must be more than 0, not {options.minutes:g}")
    options.device = options.device or ("cuda" if torch.cuda.is_available() else "cpu")
    if options.device.startswith("cuda") and not torch.cuda.is_available():
        parser.error(
            f"--device {options.device}: no such device is here; leave it out, or give cpu"
        )
    return options


def prepare(options: argparse.Namespace, device: torch.device, begun: float) -> Run:
    """Draw the world and divide what is left of the minutes among the stages.

    Raises:
        InputError: the folder holds a run that was told something else, or no time is left to train.
    """
    preset, folder = PRESETS[options.preset], options.out
    folder.mkdir(parents=True, exist_ok=True)
    discard_drafts(folder)
    told = Order(
        options.preset,
        options.minutes,
        options.seed,
        str(options.ancestor),
        str(options.sprites),
        options.stages or list(STAGES),
    )
    planned = read_plan(folder, told)
    # Before the device is touched, for processes are forked.
    population = gather_population(
        side=preset.side_px,
        creatures=preset.creatures,
        seed=options.seed,
        sprites=options.sprites,
        processes=len(os.sched_getaffinity(0)) if device.type == "cuda" else 1,
        every=preset.every,
    )
    run = _prepare_device(options, preset, population, device)
    spent = time.monotonic() - begun
    left = options.minutes * 60 - spent - (preset.reserve_s if options.check else RELEASE_SECONDS)
    seconds = planned or divide(preset, left, told.stages)
    write_plan(folder, told, seconds)
    _say(
        f"{len(population.members)} figures drawn in {spent:.0f} s; seconds of each stage: {seconds}"
    )
    run.seconds.update(seconds)
    return run


def _prepare_device(
    options: argparse.Namespace, preset: Preset, population: Population, device: torch.device
) -> Run:
    """Put the world and the ancestor on the device."""
    torch.manual_seed(options.seed)
    if device.type == "cuda":
        torch.set_float32_matmul_precision("high")
        torch.backends.cudnn.benchmark = True
    ancestor = open_ancestor(options.ancestor, device) if options.ancestor else None
    if ancestor and ancestor.side_px > preset.side_px:
        raise InputError(
            f"{options.ancestor} makes pictures of {ancestor.side_px} px, the preset {options.preset}"
            f" makes them of {preset.side_px}",
            hint="give a preset of that size or more",
        )
    if ancestor:
        channels = int(ancestor.autoencoder.config.latent_channels)
        preset = replace(preset, latent_channels=channels)
    tokenizer = build_tokenizer()
    batches = Batches(
        population,
        tokenizer,
        device,
        side=preset.side_px,
        frames=preset.frames,
        paths=preset.paths,
        seed=options.seed,
    )
    half = has_bfloat16(device)
    return Run(preset, options.out, device, tokenizer, batches, ancestor, {}, half)


def train(run: Run, *, version: int) -> None:
    """Run the stages in order and release the base."""
    autoencoder = obtain_autoencoder(run)
    towers = obtain_towers(run)
    parts = Parts(autoencoder, towers.text, run.tokenizer, build_scheduler())
    objective = train_denoiser(run, parts)
    student = train_student(run, objective)
    write_release(
        run.preset, parts, objective.network, towers.image, run.folder / "weights", version=version
    )
    if student is not None:
        student.half().save_pretrained(run.folder / "student")


def check(run: Run, sprites: Path | None) -> str:
    """What the check says of the released base, kept in `check.txt`."""
    command = [
        sys.executable,
        "-m",
        "engine.benchmark.base",
        "--weights",
        str(run.folder / "weights"),
    ]
    command += ["--sheet", str(run.folder / "check.png"), "--device", str(run.device)]
    command += ["--count", str(run.preset.checked)]
    command += ["--sprites", str(sprites)] if sprites else []
    environment = {**os.environ, "OMP_NUM_THREADS": str(torch.get_num_threads())}
    told = subprocess.run(
        command, check=True, stdout=subprocess.PIPE, text=True, env=environment
    ).stdout
    (run.folder / "check.txt").write_text(told, encoding="utf-8")
    return told


def obtain_autoencoder(run: Run) -> AutoencoderKL:
    """The finished autoencoder, inherited or trained first if it is not there."""
    kept = run.ancestor.autoencoder if run.ancestor else None
    if "autoencoder" not in run.seconds and kept:
        return kept
    path = run.folder / "vae"
    if not path.is_dir():
        torch.manual_seed(0)
        network = build_autoencoder(run.preset).to(run.device)
        if kept and run.is_same_size:
            take_weights(network, kept)
            network.register_to_config(scaling_factor=kept.config.scaling_factor)
            scale_latents(network)
        train_autoencoder(
            run.preset,
            run.batches,
            run.folder,
            network=network,
            stage=run.stage("autoencoder"),
            half=run.half,
            kept=kept,
        )
        with drafted(path) as draft:
            network.save_pretrained(draft)
    network = AutoencoderKL.from_pretrained(path).to(run.device, memory_format=torch.channels_last)
    return network.eval().requires_grad_(False)


def obtain_towers(run: Run) -> Towers:
    """The finished towers, inherited or trained."""
    torch.manual_seed(1)
    towers = Towers(run.preset, run.tokenizer).to(run.device)
    old = run.ancestor
    if old:
        take_weights(towers.text, old.text)
        take_words(towers.text, run.tokenizer, old.text, old.tokenizer)
        take_weights(towers.image, old.image)
    if "towers" in run.seconds:
        stage = run.stage("towers", INHERITED_RATE if old else 1.0)
        train_towers(run.preset, run.batches, run.folder, towers=towers, stage=stage, half=run.half)
    return towers.eval().requires_grad_(False)


def train_denoiser(run: Run, parts: Parts) -> Objective:
    """The objective of the denoiser after stills and clips, with a sheet of samples of each."""
    torch.manual_seed(2)
    network = build_denoiser(run.preset).to(run.device)
    if run.ancestor:
        left = take_weights(network, run.ancestor.denoiser)
        _say(f"the denoiser goes on; of its weights start anew: {left or 'none'}")
    objective = Objective(network, parts, run.batches, run.preset)
    for name, teach in (("stills", train_on_stills), ("clips", train_on_clips)):
        if name not in run.seconds:
            continue
        has_learned = teach(run.preset, objective, run.folder, stage=run.stage(name), half=run.half)
        network.eval().requires_grad_(False)
        sheet = run.folder / f"{name}.png"
        if has_learned or not sheet.is_file():
            frames = 1 if name == "stills" else run.preset.frames
            write_sheet(network, parts, sheet, frames=frames)
    return objective


def train_student(run: Run, objective: Objective) -> UNet3DConditionModel | None:
    """A student of few calls where the preset has time for it, with a sheet of samples."""
    if "distil" not in run.seconds:
        return None
    student = distil(run.preset, objective, run.folder, stage=run.stage("distil"), half=run.half)
    sheet = run.folder / "student.png"
    write_sheet(student, objective.parts, sheet, frames=run.preset.frames, steps=CALLS, guidance=1)
    return student


def _say(line: str) -> None:
    sys.stderr.write(line + "\n")


if __name__ == "__main__":
    warnings.filterwarnings("ignore", category=DeprecationWarning)
    main()
