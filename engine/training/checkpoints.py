"""Whole states of a stage on disk: written whole or not at all, checked when read, the last two kept."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec
import torch
from msgspec import Struct
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from engine.drafts import discard_drafts, draft_in, refusal, settle
from engine.errors import IncompatibleError
from engine.progress import Note, Progress

KEPT = 2
METADATA_KEY = "dreamvideo"
# What AdamW keeps for each weight.
MOMENTS = ("step", "exp_avg", "exp_avg_sq")
NAME = re.compile(r"(\d{8})-([0-9a-f]{16})\.safetensors")


class SnapshotFacts(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where a stage stands, beside its tensors. Random numbers are keyed by step, so none are kept.

    Attributes:
        step: updates done, skipped ones included.
        skipped: how many of the last ones in a row were skipped.
        accumulate: parts in which a batch is computed, as memory has allowed.
        checkpointing: whether blocks are computed again in the backward pass.
        compiled: whether blocks are compiled.
        scaler: of fp16, else None.
    """

    step: int
    skipped: int
    accumulate: int
    checkpointing: bool
    compiled: bool = False
    scaler: dict[str, int | float] | None = None


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A stage between two steps: ``tensors`` by name, on the CPU once they are read."""

    facts: SnapshotFacts
    tensors: Mapping[str, Tensor]


def write_snapshot(folder: Path, snapshot: Snapshot) -> Path:
    """Put a snapshot into ``folder``, safe from a power loss when this returns, and let older ones go.

    Raises:
        OutputError: it cannot be written; what was there before is as it was.
    """
    step = snapshot.facts.step
    metadata = {METADATA_KEY: msgspec.json.encode(snapshot.facts).decode()}
    plain = {name: tensor.detach().to("cpu") for name, tensor in snapshot.tensors.items()}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with draft_in(folder) as draft:
            save_file(plain, draft, metadata=metadata)
            path = folder / f"{step:08d}-{_digest(draft)}.safetensors"
            settle(draft, path)
    except (OSError, SafetensorError) as error:
        raise refusal(f"the save of step {step} in {folder}", error) from error
    _prune(folder)
    return path


def read_latest(folder: Path, progress: Progress) -> Snapshot | None:
    """The latest snapshot that is whole, or None; one that is not is told of and passed over."""
    for path in reversed(_snapshots(folder)):
        found = _read(path)
        if found is not None:
            return found
        progress(Note(f"{path.name} is damaged: going back to the save before it"))
    return None


def tensors_of(
    learned: Mapping[str, nn.Parameter], optimiser: torch.optim.Optimizer, losses: Sequence[float]
) -> dict[str, Tensor]:
    """Weights, what the optimiser keeps for each, and the losses so far, (n,) in fp64."""
    weights = {f"weight.{name}": weight for name, weight in learned.items()}
    moments = {
        f"{key}.{name}": value
        for name, weight in learned.items()
        for key, value in optimiser.state[weight].items()
    }
    return {**weights, **moments, "losses": torch.tensor(losses, dtype=torch.float64)}


def load_tensors(
    tensors: Mapping[str, Tensor],
    learned: Mapping[str, nn.Parameter],
    optimiser: torch.optim.Optimizer,
) -> list[float]:
    """Put back what `tensors_of` took; returns the losses.

    Raises:
        IncompatibleError: names or shapes differ.
    """
    mine = {f"weight.{name}": weight.shape for name, weight in learned.items()}
    theirs = {name: t.shape for name, t in tensors.items() if name.startswith("weight.")}
    if mine != theirs:
        raise IncompatibleError(
            "the save is of other weights than these: another version of this tool made it",
            hint="begin again with --fresh",
        )
    state = {}
    for number, (name, weight) in enumerate(learned.items()):
        weight.data.copy_(tensors[f"weight.{name}"])
        found = {key: tensors.get(f"{key}.{name}") for key in MOMENTS}
        if None not in found.values():
            state[number] = found
    optimiser.load_state_dict({**optimiser.state_dict(), "state": state})
    losses: list[float] = tensors["losses"].tolist()
    return losses


def _read(path: Path) -> Snapshot | None:
    """The snapshot in ``path``, or None where it is not what its name says."""
    match = NAME.fullmatch(path.name)
    try:
        if not match or _digest(path) != match[2]:
            return None
        with safe_open(path, framework="pt") as stream:
            facts = msgspec.json.decode(stream.metadata()[METADATA_KEY], type=SnapshotFacts)
            tensors = {name: stream.get_tensor(name) for name in stream.keys()}  # noqa: SIM118
    except (OSError, SafetensorError, KeyError, msgspec.DecodeError):
        return None
    return Snapshot(facts, tensors)


def _digest(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()[:16]


def _snapshots(folder: Path) -> list[Path]:
    return sorted(path for path in folder.glob("*.safetensors") if NAME.fullmatch(path.name))


def _prune(folder: Path) -> None:
    for path in _snapshots(folder)[:-KEPT]:
        path.unlink(missing_ok=True)
    discard_drafts(folder)
