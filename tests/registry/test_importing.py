"""Laws of importing an adapter's file that was found alone, and of where things come from."""

from __future__ import annotations

import json
import os
import threading
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from registry import (
    IncompatibleError,
    IntegrityError,
    InvalidError,
    NotFoundError,
    Registry,
    open_registry,
)
from registry.content import record
from registry.content.manifest import Prompt
from registry.strangers import importing
from registry.strangers.bundle import unpacked
from registry.strangers.importing import look_into
from registry.strangers.loose import Loose, read_loose
from tests.registry.places import manifest_of
from tests.registry.samples import facts_of, safetensors

TOOL = "dv 0.1.0"


@pytest.fixture
def found(tmp_path: Path):
    """Write an adapter's file."""

    def write(facts: Any, name: str = "x.safetensors", value: int = 0) -> Path:
        path = tmp_path / name
        path.write_bytes(safetensors(facts, value))
        return path

    return write


def test_a_subject_found_alone_explains_itself(store: Registry, found) -> None:
    (imported,) = store.import_file(found(facts_of()), tool=TOOL)
    adapter = imported.adapter
    assert (adapter.kind, adapter.name, adapter.version) == ("subject", "corgi", 1)
    assert (adapter.record.token, adapter.record.class_word) == ("<corgi>", "dog")
    manifest = store.manifest(adapter)
    assert (manifest.tool, manifest.training.seed) == (TOOL, 3)
    assert manifest.training.recipe == {"steps": 200, "seed": 3}
    assert (manifest.adapter.sites, manifest.adapter.widths) == (["a.b", "c"], [2, 4])
    assert (manifest.adapter.params, manifest.adapter.dtype) == (4, "float32")
    assert manifest.base.licence == "Apache-2.0"


def test_a_motion_takes_the_name_of_its_file(store: Registry, found) -> None:
    path = found(facts_of("motion", recipe={}), "skate.safetensors")
    adapter = store.import_file(path, tool=TOOL)[0].adapter
    assert (adapter.kind, adapter.name, adapter.record.caption) == (
        "motion",
        "skate",
        "skating away",
    )
    assert store.manifest(adapter).training.seed == 0


def test_an_accelerator_brings_its_card_along(store: Registry, found, tmp_path: Path) -> None:
    card = {"generate": {"steps": 4, "sampler": "ddim"}, "summary": "four steps"}
    facts = facts_of("accelerator", phrase="", card=card)
    (imported,) = store.import_file(found(facts, "turbo.safetensors"), tool=TOOL)
    assert str(imported.adapter).startswith("turbo:v1@sha256:")
    told = store.manifest(imported.adapter)
    assert (told.kind, told.card, told.prompt) == ("accelerator", card, Prompt())
    assert imported.adapter.record.note == "four steps"
    bundle = tmp_path / "turbo.dva"
    with bundle.open("xb") as target:
        store.export([imported.adapter], target)
    (again,) = open_registry(tmp_path / "other").import_file(bundle, tool=TOOL)
    assert again.adapter.digest == imported.adapter.digest


def test_without_a_usable_name_one_must_be_given(store: Registry, found) -> None:
    path = found(facts_of("motion"), "My Skate.safetensors")
    with pytest.raises(InvalidError) as caught:
        store.import_file(path, tool=TOOL)
    assert caught.value.code == "name.needed"
    assert store.import_file(path, tool=TOOL, name="skate")[0].adapter.name == "skate"


def test_the_same_file_again_is_recognised(store: Registry, found) -> None:
    assert store.import_file(found(facts_of()), tool=TOOL)[0].is_new
    assert not store.import_file(found(facts_of()), tool=TOOL)[0].is_new
    assert store.import_file(found(facts_of(), value=1), tool=TOOL)[0].adapter.version == 2


def damage(path: Path) -> None:
    path.chmod(0o644)
    path.write_bytes(b"damaged")


def test_the_same_file_again_heals_damaged_bytes(store: Registry, found) -> None:
    adapter = store.import_file(found(facts_of()), tool=TOOL)[0].adapter
    damage(store.file(adapter))
    assert not store.import_file(found(facts_of()), tool=TOOL)[0].is_new
    assert store.file(adapter)


