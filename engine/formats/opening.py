"""Opening a file that another tool wrote: its tensors by name, and nothing of it is run.

A pickle is read by torch's restricted reader, which knows tensors and plain containers and refuses all else.
"""

from __future__ import annotations

import json
import re
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from engine.errors import InputNotFoundError, IntegrityError

PEFT_CONFIG, PEFT_WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
PICTURES: Mapping[bytes, str] = {
    b"\x89PNG": "png",
    b"\xff\xd8\xff": "jpeg",
    b"RIFF": "webp",
    b"GIF8": "gif",
}
# What stands where a download went wrong.
PLACEHOLDERS: Mapping[bytes, str] = {
    b"version ": "a pointer of Git LFS, which stands where the file was not fetched",
    b"<!doctype": "a web page",
    b"<html": "a web page",
    b'{"error"': "an error that a server sent",
}
ZIP = b"PK\x03\x04"
PICKLE = b"\x80"
DEEPEST, MOST_LEAVES = 6, 100_000  # dictionaries in dictionaries, and what hangs in them
# Wrappers of training scripts around what counts.
WRAPPERS = ("state_dict.", "module.")


@dataclass(frozen=True, slots=True)
class Opened:
    """What a foreign file holds."""

    path: Path  # of the file
    # by name, dictionaries in dictionaries joined by dots; those of a list by their places
    tensors: Mapping[str, Tensor]
    # texts that a safetensors file has beside them
    metadata: Mapping[str, str] = field(default_factory=dict)
    config: Mapping[str, Any] | None = None  # peft's ``adapter_config.json``, or None
    values: Mapping[str, Any] = field(default_factory=dict)  # what else a pickle holds, by name
    is_list: bool = False  # whether it is a list of tensors without names


def open_file(path: Path) -> Opened:
    """Read a safetensors file, a file of `torch.save`, or a folder as peft saves one.

    Raises:
        InputNotFoundError: there is no such file.
        IntegrityError: it is damaged, holds more than tensors, or is no file of tensors at all.
    """
    if not path.exists():
        raise InputNotFoundError(f"there is no file {path}")
    if path.is_dir():
        return _open_folder(path)
    with path.open("rb") as stream:
        start = stream.read(9)
    for sign, name in PICTURES.items():
        if start.startswith(sign):
            raise IntegrityError(
                f"{path} is a {name} picture",
                hint="a word that is hidden in a picture must be saved as .safetensors or .pt first",
                code="format.unknown",
            )
    for sign, what in PLACEHOLDERS.items():
        if start.lower().startswith(sign):
            raise IntegrityError(
                f"{path} is {what}", hint="get the file itself", code="format.unknown"
            )
    if start[8:9] == b"{":
        return _open_safetensors(path)
    if start.startswith((ZIP, PICKLE)):
        return _open_pickle(path)
    raise IntegrityError(
        f"{path} is neither a safetensors file nor one of torch",
        hint="name another, or get it again",
        code="format.unknown",
    )


def _open_folder(folder: Path) -> Opened:
    """A folder of peft."""
    weights = folder / PEFT_WEIGHTS
    if not (folder / PEFT_CONFIG).is_file() or not weights.is_file():
        raise IntegrityError(
            f"{folder} is a folder without {PEFT_CONFIG} and {PEFT_WEIGHTS}",
            hint="name a file in it, or a folder that peft saved",
            code="format.unknown",
        )
    return _open_safetensors(weights)


def _open_safetensors(path: Path) -> Opened:
    try:
        with safe_open(path, framework="pt") as stream:
            metadata = dict(stream.metadata() or {})
            tensors = {name: stream.get_tensor(name) for name in stream.keys()}  # noqa: SIM118
    except (OSError, SafetensorError) as error:
        raise _damaged(path, f"{error}") from error
    return Opened(path, _unwrapped(path, tensors), metadata, _read_config(path))


