"""Laws of finding and listing."""

from __future__ import annotations

import os
from pathlib import Path

import msgspec
import pytest

from registry import (
    IncompatibleError,
    IntegrityError,
    InvalidError,
    NotFoundError,
    Ref,
    Registry,
    RegistryError,
    StorageError,
    read_draft,
)
from registry.content import record as records
from registry.maintenance.doctor import diagnose
from tests.registry.places import item_of, log_of, manifest_of, pointer_of, record_of
from tests.registry.samples import safetensors


@pytest.fixture
def three(publish) -> list:
    return [publish() for _ in range(3)]


def spoil(path: Path, data: bytes) -> None:
    path.chmod(0o644)
    path.write_bytes(data)
    path.chmod(0o444)


def test_latest_and_prev_are_computed_from_what_is_live(store: Registry, three) -> None:
    assert [store.resolve(ref).version for ref in ("corgi", "corgi:latest", "corgi:prev")] == [
        3,
        3,
        2,
    ]
    store.remove(store.plan_removal(["corgi:v3"]))
    assert [store.resolve(ref).version for ref in ("corgi", "corgi:latest", "corgi:prev")] == [
        2,
        2,
        1,
    ]


def test_a_pinned_reference_means_the_same_for_good(store: Registry, three, publish) -> None:
    """Fault 7."""
    pinned = store.resolve("corgi")
    publish()
    assert store.resolve(pinned.ref) == pinned
    assert store.resolve(str(pinned), kind="subject") == pinned


def test_a_digest_or_its_beginning_finds_the_version(store: Registry, three) -> None:
    adapter = three[1]
    assert store.resolve(f"corgi@{adapter.digest[:12]}") == adapter
    assert store.resolve(f"corgi@sha256:{adapter.digest}") == adapter


def test_a_digest_beginning_of_several_is_ambiguous(store: Registry, three) -> None:
    folder = item_of(store)
    for version, digest in [(4, "ab" * 32), (5, "ab" * 31 + "cd")]:
        row = msgspec.structs.replace(three[0].record, digest=digest)
        (folder / f"v{version}").write_bytes(records.encode(row))
    with pytest.raises(InvalidError, match=r"v4@abab.*v5@abab") as caught:
        store.resolve("corgi@abababab")
    assert caught.value.code == "ref.ambiguous"


def test_one_content_under_two_numbers_is_not_ambiguous(store: Registry, three) -> None:
    folder = item_of(store)
    (folder / "v4").write_bytes((folder / "v1").read_bytes())
    assert store.resolve(f"corgi@{three[0].digest}").version == 4


def test_an_unknown_digest_is_not_found(store: Registry, three) -> None:
    with pytest.raises(NotFoundError, match="no version of corgi has the digest 00000000"):
        store.resolve("corgi@00000000")


def test_tag_and_digest_must_agree(store: Registry, three) -> None:
    store.tag("corgi:v1", "best")
    assert store.resolve(f"corgi:best@{three[0].digest}").version == 1
    with pytest.raises(IntegrityError) as caught:
        store.resolve(f"corgi:best@{three[1].digest}")
    assert three[0].digest in caught.value.message
    assert three[1].digest in caught.value.message
    assert caught.value.code == "ref.disagree"


@pytest.mark.parametrize(
    ("ref", "hint"),
    [
        ("corgy", "did you mean corgi?"),
        ("subject/zzz", "dv subject list shows what there is"),
        ("motion/corgi", "there is subject/corgi"),
        ("accelerator/zzz", "none yet: dv import FILE --kind accelerator"),
        ("corgi:v9", "its versions: v3, v2, v1"),
        ("corgi:lates", "did you mean corgi:latest?"),
        ("corgi:zzz", "its tags: none"),
    ],
)
def test_what_is_not_there_is_answered_with_the_nearest(
    store: Registry, three, ref: str, hint: str
) -> None:
    with pytest.raises(NotFoundError) as caught:
        store.resolve(ref)
    assert caught.value.hint == hint


def test_many_versions_are_named_by_a_few(store: Registry, publish) -> None:
    for _ in range(10):
        publish()
    with pytest.raises(NotFoundError) as caught:
        store.resolve("corgi:v99")
    assert (caught.value.hint or "").endswith("v3 and 2 more")


def test_prev_of_one_version_is_not_there(store: Registry, publish) -> None:
    publish()
    with pytest.raises(NotFoundError, match="one version only"):
        store.resolve("corgi:prev")