def test_a_version_past_healing_is_imported_anew(store: Registry, found) -> None:
    adapter = store.import_file(found(facts_of()), tool=TOOL)[0].adapter
    damage(manifest_of(store, adapter.digest))
    (again,) = store.import_file(found(facts_of()), tool="dv 9")
    assert again.is_new
    assert store.files(again.adapter)


@pytest.mark.parametrize(
    "facts",
    [
        [],
        {},
        facts_of(kind="holograms"),
        facts_of(sites=[{"name": 1}]),
        facts_of(inputs=[{"name": "a", "digest": "short"}]),
        facts_of(sites=[{"name": "a", "width": -1}]),
    ],
)
def test_a_file_that_is_no_adapter_is_refused(store: Registry, found, facts: Any) -> None:
    with pytest.raises(IntegrityError) as caught:
        store.import_file(found(facts), tool=TOOL)
    assert caught.value.code == "file.foreign"
    assert store.list().rows == ()


def test_weights_of_another_tool_are_whole_and_said_to_be_another_tools(
    store: Registry, found, tmp_path: Path
) -> None:
    with pytest.raises(IncompatibleError, match="weights that dv did not make") as caught:
        store.import_file(found(None), tool=TOOL)
    assert caught.value.code == "file.other_tool"
    header = b'{"a.lora_A.weight":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}'
    path = tmp_path / "lora.safetensors"
    path.write_bytes(len(header).to_bytes(8, "little") + header + bytes(4))
    with pytest.raises(IncompatibleError, match="a LoRA that dv did not make"):
        store.import_file(path, tool=TOOL)


def test_a_newer_file_is_refused_as_newer(store: Registry, found) -> None:
    with pytest.raises(IncompatibleError, match=r"dv\.adapter/9"):
        store.import_file(found(facts_of(schema="dv.adapter/9")), tool=TOOL)


