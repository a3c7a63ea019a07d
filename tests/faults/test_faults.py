"""The faults that a registry must survive, by number; each is a test here or is named in TESTED.

24 and 30, and the save that 23 could hit, belong to learning runs: tests/cli/test_runs.py.
"""

from __future__ import annotations

import ast
import errno
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from itertools import count
from pathlib import Path

import pytest

from registry import (
    InvalidError,
    NotFoundError,
    Registry,
    RegistryError,
    StorageError,
    open_registry,
)
from registry.content import record
from registry.maintenance.doctor import diagnose, repair
from registry.names import log
from registry.storage.files import Files
from tests.registry.places import manifest_of, record_of, tmp_of
from tests.registry.samples import safetensors
from tests.registry.test_garbage import make_old
from tests.registry.test_publish import STEPS, check_whole

REPOSITORY = Path(__file__).resolve().parents[2]
ELSEWHERE = {24, 30}
LAST = 30
REGISTRY = "tests/registry/"
# Faults whose tests stand with the part that survives them.
TESTED: dict[int, tuple[str, ...]] = {
    1: ("test_publish.py::test_a_kill_at_any_step_leaves_a_readable_registry",),
    4: (
        "test_layout.py::test_everything_can_be_read",
        "test_layout.py::test_every_write_says_that_it_is_read_only",
    ),
    5: ("test_publish.py::test_processes_at_once_get_contiguous_versions",),
    6: (
        "test_publish.py::test_bytes_that_are_collected_before_a_version_has_a_number_are_an_error",
    ),
    7: ("test_lookup.py::test_a_pinned_reference_means_the_same_for_good",),
    8: ("test_tags.py::test_of_many_moves_from_one_version_exactly_one_counts",),
    10: ("test_verify.py::test_a_damaged_or_missing_manifest_is_found",),
    11: ("test_verify.py::test_a_flipped_bit_is_found_by_hashing_alone",),
    12: ("test_doctor.py::test_a_damaged_record_is_written_again_from_its_manifest",),
    13: (
        "test_tags.py::test_a_tag_of_a_version_that_is_not_there_says_so",
        "test_verify.py::test_tags_that_lead_nowhere_are_found",
        "test_removal.py::test_cut_short_it_is_done_whole_or_not_at_all",
    ),
    14: ("test_doctor.py::test_missing_bytes_and_manifests_are_told_with_what_would_do",),
    15: (
        "test_verify.py::test_foreign_files_are_passed_over",
        "test_garbage.py::test_foreign_files_do_not_stop_it",
        "test_doctor.py::test_foreign_things_are_told_and_left",
    ),
    17: (
        "test_publish.py::test_without_hard_links_versions_are_published_all_the_same",
        "test_publish.py::test_a_kill_at_any_step_leaves_a_readable_registry",
    ),
    20: ("test_bundle.py::TestHostile",),
    21: (
        "test_layout.py::test_a_newer_registry_is_refused",
        "test_layout.py::test_a_newer_registry_that_older_ones_may_read_is_read",
    ),
    22: (
        "test_tags.py::test_a_torn_last_line_is_ignored",
        "test_tags.py::test_a_line_after_a_torn_one_counts",
    ),
    29: ("test_removal.py::test_the_registry_can_be_moved_while_idle",),
}