def test_a_name_of_several_kinds_must_say_which(store: Registry, publish) -> None:
    publish("spin")
    publish("spin", kind="motion")
    with pytest.raises(InvalidError) as caught:
        store.resolve("spin")
    assert caught.value.hint == "write subject/spin or motion/spin"
    publish("spin", kind="accelerator")
    with pytest.raises(InvalidError, match="is a name of several kinds") as caught:
        store.resolve("spin")
    assert caught.value.hint == "write subject/spin, motion/spin or accelerator/spin"
    assert store.resolve("spin", kind="motion").kind == "motion"
    assert store.resolve("subject/spin").kind == "subject"


def test_a_reference_made_by_hand_is_checked_like_a_written_one(store: Registry) -> None:
    with pytest.raises(InvalidError):
        store.resolve(Ref("../../etc"))


def test_an_empty_registry_is_readable_and_stays_unmade(store: Registry, root: Path) -> None:
    assert store.list().rows == ()
    assert store.tags("subject", "corgi") == {}
    assert store.versions("subject", "corgi") == ()
    with pytest.raises(NotFoundError):
        store.resolve("corgi")
    assert not root.exists()


class TestList:
    @pytest.fixture(autouse=True)
    def some(self, publish) -> None:
        for name in ("corgi", "cat", "corgi"):
            publish(name)
        publish("skate", kind="motion")

    def test_a_list_has_the_highest_version_of_each_name(self, store: Registry) -> None:
        rows = store.list().rows
        assert [str(row.ref).split("@")[0] for row in rows] == [
            "subject/cat:v1",
            "subject/corgi:v2",
            "motion/skate:v1",
        ]

    def test_a_pattern_chooses_names(self, store: Registry) -> None:
        assert [row.name for row in store.list("subject", "*or*").rows] == ["corgi"]

    def test_all_versions_are_listed_when_asked(self, store: Registry) -> None:
        rows = store.list("subject", "corgi", all_versions=True).rows
        assert [row.version for row in rows] == [1, 2]

    def test_removed_versions_are_listed_when_asked(self, store: Registry) -> None:
        store.remove(store.plan_removal(["corgi:v1"]))
        assert [row.version for row in store.list(removed=True).rows] == [1]
        assert [row.version for row in store.list("subject", "corgi").rows] == [2]

    def test_a_row_carries_what_a_list_shows(self, store: Registry) -> None:
        store.tag("corgi:v2", "best")
        row = store.list("subject", "corgi").rows[0]
        assert row.tags == ("best",)
        assert row.record.base_id == "mini@1"
        assert row.record.size_bytes == len(safetensors(value=2))
        assert (row.record.params, row.record.class_word) == (12, "dog")

    def test_a_list_opens_no_manifest(self, store: Registry) -> None:
        for path in (store.layout.root / "manifests").rglob("*.toml"):
            path.unlink()
        assert len(store.list().rows) == 3

    def test_foreign_files_are_passed_over(self, store: Registry) -> None:
        folder, pointers = item_of(store), pointer_of(store).parent
        for path in [pointers / ".DS_Store", folder / "v2.bak", folder / "v02", folder / "x"]:
            path.write_bytes(b"\0")
        (folder.parent / "Foreign").mkdir()
        (pointers / "Foreign").mkdir()
        listing = store.list("subject")
        assert ([row.version for row in listing.rows], listing.problems) == ([1, 2], ())


