"""Runs that stop and go on: the same adapter, bit for bit, whatever happened on the way."""

from __future__ import annotations

import errno
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
import torch

from engine import drafts
from engine.adapters import file
from engine.adapters.file import load_adapter
from engine.bases import BaseLocation, locate_base
from engine.errors import (
    DivergedError,
    IncompatibleError,
    IntegrityError,
    MemoryExhaustedError,
    OutputError,
    StoppedError,
)
from engine.progress import (
    Event,
    MemoryReduced,
    Note,
    Saved,
    StageAdvanced,
    StageStarted,
    StepSkipped,
    ignore,
)
from engine.training import checkpoints
from engine.training import saver as saver_module
from engine.training.checkpoints import Snapshot, SnapshotFacts, read_latest, write_snapshot
from engine.training.fit import fit, open_accelerator
from engine.training.result import Learned
from engine.training.saver import SavePolicy, Saver, StopRequest, thin
from tests.engine.samples import clip, learn_motion, learn_subject, photos
from tests.engine.test_learning import MOTION, SUBJECT, Constant, plan

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def location(tiny_folder: Path) -> BaseLocation:
    return locate_base(str(tiny_folder))


def subject(folder: Path, location: BaseLocation, **named) -> Learned:
    folder.mkdir(exist_ok=True)
    return learn_subject(SUBJECT, photos(), location, folder, token="<corgi>", **named)


def motion(folder: Path, location: BaseLocation, **named) -> Learned:
    folder.mkdir(exist_ok=True)
    return learn_motion(MOTION, [clip(0), clip(1, frames=3)], location, folder, **named)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, location: BaseLocation) -> dict[str, bytes]:
    """Adapters learned without a stop."""
    folder = tmp_path_factory.mktemp("whole")
    return {
        "subject": subject(folder / "s", location).weights.read_bytes(),
        "motion": motion(folder / "m", location).weights.read_bytes(),
    }


def stop_after(step: int, policy: SavePolicy) -> Callable[[Event], None]:
    """Ask to stop once so many steps of learning were told."""
    told = []

    def listen(event: Event) -> None:
        if isinstance(event, StageAdvanced) and event.loss is not None:
            told.append(event)
            if len(told) == step:
                policy.stop.reason = "test"

    return listen


@pytest.mark.parametrize("step", [1, 3, 4])
def test_a_stopped_subject_goes_on_to_the_same_adapter(
    tmp_path: Path, location: BaseLocation, whole: dict[str, bytes], step: int
) -> None:
    policy = SavePolicy()
    with pytest.raises(StoppedError, match="is saved at step"):
        subject(tmp_path / "run", location, policy=policy, progress=stop_after(step, policy))
    learned = subject(tmp_path / "run", location, policy=SavePolicy())
    assert learned.weights.read_bytes() == whole["subject"]


def test_a_motion_that_stops_after_every_step_comes_to_the_same_adapter(
    tmp_path: Path, location: BaseLocation, whole: dict[str, bytes]
) -> None:
    starts: list[int] = []

    def listen(event: Event) -> None:
        if isinstance(event, StageStarted) and event.stage == "learn the motion":
            starts.append(event.done)

    for _ in range(MOTION.steps - 1):
        with pytest.raises(StoppedError):
            motion(tmp_path, location, policy=SavePolicy(stop=StopRequest(deadline=0.0)))
    learned = motion(tmp_path, location, policy=SavePolicy(), progress=listen)
    assert starts == [MOTION.steps - 1]
    assert learned.weights.read_bytes() == whole["motion"]


def test_a_finished_stage_is_not_done_again(tmp_path: Path, location: BaseLocation) -> None:
    subject(tmp_path / "run", location, policy=SavePolicy())
    told: list[Event] = []
    subject(tmp_path / "run", location, policy=SavePolicy(), progress=told.append)
    assert not any(isinstance(event, StageAdvanced) and event.loss for event in told)


