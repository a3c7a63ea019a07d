"""Mutations of valid files: each is refused or is what was exported; nothing crashes or escapes."""

from __future__ import annotations

import hashlib
import io
import re
import signal
import warnings
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from random import Random
from types import FrameType

from registry import RegistryError, open_registry, read_draft
from registry.content import manifest
from registry.strangers.tensors import read_header
from tests.registry.samples import facts_of, safetensors

TOOL = "dv 0.1.0"
SLOWEST_SECONDS = 20
_NUMBERS = (0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFF, (1 << 64) - 1)
Parts = Mapping[str, bytes]


def fuzz(folder: Path, count: int, seed: int) -> Counter[str]:
    """Read ``count`` mutations of a bundle, a manifest and a header; how each ended.

    Args:
        folder: an empty one; nothing may appear in it outside ``registry``.
        count: of all mutations together.
        seed: of the mutations.

    Raises:
        AssertionError: something was accepted that is not what was exported, or written outside.
        Exception: a reader crashed; the message of the note has the case.
    """
    random = Random(seed)
    bundle, digests = make_bundle(folder / "source")
    parts = parts_of(bundle)
    store = open_registry(folder / "registry")
    ends: Counter[str] = Counter()
    mutated = folder / "mutated.dva"
    targets: list[Callable[[], None]] = [
        lambda: import_and_check(store.layout.root, mutated, mutate(bundle, random), digests),
        lambda: import_and_check(store.layout.root, mutated, mutate_parts(parts, random), None),
        lambda: read_manifest(mutate(parts[manifest_in(parts)], random)),
        lambda: read_tensors(mutate(safetensors(facts_of()), random)),
    ]
    before = {mutated.name, "registry", *(path.name for path in folder.iterdir())}
    for case in range(count):
        try:
            with at_most(SLOWEST_SECONDS):
                targets[case % len(targets)]()
            ends["accepted"] += 1
        except RegistryError as error:
            ends[error.code] += 1
        except BaseException as error:
            error.add_note(f"case {case} of seed {seed}; mutated file: {mutated}")
            raise
    assert {path.name for path in folder.iterdir()} <= before
    assert list((folder / "registry" / "tmp").iterdir()) == []
    assert store.verify().is_whole
    return ends


def import_and_check(root: Path, path: Path, data: bytes, digests: set[str] | None) -> None:
    """Import a mutated bundle; what is accepted must be whole, and known where ``digests`` says."""
    path.write_bytes(data)
    store = open_registry(root)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        imported = store.import_file(path, tool=TOOL, most_bytes=1 << 20)
    for each in imported:
        assert store.files(each.adapter)
        assert digests is None or each.adapter.digest in digests


def read_manifest(data: bytes) -> None:
    manifest.decode(data)


def read_tensors(data: bytes) -> None:
    read_header(io.BytesIO(data), len(data))


def make_bundle(root: Path) -> tuple[bytes, set[str]]:
    """A valid bundle of two adapters, and the digests of their manifests."""
    store = open_registry(root)
    file = root.parent / "weights.safetensors"
    adapters = []
    for value, name in enumerate(("corgi", "skate")):
        file.write_bytes(safetensors(facts_of(), value))
        draft = read_draft(
            {
                "tool": TOOL,
                "base": {"id": "mini@1", "fingerprint": "ab" * 32},
                "adapter": {"method": "dreamvideo", "dtype": "float32", "params": 4},
                "prompt": {"token": f"<{name}>", "class_word": "dog"},
                "training": {"recipe": {"steps": 2}, "seed": 0, "inputs": []},
            }
        )
        adapters.append(store.publish("subject", name, draft, {"weights": file}))
    target = io.BytesIO()
    store.export(adapters, target)
    return target.getvalue(), {adapter.digest for adapter in adapters}


def parts_of(bundle: bytes) -> Parts:
    with zipfile.ZipFile(io.BytesIO(bundle)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def manifest_in(parts: Parts) -> str:
    return next(name for name in parts if name.startswith("manifests/"))


def mutate(data: bytes, random: Random) -> bytes:
    """One to four small changes."""
    changed = bytearray(data)
    for _ in range(random.randint(1, 4)):
        random.choice(CHANGES)(changed, random)
    return bytes(changed)


def mutate_parts(parts: Parts, random: Random) -> bytes:
    """Change a member and make everything else of the ZIP right again, so that readers go deeper."""
    changed = dict(parts)
    name = random.choice(list(changed))
    data = mutate(changed.pop(name), random)
    if name.startswith("manifests/") and random.random() < 0.8:
        digest = hashlib.sha256(data).hexdigest()
        table = changed["dva.toml"].decode().replace(name.partition("/")[2], digest)
        changed["dva.toml"] = table.encode()
        name = f"manifests/{digest}"
    elif random.random() < 0.2:
        name = random.choice(["../" + name, "/" + name, name + "\0", name.upper(), "dva.toml"])
    changed[name] = data
    target = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        method = random.choice([zipfile.ZIP_STORED] * 9 + [zipfile.ZIP_DEFLATED])
        with zipfile.ZipFile(target, "w", method) as archive:
            for member, content in changed.items():
                archive.writestr(member, content)
    return target.getvalue()


def _flip(data: bytearray, random: Random) -> None:
    if data:
        data[random.randrange(len(data))] ^= 1 << random.randrange(8)


def _cut(data: bytearray, random: Random) -> None:
    start = random.randrange(len(data) + 1)
    del data[start : start + random.choice([1, 4, 30, len(data)])]


def _repeat(data: bytearray, random: Random) -> None:
    start = random.randrange(len(data) + 1)
    piece = data[start : start + random.randint(1, 60)]
    data[start:start] = piece * random.choice([1, 2, 50])


def _number(data: bytearray, random: Random) -> None:
    size_bytes = random.choice([1, 2, 4, 8])
    if len(data) >= size_bytes:
        start = random.randrange(len(data) - size_bytes + 1)
        number = random.choice(_NUMBERS) & ((1 << 8 * size_bytes) - 1)
        data[start : start + size_bytes] = number.to_bytes(size_bytes, "little")


def _digits(data: bytearray, random: Random) -> None:
    """Another number where text has one."""
    found = list(re.finditer(rb"\d+", data))
    if found:
        match = random.choice(found)
        data[match.start() : match.end()] = str(random.choice([*_NUMBERS, -1])).encode()


def _splice(data: bytearray, random: Random) -> None:
    start = random.randrange(len(data) + 1)
    data[start:start] = random.choice(
        [
            b"[" * 5000,
            b"{" * 5000,
            b"\0",
            b"\xff\xfe",
            b"\x1b[2J",
            b"../../x",
            b"PK\5\6",
            b"a." * 999,
        ]
    )


CHANGES = (_flip, _cut, _repeat, _number, _digits, _splice)


class HangError(BaseException):
    """A reader takes too long; no `except Exception` of its own may hold this."""


@contextmanager
def at_most(seconds: int) -> Iterator[None]:
    """End with HangError what hangs: a reader's time must be bounded."""

    def stop(_number: int, _frame: FrameType | None) -> None:
        raise HangError(f"still reading after {seconds} seconds")

    former = signal.signal(signal.SIGALRM, stop)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, former)