class TestDamage:
    @pytest.mark.parametrize(
        "data", [b"", b"\0" * 90, b'{"schema":1,"dig', b'{"schema":1}\n', b"\xff"]
    )
    def test_a_damaged_record_is_an_error_and_never_an_older_version(
        self, store: Registry, three, data: bytes
    ) -> None:
        spoil(record_of(store, 3), data)
        for ref in ("corgi", "corgi:v3"):
            with pytest.raises(IntegrityError, match="v3 is damaged"):
                store.resolve(ref)
        assert store.resolve("corgi:v2") == three[1]
        assert store.resolve(f"corgi@{three[1].digest}") == three[1]
        with pytest.raises(IntegrityError, match="v3 is damaged"):
            store.resolve(f"corgi@{three[2].digest}")

    def test_a_list_shows_what_is_readable_and_names_what_is_not(
        self, store: Registry, three
    ) -> None:
        spoil(record_of(store, 3), b"")
        listing = store.list(all_versions=True)
        assert [row.version for row in listing.rows] == [1, 2]
        assert len(listing.problems) == 1
        assert "v3" in listing.problems[0]

    @pytest.mark.parametrize("extra", [b"", b',"holograms":true'])
    def test_a_record_of_a_newer_schema_is_refused_as_newer(
        self, store: Registry, three, extra: bytes
    ) -> None:
        path = record_of(store, 3)
        spoil(path, path.read_bytes().replace(b'"schema":1', b'"schema":2' + extra))
        with pytest.raises(IncompatibleError, match="newer schema"):
            store.resolve("corgi")

    def test_a_flipped_bit_is_named_with_both_digests(self, store: Registry, three) -> None:
        path = store.file(three[0])
        expected = path.name
        spoil(path, b"Weights 0")
        with pytest.raises(IntegrityError, match=expected) as caught:
            store.files(three[0])
        assert caught.value.code == "blob.damaged"
        assert "has SHA-256" in caught.value.message
        assert caught.value.hint

    def test_a_file_is_not_hashed_where_nobody_asks(self, store: Registry, three) -> None:
        path = store.file(three[0])
        spoil(path, path.read_bytes()[::-1])
        assert store.file(three[0], verify=False) == path

    def test_a_missing_file_is_named(self, store: Registry, three) -> None:
        store.file(three[0]).unlink()
        with pytest.raises(IntegrityError) as caught:
            store.files(three[0], verify=False)
        assert caught.value.code == "blob.missing"

    def test_an_unknown_role_is_answered_with_those_there_are(self, store: Registry, three) -> None:
        with pytest.raises(NotFoundError) as caught:
            store.file(three[0], "preview")
        assert caught.value.hint == "it has: weights"

    @pytest.mark.parametrize("data", [None, b"", b"schema = 1\n"])
    def test_a_missing_or_damaged_manifest_is_an_error(self, store: Registry, three, data) -> None:
        path = manifest_of(store, three[0].digest)
        if data is None:
            path.unlink()
        else:
            spoil(path, data)
        with pytest.raises(IntegrityError) as caught:
            store.manifest(three[0])
        assert caught.value.code == ("manifest.missing" if data is None else "manifest.damaged")

    def test_a_record_that_cannot_be_read_is_the_disks_fault(self, store: Registry, three) -> None:
        path = record_of(store, 3)
        path.unlink()
        path.mkdir()
        with pytest.raises(StorageError, match="v3"):
            store.resolve("corgi")


def test_a_list_of_a_tag_has_the_versions_that_carry_it(store: Registry, publish) -> None:
    publish(tags=("best",))
    publish()
    publish("poodle")
    rows = store.list(tag="best").rows
    assert [(row.name, row.version) for row in rows] == [("corgi", 1)]


def test_a_list_of_a_base_has_the_highest_version_on_it(
    store: Registry, publish, facts, weights: Path
) -> None:
    publish()
    facts["base"] = {"id": "large", "fingerprint": "cd" * 32}
    store.publish("subject", "corgi", read_draft(facts), {"weights": weights})
    for base, version in (("mini@1", 1), ("abab", 1), ("large", 2), ("cdcd", 2)):
        assert [row.version for row in store.list(base=base).rows] == [version]
    assert store.list(base="other").rows == ()


def link_to_itself(path: Path) -> None:
    path.symlink_to(path)


def link_to_a_device(path: Path) -> None:
    path.symlink_to("/dev/zero")


def grow_without_end(path: Path) -> None:
    path.touch()
    os.truncate(path, 8 << 30)


@pytest.mark.parametrize("make", [link_to_itself, link_to_a_device, grow_without_end, os.mkfifo])
@pytest.mark.parametrize("what", ["record", "log", "pointer"])
def test_one_bad_file_is_one_finding_beside_the_others(
    store: Registry, publish, what: str, make
) -> None:
    publish("corgi")
    publish("rex", tags=("best",))
    place = {"record": record_of(store, 1), "log": log_of(store), "pointer": pointer_of(store)}
    place[what].unlink()
    make(place[what])
    listing = store.list()
    assert [row.name for row in listing.rows] == ["rex"]
    assert len(listing.problems) == 1
    assert "corgi" in listing.problems[0] or "items" in listing.problems[0]
    damaged = [each.where for each in store.verify().findings if each.is_damage]
    assert any(where.startswith("subject/corgi") for where in damaged)
    assert not any(where.startswith("subject/rex") for where in damaged)
    assert {each.where for each in diagnose(store.layout)} >= set(damaged)
    assert store.resolve("rex:best").version == 1
    if what != "pointer":
        with pytest.raises(RegistryError):
            store.find_garbage()