def test_saves_are_told_and_leave_the_adapter_of_their_step(
    tmp_path: Path, location: BaseLocation
) -> None:
    told: list[Event] = []
    learned = subject(
        tmp_path / "run", location, policy=SavePolicy(save_every=1), progress=told.append
    )
    saves = [event for event in told if isinstance(event, Saved)]
    assert [(save.stage, save.step) for save in saves] == [
        ("learn the word", 1),
        ("learn the word", 2),
        ("learn the look", 1),
        ("learn the look", 2),
        ("learn the look", 3),
    ]
    states = [save.state for save in saves if save.state]
    files = [tmp_path / "run" / state for state in states]
    assert states == [f"states/{step:08d}.safetensors" for step in (1, 2, 3)]
    assert files[-1].read_bytes() == learned.weights.read_bytes()
    assert load_adapter(files[0]).facts == load_adapter(learned.weights).facts
    kept = [path.name[:8] for path in sorted((tmp_path / "run" / "checkpoints").rglob("*.saf*"))]
    assert kept == ["00000002", "00000003", "00000001", "00000002"]


class Slope(Constant):
    """A loss whose gradient depends on where the weight is."""

    def forward(self, draws):
        return self.weight.square() * torch.tensor([1.0 + draw.item for draw in draws])


def saver(folder: Path, told: list[Event] | None = None, **named) -> Saver:
    """A saver for which time that it waits is over at once."""
    progress = ignore if told is None else told.append
    return Saver(SavePolicy(**{"wait": lambda _: None, **named}), folder, "stage", progress)


def weight_after(folder: Path, steps: int, **named) -> torch.Tensor:
    objective = Slope(0.0)
    fit(objective, plan(steps=steps), open_accelerator(CPU, "fp32"), ignore, **named)
    return objective.weight.detach()


def test_saves_come_by_time_too_but_never_take_more_than_their_share(tmp_path: Path) -> None:
    by_time = saver(tmp_path, save_seconds=0.0)
    assert by_time.is_due(1)
    by_time._cost = 1000.0
    assert not by_time.is_due(1)
    assert not saver(tmp_path).is_due(1)


def test_a_damaged_save_is_passed_over_for_the_one_before_it(tmp_path: Path) -> None:
    whole = weight_after(tmp_path / "a", 4)
    weight_after(tmp_path / "b", 3, saver=saver(tmp_path / "b", save_every=1))
    *_, last = sorted((tmp_path / "b" / "checkpoints").rglob("*.safetensors"))
    data = bytearray(last.read_bytes())
    data[-1] ^= 1
    last.write_bytes(data)
    told: list[Event] = []
    again = weight_after(tmp_path / "b", 4, saver=saver(tmp_path / "b", told))
    assert torch.equal(again, whole)
    assert "going back to the save before it" in told[0].text


@pytest.mark.parametrize("damage", [b"", b"\0" * 100])
def test_without_a_whole_save_learning_begins_anew(tmp_path: Path, damage: bytes) -> None:
    folder = tmp_path / "checkpoints" / "stage"
    folder.mkdir(parents=True)
    name = f"00000002-{checkpoints.hashlib.sha256(damage).hexdigest()[:16]}.safetensors"
    (folder / name).write_bytes(damage)
    (folder / "foreign.safetensors").touch()
    told: list[Event] = []
    again = weight_after(tmp_path, 2, saver=saver(tmp_path, told))
    assert torch.equal(again, weight_after(tmp_path / "b", 2))
    assert isinstance(told[0], Note)


def test_a_save_of_other_weights_is_refused(tmp_path: Path) -> None:
    facts = SnapshotFacts(step=1, skipped=0, accumulate=1, checkpointing=True)
    tensors = {"weight.other": torch.zeros(2), "losses": torch.zeros(1)}
    write_snapshot(tmp_path / "checkpoints" / "stage", Snapshot(facts, tensors))
    with pytest.raises(IncompatibleError, match="of other weights"):
        weight_after(tmp_path, 2, saver=saver(tmp_path))


def test_unfinished_files_go_with_the_next_save(tmp_path: Path) -> None:
    folder = tmp_path / "checkpoints" / "stage"
    folder.mkdir(parents=True)
    (folder / ".dv-123.part").write_bytes(b"half")
    weight_after(tmp_path, 1, saver=saver(tmp_path))
    assert not list(folder.glob("*.part"))


def test_a_full_disk_stops_with_the_save_before_it_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    weight_after(tmp_path, 2, saver=saver(tmp_path, save_every=1))
    folder = tmp_path / "checkpoints" / "stage"
    before = {path.name: path.read_bytes() for path in folder.iterdir()}

    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(drafts, "sync", full)
        with pytest.raises(OutputError, match="the disk is full") as caught:
            weight_after(tmp_path, 4, saver=saver(tmp_path, save_every=1))
    assert caught.value.code == "output.no_space"
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    again = weight_after(tmp_path, 4, saver=saver(tmp_path))
    assert torch.equal(again, weight_after(tmp_path / "b", 4))


