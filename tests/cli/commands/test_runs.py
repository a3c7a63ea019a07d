"""Runs from the shell: stopped, continued, killed, looked at, promoted, deleted."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dreamvideo_cli.errors import UsageError
from dreamvideo_cli.main import main
from dreamvideo_cli.runs.folders import claim, find_run
from dreamvideo_cli.settings.places import runs_folder
from dreamvideo_cli.terminal.text import read_duration
from engine.bases.models.unet3d import UNet3DBase
from tests.cli.conftest import Dv, Result
from tests.cli.test_main import REPOSITORY, start

Learn = Callable[..., Result]
STEPS = ("--set", "word_steps=2", "--set", "adapter_steps=4", "--batch", 1, "--lr", 0.01)


@pytest.fixture
def learn(dv: Dv, photos: Path, tiny_folder: Path) -> Learn:
    """Learn a subject in few steps on a tiny base."""

    def run(*options: object) -> Result:
        line = ("subject", "learn", photos, "--name", "corgi", "--class", "dog")
        return dv(*line, "--base", tiny_folder, *STEPS, *options)

    return run


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, photos: Path, tiny_folder: Path) -> bytes:
    """The weights of a run that nothing happened to."""
    home = tmp_path_factory.mktemp("whole")
    line = ("subject", "learn", photos, "--name", "corgi", "--class", "dog", "--base", tiny_folder)
    with pytest.MonkeyPatch.context() as patch:
        for name in ("STATE", "CACHE", "REGISTRY"):
            patch.setenv(f"DV_{name}", str(home / name.lower()))
        assert main([str(word) for word in (*line, *STEPS, "-q")]) == 0
    return weights_in(home / "registry")


def weights_in(registry: Path) -> bytes:
    """The only blob of a registry."""
    (blob,) = (registry / "blobs").rglob("*/*/*")
    return blob.read_bytes()


def draw_noise(path: Path) -> None:
    """Another photo than any of the fixture's."""
    pixels = np.random.default_rng(9).integers(0, 255, (48, 40, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)


def in_child(action: Callable[[], object]) -> int:
    """Run it in a copy of this process; the status it ended with."""
    child = os.fork()
    if child == 0:
        try:
            action()
        finally:
            os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def kill_at(touch: int) -> None:
    """SIGKILL this process at so many touches of the disk and calls of the network."""
    count = iter(range(1, 100_000))

    def dying(original):
        def touched(*arguments, **named):
            if next(count) == touch:
                os.kill(os.getpid(), signal.SIGKILL)
            return original(*arguments, **named)

        return touched

    for name in ("fsync", "rename", "replace", "link", "unlink"):
        setattr(os, name, dying(getattr(os, name)))
    UNet3DBase.denoise = dying(UNet3DBase.denoise)


def test_time_that_is_up_saves_and_says_which_run(learn: Learn, dv: Dv, whole: bytes, home) -> None:
    late = learn("--max-time", "0.001s", "--json")
    assert late.code == 75
    assert late.document["schema"] == "dv.run/1"
    assert late.document["state"] == "stopped"
    run = late.document["id"]
    for _ in range(3):
        again = dv("runs", "resume", run, "--max-time", "0.001s")
        assert (again.code, again.out) == (75, f"{run}\n")
    done = dv("runs", "resume", run)
    assert done.code == 0
    assert done.out.startswith("corgi:v1@sha256:")
    assert weights_in(home / "registry") == whole
    nothing = dv("runs", "resume", run)
    assert (nothing.code, nothing.out) == (0, done.out)
    assert not (home / "state" / "runs" / run / "checkpoints").exists()


@pytest.mark.skipif(os.name == "nt", reason="a shell")
def test_the_loop_of_the_manual_ends_with_a_reference(
    home: Path, photos: Path, tiny_folder: Path, whole: bytes
) -> None:
    program = f'dv() {{ "{sys.executable}" -m dreamvideo_cli "$@"; }}\n'
    loop = (
        f'R=$(dv subject learn "{photos}" --name corgi --class dog --base "{tiny_folder}"'
        " --set word_steps=2 --set adapter_steps=4 --batch 1 --lr 0.01 --max-time 0.001s) ||"
        ' while [ $? -eq 75 ]; do R=$(dv runs resume "$R" --max-time 55m); done\n'
        'echo "$R"'
    )
    ran = subprocess.run(
        ["sh", "-c", program + loop],
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.stdout.startswith("corgi:v1@sha256:"), ran.stderr
    assert weights_in(home / "registry") == whole


def test_fault_30_inputs_that_changed_are_shown_and_wait_for_fresh(
    learn: Learn, dv: Dv, photos: Path, tmp_path: Path, tiny_folder: Path
) -> None:
    run = learn("--max-time", "0.001s").out.strip()
    other = tmp_path / "others"
    other.mkdir()
    for path in photos.iterdir():
        Image.open(path).save(other / path.name)
    draw_noise(other / "1.png")
    line = ("subject", "learn", other, "--name", "corgi", "--class", "dog", "--base", tiny_folder)
    refused = dv(*line, *STEPS, "--json")
    assert (refused.code, refused.error["code"]) == (4, "run.differs")
    assert run in refused.error["message"]
    assert "1.png changed" in refused.error["message"]
    assert "0.png" not in refused.error["message"]
    settings = learn("--seed", 3)
    assert settings.code == 4
    assert "seed 0 -> 3" in settings.err
    fresh = learn("--seed", 3, "--fresh")
    assert fresh.code == 0
    assert dv("runs", "show", run, "--json").document["state"] == "abandoned"
    assert learn("--seed", 3).code == 0


def test_fault_30_a_photo_changed_under_a_run_is_shown_by_resume(
    dv: Dv, photos: Path, tmp_path: Path, tiny_folder: Path
) -> None:
    own = tmp_path / "own"
    own.mkdir()
    for path in photos.iterdir():
        (own / path.name).write_bytes(path.read_bytes())
    line = ("subject", "learn", own, "--name", "corgi", "--base", tiny_folder, *STEPS)
    run = dv(*line, "--max-time", "0.001s").out.strip()
    draw_noise(own / "1.png")
    refused = dv("runs", "resume", run, "--json")
    assert (refused.code, refused.error["code"]) == (4, "run.differs")


def test_what_is_not_learned_to_the_end_is_answered_with_its_run(
    learn: Learn, dv: Dv, monkeypatch: pytest.MonkeyPatch
) -> None:
    from dreamvideo_cli.runs import folders as runs

    run = learn("--max-time", "0.001s").out.strip()
    line = ("gen", "a corgi", "--subject", "corgi", "-n", "--json")
    stopped = dv(*line)
    assert (stopped.code, stopped.error["hint"].endswith(f"dv runs resume {run}")) == (3, True)
    monkeypatch.setattr(runs, "state_of", lambda _run: "running")
    assert dv(*line).error["hint"].endswith(f"dv runs show {run}")


def test_the_same_line_twice_at_once_is_refused(learn: Learn, dv: Dv) -> None:
    run = learn("--max-time", "0.001s").out.strip()
    claim(find_run(runs_folder(), run))
    lines = [("runs", "resume", run), ("runs", "rm", run, "-n")]
    for refused in (learn("--json"), *(dv(*line, "--json") for line in lines)):
        assert (refused.code, refused.error["code"]) == (4, "run.active")
    assert dv("runs", "show", run, "--json").document["ended"] is None


def test_the_same_line_says_from_where_it_goes_on(learn: Learn) -> None:
    run = learn("--max-time", "0.001s").out.strip()
    planned = learn("-n").err
    assert f"continuing {run} at step " in planned
    assert f"continuing {run} at step " in learn().err


def test_a_plan_refuses_what_differs_from_an_unfinished_run(learn: Learn) -> None:
    learn("--max-time", "0.001s")
    for rest in ((), ("-n",)):
        refused = learn("--seed", 9, "--json", *rest)
        assert (refused.code, refused.error["code"]) == (4, "run.differs")


def test_fault_24_out_of_memory_leaves_a_run_that_resumes(
    learn: Learn, dv: Dv, whole: bytes, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original, calls = UNet3DBase.denoise, iter(range(100))

    def hungry(self, *inputs):
        if next(calls) >= 4:
            raise MemoryError
        return original(self, *inputs)

    with monkeypatch.context() as patch:
        patch.setattr(UNet3DBase, "denoise", hungry)
        failed = learn("--json")
    assert (failed.code, failed.error["code"]) == (7, "device.out_of_memory")
    assert failed.out == ""
    (run,) = dv("runs", "list", "--json").document
    assert run["state"] == "stopped"
    assert any(stage["step"] for stage in run["stages"])
    assert dv("runs", "resume", run["id"]).code == 0
    assert weights_in(home / "registry") == whole


def test_a_diverged_run_is_not_in_the_way(learn: Learn, dv: Dv, monkeypatch) -> None:
    original, calls = UNet3DBase.denoise, iter(range(100))

    def broken(self, *inputs):
        factor = float("nan") if next(calls) >= 2 else 1.0
        return original(self, *inputs) * factor

    with monkeypatch.context() as patch:
        patch.setattr(UNet3DBase, "denoise", broken)
        failed = learn("--save-every", 1, "--json")
    assert (failed.code, failed.error["code"]) == (7, "learn.diverged")
    assert ".png" in failed.error["message"]
    (run,) = dv("runs", "list", "--json").document
    assert run["state"] == "failed"
    assert learn("--seed", 1).code == 0


@pytest.mark.skipif(not hasattr(os, "fork"), reason="copies of a process")
@pytest.mark.parametrize(
    "seed", [*range(3), *(pytest.param(seed, marks=pytest.mark.stress) for seed in range(3, 20))]
)
def test_a_killed_run_goes_on_to_the_same_weights_and_publishes_once(
    learn: Learn, dv: Dv, whole: bytes, home: Path, seed: int
) -> None:
    draw = random.Random(seed)
    for _ in range(2):
        touch = draw.randrange(5, 120)

        def die(touch: int = touch) -> None:
            kill_at(touch)
            learn("--save-every", 1)

        in_child(die)
    assert learn("--save-every", 1).code == 0
    assert weights_in(home / "registry") == whole
    versions = dv("subject", "list", "--all-versions", "-q").out.splitlines()
    states = [run["state"] for run in dv("runs", "list", "--json").document]
    assert states == ["finished"] * len(versions)


@pytest.mark.skipif(os.name == "nt", reason="signals")
def test_a_signal_saves_after_the_step_and_names_the_run(
    home: Path, photos: Path, tiny_folder: Path, dv: Dv
) -> None:
    line = ("subject", "learn", photos, "--name", "corgi", "--base", tiny_folder)
    process = start(*line, "--steps", 100_000, "--batch", 1, "--progress", "json")
    for told in process.stderr:
        if '"loss": 0' in told or '"loss": 1' in told:
            break
    process.send_signal(signal.SIGTERM)
    out, err = process.communicate()
    assert (process.returncode, out) == (143, "")
    (run,) = dv("runs", "list", "-q").out.split()
    assert f"hint: to go on: dv runs resume {run}" in err.splitlines()
    assert dv("runs", "show", run, "--json").document["saved"]["step"] >= 1


FAULT_23 = """
import os, signal, sys
from engine.training import checkpoints
from dreamvideo_cli.main import main
from dreamvideo_cli.runs.folders import claim, find_run
from dreamvideo_cli.settings.places import runs_folder
original = checkpoints.save_file
saves = iter(range(100))
def slow(tensors, path, **named):
    original(tensors, path, **named)
    if next(saves) == 2:
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)
checkpoints.save_file = slow
sys.exit(main(sys.argv[1:]))
"""


@pytest.mark.skipif(os.name == "nt", reason="signals")
def test_fault_23_a_second_signal_during_a_save_leaves_the_last_one_intact(  # noqa: PLR0917
    home: Path, photos: Path, tiny_folder: Path, learn: Learn, dv: Dv, whole: bytes
) -> None:
    line = ("subject", "learn", photos, "--name", "corgi", "--class", "dog", "--base", tiny_folder)
    process = start(*line, *STEPS, "--save-every", 1, script=FAULT_23)
    process.communicate()
    assert process.returncode == -signal.SIGINT
    (run,) = dv("runs", "list", "--json").document
    assert (run["state"], run["saved"]["step"]) == ("stopped", 2)
    assert learn().code == 0
    assert weights_in(home / "registry") == whole


def test_an_earlier_save_can_be_promoted(learn: Learn, dv: Dv) -> None:
    done = learn("--save-every", 1)
    assert done.code == 0
    (run,) = dv("runs", "list", "--json").document
    assert run["state"] == "finished"
    assert run["states"]
    step = run["states"][0]
    promoted = dv("runs", "promote", run["id"], "--step", step, "--tag", "early", "--json")
    assert promoted.document["version"] == 2
    shown = dv("subject", "show", "corgi:early", "--json").document
    assert shown["training"]["metrics"]["step"] == step
    last = dv("runs", "promote", run["id"], "--step", run["states"][-1]).out.strip()
    paths = [dv("subject", "path", ref).out for ref in ("corgi:v1", last, "corgi:early")]
    assert paths[0] == paths[1] != paths[2]
    missing = dv("runs", "promote", run["id"], "--step", 999, "--json")
    assert (missing.code, missing.error["code"]) == (3, "run.no_state")
    assert str(step) in missing.error["hint"]


def test_runs_are_listed_shown_and_deleted(learn: Learn, dv: Dv, home: Path) -> None:
    assert dv("runs", "list", "--json").document == []
    assert "no run yet" in dv("runs", "list").err
    run = learn("--max-time", "0.001s").out.strip()
    assert dv("runs", "list", "-q").out == f"{run}\n"
    assert run in dv("runs", "list").out
    assert "stopped" in dv("runs", "show", "corgi").out
    report = Path(dv("runs", "show", run, "--report").out.strip())
    assert report.is_file()
    assert dv("runs", "show", "nosuch").code == 3
    assert dv("runs", "rm", run).code == 2
    assert dv("runs", "rm", run, "-n").out == f"{run}\n"
    assert dv("runs", "rm", run, "-y").code == 0
    assert dv("runs", "list", "-q").out == ""


def test_a_runs_folder_tells_what_happened(learn: Learn, dv: Dv, home: Path) -> None:
    assert learn("--preview", 3, "--save-every", 2).code == 0
    (run,) = dv("runs", "list", "--json").document
    folder = Path(run["folder"])
    from dreamvideo_cli.runs.folders import read_events

    words = {type(event).__name__ for event in read_events(folder)}
    assert words >= {"Start", "Machine", "Stage", "Step", "Save", "Preview", "End"}
    for name in ("inputs.png", "report.html", "recipe.toml", "previews/00000000.webp"):
        assert (folder / name).is_file(), name


def test_the_last_preview_is_what_gen_makes(learn: Learn, dv: Dv, home: Path) -> None:
    assert learn("--preview", 100).code == 0
    (run,) = dv("runs", "list", "--json").document
    last = sorted((Path(run["folder"]) / "previews").iterdir())[-1]
    made = dv("gen", "a corgi", "--subject", "corgi", "-o", "made.webp")
    assert made.code == 0
    preview, video = Image.open(last), Image.open(home / "here" / "made.webp")
    assert preview.n_frames == video.n_frames > 1
    for number in range(video.n_frames):
        preview.seek(number)
        video.seek(number)
        assert preview.convert("RGB").tobytes() == video.convert("RGB").tobytes()


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("55m", 3300), ("1h30m", 5400), ("90s", 90), ("90", 90), ("1.5h", 5400), ("1h5m10s", 3910)],
)
def test_durations_are_read_as_people_write_them(text: str, seconds: float) -> None:
    assert read_duration(text) == seconds


@pytest.mark.parametrize("text", ["", "0", "m", "-3m", "5 m", "1h2h", "soon"])
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="is no duration"):
        read_duration(text)