def _read_config(path: Path) -> Mapping[str, Any] | None:
    """What peft wrote beside its weights."""
    config = path.with_name(PEFT_CONFIG)
    if path.name != PEFT_WEIGHTS or not config.is_file():
        return None
    try:
        found = json.loads(config.read_text("utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise _damaged(config, f"{error}") from error
    if not isinstance(found, dict):
        raise _damaged(config, "it is no JSON object")
    return found


def _open_pickle(path: Path) -> Opened:
    _refuse_packed(path)
    known: list[Any] = [(_Inert, "torch.nn.modules.container.ParameterDict")]
    try:
        with path.open("rb") as stream, torch.serialization.safe_globals(known):
            plain = torch.load(stream, map_location="cpu", weights_only=True)
        found = dict(islice(_flatten(plain), MOST_LEAVES + 1))
        if len(found) > MOST_LEAVES:
            raise ValueError(f"it holds more than {MOST_LEAVES} entries")
    except Exception as error:  # the bytes of strangers make torch's reader raise anything
        raise _unread(path, str(error) or type(error).__name__) from error
    tensors = {name: value.detach() for name, value in found.items() if isinstance(value, Tensor)}
    values = {name: value for name, value in found.items() if not isinstance(value, Tensor)}
    is_list = isinstance(plain, list | tuple) and not values
    return Opened(path, _unwrapped(path, tensors), values=values, is_list=is_list)


def _refuse_packed(path: Path) -> None:
    """Refuse a zip whose parts are compressed: torch writes none, and a small one could fill any memory."""
    if not zipfile.is_zipfile(path):
        return
    try:
        with zipfile.ZipFile(path) as archive:
            packed = [part.filename for part in archive.infolist() if part.compress_type]
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as error:
        raise _damaged(path, f"{error}") from error
    if packed:
        raise IntegrityError(
            f"{path} is a zip with compressed parts, as torch writes none: {packed[0]:.80}",
            hint="name a file that torch saved",
            code="format.unsafe",
        )


def _unread(path: Path, reason: str) -> IntegrityError:
    """Why torch's restricted reader did not read a file."""
    wanted = re.search(r"GLOBAL (\S+)", reason)
    if wanted is None and "TorchScript" not in reason:
        is_pickle = reason.startswith("Weights only")
        why = "no whole file of torch" if is_pickle else reason.splitlines()[0].partition(". ")[0]
        return _damaged(path, why[:160])
    what = f"it asks for {wanted[1]:.80}" if wanted else "it is a program of TorchScript"
    return IntegrityError(
        f"{path} holds more than tensors: {what}",
        hint="nothing of it was run; ask for a .safetensors file",
        code="format.unsafe",
    )


class _Inert(dict[str, Any]):
    """Stands for torch's `ParameterDict` while a file is read: it keeps what it is told, and does nothing."""


def _flatten(plain: Any, name: str = "", depth: int = 0) -> Iterator[tuple[str, Any]]:
    """Every leaf by the path to it."""
    if depth > DEEPEST:
        raise ValueError("its dictionaries lie too deep in each other")
    if isinstance(plain, _Inert):
        state = vars(plain)
        plain = {**state.get("_parameters", {}), **plain}
    if isinstance(plain, Mapping):
        entries: Any = plain.items()
    elif isinstance(plain, list | tuple):
        entries = enumerate(plain)
    else:
        yield name, plain
        return
    for key, value in entries:
        yield from _flatten(value, f"{name}.{key}" if name else f"{key}", depth + 1)


def _unwrapped(path: Path, tensors: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
    """The tensors by their names within the wrappers of training scripts."""
    if not tensors:
        raise IntegrityError(f"{path} holds no tensors", code="format.unknown")
    for wrapper in WRAPPERS:
        if all(name.startswith(wrapper) for name in tensors):
            tensors = {name.removeprefix(wrapper): value for name, value in tensors.items()}
    for name, value in tensors.items():
        if not _is_plain(value):
            raise _damaged(path, f"{name} holds no plain numbers")
    tensors = {name: _widened(value) for name, value in tensors.items()}
    for name, value in tensors.items():
        if not value.isfinite().all():
            raise _damaged(path, f"{name} has numbers that are not finite")
    return tensors


def _widened(tensor: Tensor) -> Tensor:
    """Numbers of 8 bits as bf16, which has each of them; torch computes little in the former."""
    is_narrow = tensor.is_floating_point() and tensor.element_size() == 1
    return tensor.to(torch.bfloat16) if is_narrow else tensor


def _is_plain(tensor: Tensor) -> bool:
    """Whether a tensor has each of its numbers: one that is spread from few would take any memory."""
    if (
        not tensor.numel()
        or tensor.is_meta
        or tensor.layout != torch.strided
        or tensor.is_quantized
        or tensor.is_complex()
        or tensor.dtype == torch.bool
    ):
        return False
    return tensor.numel() * tensor.element_size() <= tensor.untyped_storage().nbytes()


def _damaged(path: Path, why: str) -> IntegrityError:
    return IntegrityError(
        f"{path} cannot be read: {why}", hint="get the file again", code="format.damaged"
    )