# What a second review found, by its own numbers; 3 and 9 are also about learning runs.
SECOND: dict[int, tuple[str, ...]] = {
    1: ("test_doctor.py::test_no_repair_acts_on_a_stale_diagnosis",),
    2: (
        "test_removal.py::test_cut_short_it_is_done_whole_or_not_at_all",
        "test_removal.py::test_one_tag_elsewhere_does_not_stop_the_others",
    ),
    3: (
        "test_publish.py::test_the_entry_of_a_new_version_is_synced_before_it_is_told",
        "../cli/runs/test_folders.py::test_an_owner_is_on_the_disk_before_a_run_is_taken",
    ),
    4: (
        "test_tags.py::test_a_tag_that_is_there_is_on_the_disk_before_that_is_said",
        "test_removal.py::test_what_is_live_is_on_the_disk_before_that_is_said",
        "test_importing.py::test_what_is_there_already_is_on_the_disk_before_that_is_said",
    ),
    5: (
        "test_garbage.py::test_what_a_restore_brings_back_is_not_taken_by_an_older_plan",
        "test_garbage.py::test_a_restored_version_that_a_killed_collection_moved_names_the_doctor",
    ),
    6: (
        "test_links.py::test_nothing_is_put_back_from_or_to_a_link",
        "test_links.py::test_a_repair_puts_nothing_aside_through_a_link",
        "test_links.py::test_nothing_is_collected_through_a_link",
    ),
    7: ("test_lookup.py::test_one_bad_file_is_one_finding_beside_the_others",),
    8: (
        "test_importing.py::test_the_versions_of_a_name_are_read_once_for_all_adapters_of_a_bundle",
        "test_bundle.py::test_a_bundle_of_thousands_of_adapters_is_refused_at_once",
    ),
    9: ("../cli/runs/test_folders.py::test_a_damaged_run_is_one_row_that_says_so",),
    10: ("test_verify.py::test_a_tag_set_with_a_version_in_this_moment_is_no_damage",),
    11: (
        "test_doctor.py::test_a_repair_beside_the_publisher_writes_nothing_of_its_own",
        "test_doctor.py::test_one_repair_that_fails_stops_no_other",
        "test_renaming.py::test_a_list_beside_a_renaming_shows_each_item_once",
    ),
    12: (
        "test_publish.py::test_an_error_after_the_number_was_taken_says_that_the_version_is_there",
        "test_publish.py::test_a_refusal_where_hard_links_work_is_an_error_and_publishes_nothing",
    ),
    13: ("test_layout.py::test_a_file_system_that_does_not_sync_folders_does_not_stop_a_write",),
    14: ("test_publish.py::test_numbers_that_a_listing_does_not_show_are_passed_one_by_one",),
    15: ("test_history.py::test_a_clock_set_back_changes_neither_the_log_nor_what_was_best",),
    16: (
        "test_removal.py::test_of_two_removers_and_a_tagger_nobody_says_it_is_gone_while_it_lives",
    ),
    17: ("test_layout.py::test_everything_can_be_read",),
    18: ("test_publish.py::test_a_file_that_is_no_record_takes_no_number",),
}


@pytest.mark.parametrize("number", range(1, 19))
def test_every_fault_of_the_second_review_has_its_test(number: int) -> None:
    for place in SECOND[number]:
        file, _, name = place.partition("::")
        assert name in definitions_in(REPOSITORY / REGISTRY / file)


def definitions_in(path: Path) -> dict[str, str]:
    """Names and docstrings of all functions and classes in a file."""
    tree = ast.parse(path.read_text("utf-8"))
    kinds = (ast.FunctionDef, ast.ClassDef)
    nodes = [node for node in ast.walk(tree) if isinstance(node, kinds)]
    return {node.name: ast.get_docstring(node) or "" for node in nodes}


def test_every_fault_has_a_test() -> None:
    names = definitions_in(Path(__file__))
    own = {int(name[11:13]) for name in names if name.startswith("test_fault_")}
    assert (own | TESTED.keys()) == set(range(1, LAST + 1)) - ELSEWHERE


@pytest.mark.parametrize("number", TESTED)
def test_the_tests_named_here_are_there_and_say_the_number(number: int) -> None:
    for place in TESTED[number]:
        file, _, name = place.partition("::")
        said = definitions_in(REPOSITORY / REGISTRY / file)[name].partition(".")[0]
        assert str(number) in said.removeprefix("Fault ").split(" and ")


def disturb(
    monkeypatch: pytest.MonkeyPatch,
    step: int,
    happening: Callable[[], None],
    action: Callable,
    *,
    touches: Sequence[str] = STEPS,
) -> bool:
    """Run ``action``; something happens before its ``step``-th touch of the disk. Whether it did."""
    counter = count()
    happened = []

    def before(touch: Callable) -> Callable:
        def happen_and_touch(*args, **kwargs):
            if next(counter) == step:
                happened.append(step)
                happening()
            return touch(*args, **kwargs)

        return happen_and_touch

    with monkeypatch.context() as patch:
        for name in touches:
            patch.setattr(os, name, before(getattr(os, name)))
        action()
    return bool(happened)