def test_deep_facts_do_not_crash(store: Registry, tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    header = {"__metadata__": {"dreamvideo": "[" * 100_000}}
    path.write_bytes(safetensors(header=header))
    with pytest.raises(IntegrityError):
        store.import_file(path, tool=TOOL)


def test_facts_without_end_are_refused_before_they_are_read(store: Registry, found) -> None:
    with pytest.raises(IntegrityError, match="characters") as caught:
        store.import_file(found(facts_of(recipe={"x": "y" * (1 << 20)})), tool=TOOL)
    assert caught.value.code == "file.foreign"


def test_what_is_neither_is_refused(store: Registry, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("hello")
    with pytest.raises(IntegrityError):
        store.import_file(tmp_path / "notes.txt", tool=TOOL)


def test_a_missing_file_is_not_found(store: Registry, tmp_path: Path) -> None:
    for look in (
        lambda: store.import_file(tmp_path / "gone", tool=TOOL),
        lambda: look_into(tmp_path / "gone", tool=TOOL),
    ):
        with pytest.raises(NotFoundError) as caught:
            look()
        assert caught.value.code == "file.not_found"


def test_a_folder_is_refused(store: Registry, tmp_path: Path) -> None:
    with pytest.raises(InvalidError, match="is a folder"):
        store.import_file(tmp_path, tool=TOOL)


def test_a_file_over_the_limit_is_refused_unread(store: Registry, found) -> None:
    with pytest.raises(InvalidError) as caught:
        store.import_file(found(facts_of()), tool=TOOL, most_bytes=10)
    assert caught.value.code == "bundle.too_large"


def test_a_pipe_with_a_name_is_read(store: Registry, found, tmp_path: Path) -> None:
    data = found(facts_of()).read_bytes()
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    writer = threading.Thread(target=pipe.write_bytes, args=(data,))
    writer.start()
    assert store.import_file(pipe, tool=TOOL)[0].adapter.name == "corgi"
    writer.join()


def test_looking_into_a_file_imports_nothing(
    store: Registry, publish, found, tmp_path: Path
) -> None:
    adapter = publish()
    path = tmp_path / "out.dva"
    with path.open("xb") as target:
        store.export([adapter], target)
    packed = look_into(path, tool=TOOL)
    assert isinstance(packed, tuple)
    assert [(each.name, each.digest) for each in packed] == [("corgi", adapter.digest)]
    loose = look_into(found(facts_of()), tool=TOOL)
    assert isinstance(loose, Loose)
    assert (loose.kind, loose.name) == ("subject", "corgi")
    assert json.dumps(loose.draft.training.recipe)


def test_a_file_swapped_after_the_checks_takes_no_place_of_another(
    store: Registry, publish, tmp_path: Path, monkeypatch
) -> None:
    adapter = publish()
    path = tmp_path / "out.dva"
    with path.open("xb") as target:
        store.export([adapter], target)

    @contextmanager
    def swapped(*place):
        with unpacked(*place) as copies:
            path.write_bytes(b"something else")
            yield copies

    monkeypatch.setattr(importing, "unpacked", swapped)
    (imported,) = store.import_file(path, tool=TOOL, name="other")
    assert imported.adapter.digest == adapter.digest
    assert store.verify().is_whole
    assert list((store.layout.root / "tmp").iterdir()) == []


def test_bytes_that_are_collected_before_an_import_has_a_number_are_an_error(
    store: Registry, publish, tmp_path: Path, monkeypatch
) -> None:
    """It may sleep for days in between; made again, the import puts them there."""
    adapter = publish()
    path = tmp_path / "out.dva"
    with path.open("xb") as target:
        store.export([adapter], target)
    link = os.link

    def collect_and_link(source, target, **kwargs):
        monkeypatch.undo()
        store.file(adapter).unlink()
        link(source, target, **kwargs)

    monkeypatch.setattr(os, "link", collect_and_link)
    with pytest.raises(IntegrityError, match="other:v1 is published, but: its bytes") as caught:
        store.import_file(path, tool=TOOL, name="other")
    assert caught.value.hint == "publish or import it again"
    assert not store.import_file(path, tool=TOOL, name="other")[0].is_new
    assert store.verify().is_whole


def test_a_file_found_alone_is_copied_once_and_then_checked(
    store: Registry, found, monkeypatch
) -> None:
    """Swapped while it is read, it is published as what was checked."""
    path = found(facts_of())

    def read_and_swap(place: Path, **options: Any) -> Loose:
        loose = read_loose(place, **options)
        path.write_bytes(b"something that could run")
        return loose

    monkeypatch.setattr(importing, "read_loose", read_and_swap)
    (imported,) = store.import_file(path, tool=TOOL)
    assert store.file(imported.adapter).read_bytes() == safetensors(facts_of())


def test_an_import_says_what_was_the_latest_before(store: Registry, publish, found) -> None:
    publish()
    (imported,) = store.import_file(found(facts_of()), tool=TOOL)
    assert (imported.adapter.version, imported.over) == (2, 1)
    (again,) = store.import_file(found(facts_of()), tool=TOOL)
    assert (again.is_new, again.over) == (False, None)


def test_what_is_there_already_is_on_the_disk_before_that_is_said(
    store: Registry, found, monkeypatch
) -> None:
    """Whoever imported it before may have been killed before syncing."""
    store.import_file(found(facts_of()), tool=TOOL)
    synced: list[str] = []
    monkeypatch.setattr(
        os, "fsync", lambda fd: synced.append(Path(f"/proc/self/fd/{fd}").readlink().name)
    )
    assert not store.import_file(found(facts_of()), tool=TOOL)[0].is_new
    assert {"v1", "log.ndjson"} <= set(synced)


def test_the_versions_of_a_name_are_read_once_for_all_adapters_of_a_bundle(
    store: Registry, publish, tmp_path: Path, monkeypatch
) -> None:
    path = tmp_path / "out.dva"
    with path.open("xb") as target:
        store.export([publish() for _ in range(12)], target)
    read, reads = record.read, []
    monkeypatch.setattr(record, "read", lambda *place: reads.append(place[1]) or read(*place))
    assert len(open_registry(tmp_path / "other").import_file(path, tool=TOOL)) == 12
    assert len(reads) <= 12
