"""Print what the registry costs: ``python -m tests.bench.registry``.

Lists and references over many versions, publishing over one bare pass that hashes, copies and
syncs, and the second look at the bytes that each use takes.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from statistics import median

import msgspec

from registry import Registry, open_registry
from registry.content import record
from registry.names import log
from registry.names.items import get_item
from registry.names.pointers import Pointer, take
from registry.storage import lines
from tests.bench.timing import Ratio, timed
from tests.registry.samples import small_draft

LIST_GOAL_MS = 500.0
RESOLVE_GOAL = 1.5  # against a registry a hundredth the size: independent of the total
PUBLISH_GOAL = 1.2
CHUNK_BYTES = 1 << 20
REPEATS = 50  # of what is too quick to be timed alone


def main() -> None:
    """Run all in one go, so that the numbers belong to one machine in one mood."""
    options = _parse()
    with tempfile.TemporaryDirectory(dir=options.dir) as folder:
        _report_many(Path(folder), options)
        _report_large(Path(folder), options)


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.registry", description=__doc__)
    parser.add_argument("--versions", type=int, default=10_000)
    parser.add_argument("--names", type=int, default=500)
    parser.add_argument("--megabytes", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--dir", help="where the registries are made; default: temporary files")
    return parser.parse_args()


def _report_many(folder: Path, options: argparse.Namespace) -> None:
    each = options.versions // options.names
    large = fill(folder / "large", names=options.names, versions=each)
    small = fill(folder / "small", names=max(1, options.names // 100), versions=each)
    name = f"name{options.names // 200}"
    print(f"{options.versions} versions over {options.names} names, median of {options.rounds}:")
    seconds = _medians(
        {
            "list": large.list,
            "list --all-versions": lambda: large.list(all_versions=True),
            "resolve": lambda: _repeat(lambda: large.resolve(f"subject/{name}")),
            "resolve in a small registry": lambda: _repeat(
                lambda: small.resolve(f"subject/{name}")
            ),
        },
        options.rounds,
    )
    verdict = "met" if seconds["list"] * 1000 <= LIST_GOAL_MS else "missed"
    print(
        f"  list                {seconds['list'] * 1000:9.1f} ms   goal ≤ {LIST_GOAL_MS:g}: {verdict}"
    )
    print(f"  list --all-versions {seconds['list --all-versions'] * 1000:9.1f} ms")
    resolves = (seconds["resolve"], seconds["resolve in a small registry"])
    pair = [each * 1000 / REPEATS for each in resolves]
    print(f"  {Ratio('resolve, over one in a registry 1/100 the size', *pair, RESOLVE_GOAL)}")


def _report_large(folder: Path, options: argparse.Namespace) -> None:
    """Publishing writes new bytes each time, as the bare pass does."""
    source = folder / "weights"
    store = open_registry(folder / "publish")
    block = os.urandom(CHUNK_BYTES)
    draft = small_draft()

    def change() -> None:
        with source.open("wb") as file:
            for k in range(options.megabytes):
                file.write(k.to_bytes(4, "little") + os.urandom(12) + block[16:])

    def publish() -> None:
        store.publish("subject", "corgi", draft, {"weights": source})

    def bare() -> None:
        copy_hash_sync(source, folder / "bare")

    took: dict[str, list[float]] = {"publish": [], "bare": [], "look": []}
    for _ in range(options.rounds):
        change()
        took["bare"].append(timed(bare))
        took["publish"].append(timed(publish))
        adapter = store.resolve("corgi")
        took["look"].append(timed(lambda adapter=adapter: store.files(adapter)))
        for path in (folder / "bare", store.file(adapter, verify=False)):
            path.unlink()
    found = {name: median(seconds) * 1000 for name, seconds in took.items()}
    print(f"{options.megabytes} MB, median of {options.rounds}:")
    name = "publish, over a pass that hashes, copies and syncs"
    print(f"  {Ratio(name, found['publish'], found['bare'], PUBLISH_GOAL)}")
    print(f"  hashing it again before use {found['look']:9.1f} ms")


def fill(root: Path, *, names: int, versions: int) -> Registry:
    """A registry with so many versions of each name; one is published, the records are copied."""
    store = open_registry(root)
    weights = root.parent / "small weights"
    weights.write_bytes(b"weights")
    store.publish("subject", "name0", small_draft(), {"weights": weights}, ["best"])
    row = store.resolve("name0").record
    for k in range(names):
        if k:
            take(store.layout, "subject", Pointer(f"name{k}"), f"{k:016x}")
        item = get_item(store.layout, "subject", f"name{k}")
        folder = store.layout.root / item.path
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "log.ndjson").unlink(missing_ok=True)
        for version in range(1, versions + 1):
            changed = msgspec.structs.replace(row, digest=_digest(k, version))
            (folder / f"v{version}").unlink(missing_ok=True)
            (folder / f"v{version}").write_bytes(record.encode(changed))
            line = log.entry("publish", version, digest=changed.digest, name=f"name{k}")
            with (folder / "log.ndjson").open("ab") as file:
                file.write(b"\n" + lines.encode(line) + b"\n")
        store.tag(f"name{k}:v1", "best", kind="subject", move=True)
    return store


def copy_hash_sync(source: Path, target: Path) -> str:
    """One pass of plain Python: read, hash, write, and put it on the disk."""
    hasher = hashlib.sha256()
    with source.open("rb") as reader, target.open("wb") as writer:
        while chunk := reader.read(CHUNK_BYTES):
            hasher.update(chunk)
            writer.write(chunk)
        writer.flush()
        os.fsync(writer.fileno())
    return hasher.hexdigest()


def _medians(acts: dict[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    """Median seconds of each, taking turns; the first round only warms up."""
    took: dict[str, list[float]] = {name: [] for name in acts}
    for turn in range(rounds + 1):
        for name, act in acts.items():
            seconds = timed(act)
            if turn:
                took[name].append(seconds)
    return {name: median(found) for name, found in took.items()}


def _repeat(act: Callable[[], object]) -> None:
    for _ in range(REPEATS):
        act()


def _digest(*numbers: int) -> str:
    return hashlib.sha256(repr(numbers).encode()).hexdigest()


if __name__ == "__main__":
    main()