def test_fault_02_a_power_loss_may_cut_any_file(store: Registry, publish) -> None:
    publish(tags=("best",))
    publish()
    store.rename("corgi", "rex", "subject")
    for path in sorted(path for path in store.layout.root.rglob("*") if path.is_file()):
        whole = path.read_bytes()
        path.chmod(0o644)
        for length in (0, len(whole) // 2, len(whole) - 1):
            path.write_bytes(whole[:length])
            look_at_everything(store)
        path.write_bytes(whole)
    assert store.verify().is_whole


def look_at_everything(store: Registry) -> None:
    """Whatever is damaged, what is handed out is what was published, and the rest an error."""
    store.verify()
    diagnose(store.layout)
    for adapter in store.list(all_versions=True).rows:
        with suppress(RegistryError):
            assert set(store.files(adapter)) == {"weights"}


def test_fault_03_a_full_disk_at_any_step_costs_nothing(
    store: Registry, publish, monkeypatch
) -> None:
    def full() -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def try_to_publish() -> None:
        with suppress(StorageError):
            publish()

    publish()
    touches = [name for name in STEPS if name != "unlink"]
    for step in count():
        was_full = disturb(monkeypatch, step, full, try_to_publish, touches=touches)
        check_whole(store)
        if not was_full:
            break
    assert step > 10
    assert list(tmp_of(store).iterdir()) == []


def test_fault_06_a_collection_at_any_step_of_publishing_takes_nothing(
    store: Registry, publish, weights: Path, draft, monkeypatch
) -> None:
    def collect() -> None:
        make_old(store)  # as if the publisher had slept for a month
        store.delete_garbage(store.find_garbage())

    publish()
    for step in count():
        weights.write_bytes(safetensors(value=1000 + step))

        def publish_it() -> None:
            with suppress(StorageError):  # its unfinished file was taken for a dead one's
                store.publish("subject", "corgi", draft, {"weights": weights})

        if not disturb(monkeypatch, step, collect, publish_it):
            break
        assert store.verify().is_whole
    assert step > 10


def test_fault_09_a_removal_during_use_takes_nothing_away(store: Registry, publish) -> None:
    adapter = store.resolve(publish().ref)
    store.remove(store.plan_removal(["corgi"], whole=True))
    assert store.manifest(adapter)
    assert store.files(adapter)


@pytest.mark.parametrize("damage", ["corrupt", "empty", "missing"])
def test_fault_10_a_version_without_its_manifest_is_an_error_that_says_so(
    store: Registry, publish, damage: str
) -> None:
    adapter = publish()
    path = manifest_of(store, adapter.digest)
    path.chmod(0o644)
    if damage == "missing":
        path.unlink()
    else:
        path.write_bytes(b"" if damage == "empty" else b"schema = 1")
    with pytest.raises(RegistryError) as caught:
        store.files(adapter)
    assert caught.value.code in {"manifest.missing", "manifest.damaged"}
    assert caught.value.hint
    assert store.list().rows == (adapter,)


def test_fault_16_no_two_paths_differ_in_case_alone(store: Registry, publish) -> None:
    publish(tags=("best",))
    publish("skate", "motion")
    store.rename("corgi", "rex", "subject")
    paths = [str(path.relative_to(store.layout.root)) for path in store.layout.root.rglob("*")]
    assert paths == [path.lower() for path in paths]
    with pytest.raises(InvalidError) as caught:
        store.resolve("Rex")
    assert caught.value.hint == "did you mean rex?"


def test_fault_18_a_clock_set_back_changes_no_order(store: Registry, publish, monkeypatch) -> None:
    publish(tags=("best",))
    monkeypatch.setattr(log, "now", lambda: "1999-12-31T00:00:00.000000Z")
    second = publish()
    store.tag("corgi:v2", "best", move=True)
    assert store.resolve("corgi") == store.resolve("corgi:best") == store.resolve(second.ref)
    assert store.find_garbage().files == ()


def test_fault_19_temporary_files_on_another_device_are_an_error_and_cost_nothing(
    store: Registry, publish, monkeypatch
) -> None:
    def elsewhere(*args: object, **kwargs: object) -> None:
        raise OSError(errno.EXDEV, os.strerror(errno.EXDEV))

    publish()
    for name in ("replace", "link"):
        monkeypatch.setattr(os, name, elsewhere)
    with pytest.raises(StorageError, match="cross-device"):
        publish()
    assert store.versions("subject", "corgi") == (1,)
    check_whole(store)


def test_fault_23_an_interrupt_at_any_step_of_publishing_leaves_a_whole_registry(
    store: Registry, publish, monkeypatch
) -> None:
    def interrupt() -> None:
        raise KeyboardInterrupt

    def publish_until_interrupted() -> None:
        try:
            publish()
        except KeyboardInterrupt:
            return

    for step in count():
        was_interrupted = disturb(monkeypatch, step, interrupt, publish_until_interrupted)
        check_whole(store)
        if not was_interrupted:
            break
    assert step > 10


def dv(*arguments: object, **options: object) -> subprocess.CompletedProcess[str]:
    """The command in a process of its own."""
    command = [sys.executable, "-m", "dreamvideo_cli", *map(str, arguments)]
    return subprocess.run(
        command, cwd=REPOSITORY, capture_output=True, text=True, check=False, **options
    )


def test_fault_25_a_closed_stdout_is_no_traceback(store: Registry, publish) -> None:
    publish()
    command = f"{sys.executable} -m dreamvideo_cli resolve corgi --registry '{store.layout.root}'"
    script = f"({command}; echo $? >&2) | true"
    done = subprocess.run(
        ["bash", "-c", f"sleep 0; {script}"],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stderr.strip() in {"0", "141"}


@pytest.mark.parametrize("home", [None, "/proc/nowhere"], ids=["unset", "unwritable"])
def test_fault_26_a_home_that_is_missing_or_unwritable_matters_only_where_it_is_needed(
    store: Registry, publish, home: str | None
) -> None:
    adapter = publish()
    environment = {name: text for name, text in os.environ.items() if not name.startswith("XDG_")}
    environment.pop("HOME", None)
    if home:
        environment["HOME"] = home
    named = dv("resolve", "corgi", "--registry", store.layout.root, env=environment)
    assert (named.returncode, named.stdout) == (0, f"{adapter}\n")
    unnamed = dv("subject", "list", env=environment)
    assert "Traceback" not in unnamed.stderr


def test_fault_27_folders_may_have_any_name(tmp_path: Path, draft, weights: Path) -> None:
    folder = tmp_path / "a b" / "zwei\nzeilen" / "犬 é"
    store = open_registry(folder)
    adapter = store.publish("subject", "corgi", draft, {"weights": weights}, ["best"])
    assert store.files(store.resolve("corgi:best"))
    bundle = tmp_path / "犬\n .dva"
    with bundle.open("xb") as target:
        store.export([adapter], target)
    weights.write_bytes(safetensors())
    assert store.verify().is_whole


def test_fault_28_one_of_ten_thousand_versions_is_found_without_reading_the_others(
    store: Registry, publish, monkeypatch
) -> None:
    publish()
    first = record_of(store, 1)
    for version in range(2, 10_001):
        os.link(first, record_of(store, version))
    read = record.read
    looked_at: list[str] = []

    def counted(files: Files, path: str) -> record.Record | None:
        looked_at.append(path)
        return read(files, path)

    monkeypatch.setattr(record, "read", counted)
    assert store.resolve("corgi").version == 10_000
    assert store.resolve("corgi:v5000").version == 5_000
    assert [row.version for row in store.list().rows] == [10_000]
    assert len(looked_at) == 3
    assert store.next_version("subject", "corgi") == 10_001
    with pytest.raises(NotFoundError):
        store.resolve("corgi:v10001")


def test_fault_12_a_repair_of_every_record_brings_every_version_back(
    store: Registry, publish
) -> None:
    before = [publish() for _ in range(3)]
    for version in (1, 2, 3):
        path = record_of(store, version)
        path.chmod(0o644)
        path.write_bytes(path.read_bytes()[: 40 * version])
        path.chmod(0o444)
    repair(store.layout, diagnose(store.layout))
    assert list(store.list(all_versions=True).rows) == before