class FullDisk:
    """A disk that is full for so many seconds of waiting."""

    def __init__(self, patch: pytest.MonkeyPatch, seconds: float) -> None:
        self.left, self.waits = seconds, list[float]()
        self._sync = drafts.sync
        patch.setattr(drafts, "sync", self._try)

    def wait(self, seconds: float) -> None:
        self.waits.append(seconds)
        self.left -= seconds

    def _try(self, path: Path) -> None:
        if self.left > 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        self._sync(path)


def test_a_run_waits_for_space_on_a_full_disk_and_says_so_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = FullDisk(monkeypatch, 100.0)
    told: list[Event] = []
    held = saver(tmp_path / "a", told, save_every=1, wait=disk.wait)
    again = weight_after(tmp_path / "a", 4, saver=held)
    assert torch.equal(again, weight_after(tmp_path / "b", 4))
    (note,) = [event.text for event in told if isinstance(event, Note)]
    assert "the disk is full: paused for 10 minutes at most" in note
    assert 100 <= sum(disk.waits) < 100 + saver_module.LONGEST_WAIT
    assert [event.step for event in told if isinstance(event, Saved)] == [1, 2, 3, 4]


def test_a_disk_that_stays_full_ends_the_run_after_ten_minutes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = FullDisk(monkeypatch, 1e9)
    with pytest.raises(OutputError, match="the disk is full") as caught:
        weight_after(tmp_path, 4, saver=saver(tmp_path, save_every=1, wait=disk.wait))
    assert caught.value.code == "output.no_space"
    assert (
        saver_module.PAUSE_SECONDS
        <= sum(disk.waits)
        <= saver_module.PAUSE_SECONDS + saver_module.LONGEST_WAIT
    )


def test_a_stop_does_not_wait_for_space(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    disk, stop = FullDisk(monkeypatch, 1e9), StopRequest()

    def wait(seconds: float) -> None:
        disk.wait(seconds)
        if len(disk.waits) == 3:
            stop.reason = "test"

    with pytest.raises(OutputError, match="the disk is full"):
        weight_after(tmp_path, 4, saver=saver(tmp_path, save_every=1, wait=wait, stop=stop))
    assert len(disk.waits) == 3


def test_a_full_disk_does_not_make_saves_rare(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = FullDisk(monkeypatch, 60.0)
    held = saver(tmp_path, save_every=1, wait=disk.wait)
    weight_after(tmp_path, 1, saver=held)
    assert held._cost < 10.0


def test_a_state_that_finds_no_space_pauses_the_run_too(
    tmp_path: Path, location: BaseLocation, monkeypatch: pytest.MonkeyPatch, whole: dict[str, bytes]
) -> None:
    original, failures = file.save_file, [OSError(errno.ENOSPC, "No space left on device")]

    def full(*arguments: object, **named: object) -> None:
        if failures:
            raise failures.pop()
        original(*arguments, **named)

    monkeypatch.setattr(file, "save_file", full)
    told: list[Event] = []
    policy = SavePolicy(save_every=1, wait=lambda _: None)
    learned = subject(tmp_path / "run", location, policy=policy, progress=told.append)
    assert any("paused" in event.text for event in told if isinstance(event, Note))
    assert learned.weights.read_bytes() == whole["subject"]


def test_a_disk_that_refuses_is_named(tmp_path: Path) -> None:
    (tmp_path / "checkpoints").write_text("a file")
    with pytest.raises(OutputError, match="cannot be written"):
        weight_after(tmp_path, 1, saver=saver(tmp_path))


def test_states_are_few_and_spread_over_the_run(tmp_path: Path) -> None:
    for step in range(1, 41):
        (tmp_path / f"{step:08d}.safetensors").touch()
        thin(tmp_path)
    steps = sorted(int(path.stem) for path in tmp_path.iterdir())
    assert len(steps) == saver_module.STATES_KEPT
    assert steps[-1] == 40
    gaps = [later - earlier for earlier, later in zip([0, *steps], steps, strict=False)]
    assert max(gaps[:-1]) <= 4 * min(gaps[:-1])


def test_states_that_are_worth_more_stay_longer(tmp_path: Path) -> None:
    for step in range(1, 41):
        (tmp_path / f"{step:08d}.safetensors").touch()
        thin(tmp_path, 5, lambda each: 2 if each == 3 else int(each % 10 == 0))
    assert sorted(int(path.stem) for path in tmp_path.iterdir()) == [3, 10, 20, 30, 40]


def scaling(folder: Path, steps: int) -> tuple[torch.Tensor, dict[str, float]]:
    """Learn with the loss scaled as in fp16; the scaler doubles after every three good steps."""
    accelerator = open_accelerator(CPU, "fp32")
    accelerator.scaler = torch.amp.GradScaler("cpu", init_scale=8.0, growth_interval=3)
    objective = Slope(0.0)
    fit(objective, plan(steps=steps), accelerator, ignore, saver=saver(folder))
    return objective.weight.detach(), accelerator.scaler.state_dict()


def test_the_scaler_of_fp16_goes_on_where_it_stood(tmp_path: Path) -> None:
    whole, scaler = scaling(tmp_path / "a", 7)
    for steps in (2, 4, 7):
        again, resumed = scaling(tmp_path / "b", steps)
    assert resumed == scaler
    assert (scaler["scale"], scaler["_growth_tracker"]) == (32.0, 1)
    assert torch.equal(again, whole)


class Hiccup(Slope):
    """Losses that are not finite at some steps."""

    def __init__(self, bad: set[int]) -> None:
        super().__init__(0.0)
        self.bad = bad

    def forward(self, draws):
        factor = float("inf") if draws[0].step in self.bad else 1.0
        return super().forward(draws) * factor


def test_an_update_that_is_not_finite_is_left_out_and_said() -> None:
    told: list[Event] = []
    objective = Hiccup({1, 2})
    names = ("a.png", "b.png", "c.png")
    losses = fit(objective, plan(steps=5, names=names), open_accelerator(CPU, "fp32"), told.append)
    skips = [event for event in told if isinstance(event, StepSkipped)]
    assert [skip.step for skip in skips] == [2, 3]
    assert set(skips[0].files) <= set(names)
    assert len(losses) == 3
    assert objective.weight.isfinite()


def test_the_third_in_a_row_stops_and_names_step_files_and_the_last_good_save(
    tmp_path: Path,
) -> None:
    told = plan(steps=9, names=("a.png", "b.png", "c.png"))
    accelerator = open_accelerator(CPU, "fp32")
    with pytest.raises(DivergedError) as caught:
        fit(Hiccup({2, 3, 4}), told, accelerator, ignore, saver=saver(tmp_path, save_every=2))
    assert "the loss of step 3 is inf" in caught.value.message
    assert ".png" in caught.value.message
    assert "step 4 is saved" in caught.value.message
    assert read_latest(tmp_path / "checkpoints" / "stage", ignore).facts.skipped == 2


def test_a_weight_that_is_not_finite_is_never_saved(tmp_path: Path) -> None:
    objective = Slope(0.0)
    with pytest.raises(DivergedError, match="a weight is not finite after step"):
        fit(
            objective,
            plan(steps=3, lr=float("inf")),
            open_accelerator(CPU, "fp32"),
            ignore,
            saver=saver(tmp_path, save_every=1),
        )
    assert not list(tmp_path.rglob("*.safetensors"))


def test_a_probe_measures_what_an_adapter_changes_and_finds_another(
    tmp_path: Path, location: BaseLocation
) -> None:
    first = subject(tmp_path / "a", location, policy=SavePolicy())
    other = learn_subject(
        msgspec.structs.replace(SUBJECT, seed=1),
        photos(),
        location,
        tmp_path,
        token="<corgi>",
    )
    assert first.probe(first.weights) > 1e-4
    with pytest.raises(IntegrityError, match="does not do what was learned"):
        first.probe(other.weights)
    assert other.probe is None
    moved = motion(tmp_path / "m", location, policy=SavePolicy())
    assert moved.probe(moved.weights) > 1e-4


def test_no_memory_to_save_with_leaves_a_save_out_unless_it_is_the_last(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_memory(*_: object) -> None:
        raise MemoryError

    told: list[Event] = []
    with monkeypatch.context() as patch:
        patch.setattr(saver_module, "write_snapshot", no_memory)
        held = saver(tmp_path, told)
        facts = SnapshotFacts(step=1, skipped=0, accumulate=1, checkpointing=True)
        assert not held.save(Snapshot(facts, {}), is_last_chance=False)
        with pytest.raises(MemoryExhaustedError):
            held.save(Snapshot(facts, {}), is_last_chance=True)
    assert isinstance(told[0], MemoryReduced)
