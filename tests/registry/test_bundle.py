"""Laws of bundles: equal adapters give equal bytes, and nothing a stranger wrote is trusted."""

from __future__ import annotations

import hashlib
import io
import stat
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
import tomli_w

from registry import (
    IncompatibleError,
    IntegrityError,
    InvalidError,
    Registry,
    RegistryError,
    open_registry,
)
from registry.storage.files import Files
from registry.strangers import bundle
from tests.registry.places import manifest_of, tmp_of
from tests.registry.samples import PNG, safetensors

TOOL = "dv 0.1.0"


@pytest.fixture
def export(store: Registry, tmp_path: Path) -> Callable[..., Path]:
    """Write the adapters that references name into a bundle."""

    def write(*refs: str, name: str = "out.dva") -> Path:
        path = tmp_path / name
        with path.open("xb") as target:
            store.export([store.resolve(ref) for ref in refs], target)
        return path

    return write


@pytest.fixture
def other(tmp_path: Path) -> Registry:
    """A registry somewhere else."""
    return open_registry(tmp_path / "other")


def members(path: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def repack(path: Path, parts: dict[str, bytes], **options: object) -> Path:
    with zipfile.ZipFile(path, "w", **options) as archive:
        for name, data in parts.items():
            archive.writestr(name, data)
    return path


def refused(other: Registry, path: Path) -> RegistryError:
    """The error of importing; nothing may be left behind."""
    with pytest.raises(RegistryError) as caught:
        other.import_file(path, tool=TOOL)
    assert other.list(all_versions=True).rows == ()
    assert list(tmp_of(other).iterdir()) == []
    assert not (other.layout.root / "blobs").exists()
    return caught.value


def test_what_is_exported_comes_back_with_its_digest(
    export, publish, store: Registry, other: Registry
) -> None:
    adapter = publish()
    (imported,) = other.import_file(export("corgi"), tool=TOOL)
    assert imported.is_new
    assert (imported.adapter.digest, imported.adapter.version) == (adapter.digest, 1)
    assert other.file(imported.adapter).read_bytes() == store.file(adapter).read_bytes()
    assert other.manifest(imported.adapter) == store.manifest(adapter)
    assert other.verify().is_whole


def test_equal_adapters_give_equal_bundles(export, publish) -> None:
    publish()
    publish("skate", "motion")
    first = export("corgi", "skate", "corgi:v1", name="a.dva").read_bytes()
    assert first == export("motion/skate", "corgi", name="b.dva").read_bytes()


def test_several_adapters_come_in_the_order_of_their_versions(
    export, publish, other: Registry
) -> None:
    digests = [publish().digest, publish().digest]
    publish("skate", "motion")
    imported = other.import_file(export("corgi:v2", "skate", "corgi:v1"), tool=TOOL)
    rows = other.list("subject", all_versions=True).rows
    assert [row.digest for row in rows] == digests
    assert len(imported) == 3


def test_importing_twice_is_importing_once(export, publish, other: Registry) -> None:
    publish()
    path = export("corgi")
    first = other.import_file(path, tool=TOOL)
    again = other.import_file(path, tool=TOOL)
    assert [each.is_new for each in (*first, *again)] == [True, False]
    assert other.versions("subject", "corgi") == (1,)


def test_importing_heals_what_was_damaged(export, publish, store: Registry) -> None:
    adapter = publish()
    path = export("corgi")
    store.file(adapter).unlink()
    manifest_of(store, adapter.digest).unlink()
    assert store.import_file(path, tool=TOOL)[0].adapter == adapter
    assert store.verify().is_whole


def test_a_shared_file_is_in_a_bundle_once(export, store: Registry, draft, weights: Path) -> None:
    weights.write_bytes(safetensors())
    for name in ("one", "two"):
        store.publish("subject", name, draft, {"weights": weights, "token": weights})
    blobs = [name for name in members(export("one", "two")) if name.startswith("blobs/")]
    assert len(blobs) == 1


def test_a_shared_file_is_copied_once_when_imported(  # noqa: PLR0917 - fixtures
    export, store: Registry, draft, weights: Path, other: Registry, monkeypatch
) -> None:
    weights.write_bytes(safetensors())
    copied = []
    copy_in = Files.copy_in

    def counted(files, source):
        copied.append(source.name)
        return copy_in(files, source)

    names = ("corgi", "rex", "fido")
    for name in names:
        store.publish("subject", name, draft, {"weights": weights})
    monkeypatch.setattr(Files, "copy_in", counted)
    bundle = export(*names)
    assert len(other.import_file(bundle, tool=TOOL)) == 3
    assert len(copied) == 1
    assert other.verify().is_whole


def test_a_name_may_be_chosen_for_one_adapter_only(export, publish, other: Registry) -> None:
    publish()
    publish("skate", "motion")
    assert other.import_file(export("corgi"), tool=TOOL, name="rex")[0].adapter.name == "rex"
    with pytest.raises(InvalidError, match="2 names"):
        other.import_file(export("corgi", "skate", name="two.dva"), tool=TOOL, name="rex")
    with pytest.raises(InvalidError):
        other.import_file(export("corgi", name="three.dva"), tool=TOOL, name="../rex")


def test_a_damaged_file_is_not_exported(export, publish, store: Registry) -> None:
    path = store.file(publish())
    path.chmod(0o644)
    path.write_bytes(path.read_bytes()[:-1] + b"!")
    with pytest.raises(IntegrityError) as caught:
        export("corgi")
    assert caught.value.code == "blob.damaged"


@pytest.fixture
def parts(export, publish) -> dict[str, bytes]:
    publish()
    return members(export("corgi"))


def blob_of(parts: dict[str, bytes]) -> str:
    return next(name for name in parts if name.startswith("blobs/"))


def table_of(parts: dict[str, bytes], **changes: object) -> bytes:
    digest = next(name for name in parts if name.startswith("manifests/")).partition("/")[2]
    entry = {"kind": "subject", "name": "corgi", "digest": digest}
    return tomli_w.dumps({"schema": 1, "adapters": [entry]} | changes).encode()


def test_a_bundle_of_another_tool_is_fine(parts, other: Registry, tmp_path: Path) -> None:
    assert other.import_file(repack(tmp_path / "x.dva", parts), tool=TOOL)


class TestHostile:
    """Fault 20. Each is refused before anything is published, and leaves nothing behind."""

    def check(self, other: Registry, path: Path, why: str, code: str = "bundle.unsafe") -> None:
        error = refused(other, path)
        assert why in error.message
        assert error.code == code

    def test_compressed(self, parts, other: Registry, tmp_path: Path) -> None:
        path = repack(tmp_path / "x.dva", parts, compression=zipfile.ZIP_DEFLATED)
        self.check(other, path, "is compressed")

    def test_encrypted(self, parts, other: Registry, tmp_path: Path) -> None:
        data = bytearray(repack(tmp_path / "x.dva", parts).read_bytes())
        data[data.index(b"PK\1\2") + 8] |= 1
        (tmp_path / "x.dva").write_bytes(data)
        self.check(other, tmp_path / "x.dva", "is encrypted")

    def test_a_link(self, parts, other: Registry, tmp_path: Path) -> None:
        with zipfile.ZipFile(tmp_path / "x.dva", "w") as archive:
            for name, data in parts.items():
                info = zipfile.ZipInfo(name)
                info.external_attr = (stat.S_IFLNK | 0o777) << 16
                archive.writestr(info, data)
        self.check(other, tmp_path / "x.dva", "no plain file")

    @pytest.mark.filterwarnings("ignore:Duplicate name")
    def test_a_member_twice(self, parts, other: Registry, tmp_path: Path) -> None:
        with zipfile.ZipFile(repack(tmp_path / "x.dva", parts), "a") as archive:
            archive.writestr("dva.toml", b"schema = 1\nadapters = []\n")
        self.check(other, tmp_path / "x.dva", "twice")

    @pytest.mark.parametrize("name", ["../../evil", "/etc/evil", "blobs/" + "0" * 64, "a\0b"])
    def test_a_member_too_many(self, parts, other: Registry, tmp_path: Path, name: str) -> None:
        path = repack(tmp_path / "x.dva", parts | {name: b"evil"})
        self.check(other, path, "belongs to no adapter")
        assert not list(tmp_path.rglob("evil"))

    def test_a_member_too_few(self, parts, other: Registry, tmp_path: Path) -> None:
        del parts[blob_of(parts)]
        self.check(other, repack(tmp_path / "x.dva", parts), "is missing", "bundle.damaged")

    def test_members_that_share_bytes(self, parts, other: Registry, tmp_path: Path) -> None:
        path = repack(tmp_path / "x.dva", parts | {"z": b""})
        data = bytearray(path.read_bytes())
        place = data.rindex(b"PK\1\2")
        data[place + 20 : place + 28] = (1 << 30).to_bytes(4, "little") * 2
        path.write_bytes(data)
        self.check(other, path, "overlap")

    def test_something_in_front(self, parts, other: Registry, tmp_path: Path) -> None:
        path = repack(tmp_path / "x.dva", parts)
        path.write_bytes(b"PK #!/bin/sh\n" + path.read_bytes())
        self.check(other, path, "before its first member")

    def test_something_behind(self, parts, other: Registry, tmp_path: Path) -> None:
        path = repack(tmp_path / "x.dva", parts)
        path.write_bytes(path.read_bytes() + b"more")
        self.check(other, path, "does not end", "bundle.damaged")

    @pytest.mark.parametrize("cut", [30, 60, 400])
    def test_cut_off(self, parts, other: Registry, tmp_path: Path, cut: int) -> None:
        path = repack(tmp_path / "x.dva", parts)
        path.write_bytes(path.read_bytes()[:-cut])
        self.check(other, path, "does not end", "bundle.damaged")

    def test_a_flipped_bit(self, parts, other: Registry, tmp_path: Path) -> None:
        path = repack(tmp_path / "x.dva", parts)
        data = bytearray(path.read_bytes())
        data[data.index(parts[blob_of(parts)]) + 3] ^= 1
        path.write_bytes(data)
        self.check(other, path, "CRC", "bundle.damaged")

    def test_other_bytes_under_a_digest(self, parts, other: Registry, tmp_path: Path) -> None:
        name = blob_of(parts)
        parts[name] = parts[name][:-1] + b"!"
        self.check(other, repack(tmp_path / "x.dva", parts), "'weights' is not", "bundle.damaged")

    def test_another_size(self, parts, other: Registry, tmp_path: Path) -> None:
        parts[blob_of(parts)] += b"!"
        self.check(other, repack(tmp_path / "x.dva", parts), "bytes, not", "bundle.damaged")

    def test_another_manifest_under_a_digest(self, parts, other: Registry, tmp_path: Path) -> None:
        name = next(name for name in parts if name.startswith("manifests/"))
        parts[name] += b"\n"
        self.check(other, repack(tmp_path / "x.dva", parts), "what its digest", "bundle.damaged")

    def test_a_manifest_of_another_kind(self, parts, other: Registry, tmp_path: Path) -> None:
        digest = next(name for name in parts if name.startswith("manifests/")).partition("/")[2]
        entry = {"kind": "motion", "name": "corgi", "digest": digest}
        parts["dva.toml"] = table_of(parts, adapters=[entry])
        self.check(
            other, repack(tmp_path / "x.dva", parts), "of the kind subject", "bundle.damaged"
        )

    @pytest.mark.parametrize(
        "table",
        [
            b"",
            b"\xff",
            b"a = " + b"[" * 9999,
            b"schema = 1\nadapters = []\nx = 1\n",
            b"a." * 400_000 + b"a = 1\n",
        ],
    )
    def test_a_table_that_is_none(self, parts, other: Registry, tmp_path, table: bytes) -> None:
        parts["dva.toml"] = table
        path = repack(tmp_path / "x.dva", parts)
        self.check(other, path, "cannot be understood", "bundle.damaged")

    @pytest.mark.parametrize("name", ["../corgi", "v1", "a/b", "subject"])
    def test_a_name_that_is_none(self, parts, other: Registry, tmp_path, name: str) -> None:
        parts["dva.toml"] = table_of(parts).replace(b'"corgi"', f'"{name}"'.encode())
        path = repack(tmp_path / "x.dva", parts)
        self.check(other, path, "cannot be understood", "bundle.damaged")

    def test_an_adapter_twice(self, parts, other: Registry, tmp_path: Path) -> None:
        digest = next(name for name in parts if name.startswith("manifests/")).partition("/")[2]
        entry = {"kind": "subject", "name": "corgi", "digest": digest}
        parts["dva.toml"] = table_of(parts, adapters=[entry, entry])
        self.check(other, repack(tmp_path / "x.dva", parts), "twice")

    def test_nothing_at_all(self, parts, other: Registry, tmp_path: Path) -> None:
        parts["dva.toml"] = table_of(parts, adapters=[])
        error = refused(other, repack(tmp_path / "x.dva", parts))
        assert isinstance(error, InvalidError)

    def test_a_newer_schema(self, parts, other: Registry, tmp_path: Path) -> None:
        parts["dva.toml"] = b"schema = 2\nholograms = true\n"
        error = refused(other, repack(tmp_path / "x.dva", parts))
        assert isinstance(error, IncompatibleError)

    def test_a_table_too_long(self, parts, other: Registry, tmp_path: Path, monkeypatch) -> None:
        monkeypatch.setattr(bundle, "_MOST_TABLE_BYTES", 10)
        self.check(other, repack(tmp_path / "x.dva", parts), "at most 10")

    def test_manifests_without_end(self, parts, other: Registry, tmp_path, monkeypatch) -> None:
        monkeypatch.setattr(bundle, "_MOST_MANIFESTS_BYTES", 10)
        self.check(other, repack(tmp_path / "x.dva", parts), "too long")

    def test_one_manifest_under_names_without_end(
        self, parts, other: Registry, tmp_path: Path, monkeypatch
    ) -> None:
        digest = next(name for name in parts if name.startswith("manifests/")).partition("/")[2]
        names = ["a", "b", "c"]
        rows = [{"kind": "subject", "name": name, "digest": digest} for name in names]
        parts["dva.toml"] = table_of(parts, adapters=rows)
        most = 2 * len(parts[f"manifests/{digest}"])
        monkeypatch.setattr(bundle, "_MOST_MANIFESTS_BYTES", most)
        self.check(other, repack(tmp_path / "x.dva", parts), "too long")

    def test_a_zip64_end_elsewhere(self, parts, other: Registry, tmp_path, monkeypatch) -> None:
        monkeypatch.setattr(zipfile, "ZIP64_LIMIT", 1)
        path = repack(tmp_path / "x.dva", parts)
        monkeypatch.undo()
        data = bytearray(path.read_bytes())
        data[-34:-26] = bytes(8)
        path.write_bytes(data)
        assert refused(other, path).code == "bundle.damaged"

    @pytest.mark.parametrize("large", [False, True], ids=["plain", "zip64"])
    def test_a_huge_list_of_members(self, parts, other, tmp_path, monkeypatch, large) -> None:
        path = repack(tmp_path / "x.dva", parts)
        if large:
            monkeypatch.setattr(zipfile, "ZIP64_LIMIT", 1)
            path = repack(tmp_path / "x.dva", parts)
            monkeypatch.undo()
        monkeypatch.setattr(bundle, "_MOST_DIRECTORY_BYTES", 100)
        self.check(other, path, "its list of members has")


def test_a_bundle_larger_than_old_zips_allow_is_read(
    parts, other: Registry, tmp_path: Path, monkeypatch
) -> None:
    monkeypatch.setattr(zipfile, "ZIP64_LIMIT", 1)
    path = repack(tmp_path / "x.dva", parts)
    monkeypatch.undo()
    assert other.import_file(path, tool=TOOL)


@pytest.mark.parametrize(
    ("role", "data"),
    [
        ("weights", b"\x80\x04\x95pickle"),
        ("weights", b"PK\3\4torch"),
        ("token", b"cos\nsystem\n(S'true'\ntR."),
        ("preview", b"\x80\x04\x95pickle"),
        ("preview", safetensors()),
        ("program", b"#!/bin/sh\n"),
    ],
)
def test_files_that_could_run_are_refused(  # noqa: PLR0917 - fixtures
    store: Registry, other: Registry, draft, weights: Path, export, role: str, data: bytes
) -> None:
    weights.write_bytes(data)
    store.publish("subject", "corgi", draft, {role: weights})
    error = refused(other, export("corgi"))
    assert error.code in {"tensors.unsafe", "bundle.unsafe", "bundle.newer"}


@pytest.mark.parametrize(
    "start",
    [PNG, b"\xff\xd8\xff", b"GIF89a", b"RIFF\0\0\0\0WEBP", b"\0\0\0\x18ftypmp42"],
)
def test_a_picture_may_be_a_preview(  # noqa: PLR0917 - fixtures
    store: Registry, other: Registry, draft, weights: Path, export, start: bytes
) -> None:
    weights.write_bytes(start + bytes(9))
    store.publish("subject", "corgi", draft, {"preview": weights})
    assert other.import_file(export("corgi"), tool=TOOL)


def test_a_stream_is_read_up_to_its_limit(export, publish, other: Registry) -> None:
    publish()
    data = export("corgi").read_bytes()
    with pytest.raises(InvalidError) as caught:
        other.import_file(io.BytesIO(data), tool=TOOL, most_bytes=len(data) - 1)
    assert caught.value.code == "bundle.too_large"
    assert other.import_file(io.BytesIO(data), tool=TOOL, most_bytes=len(data))


def test_digests_decide_where_bytes_go(parts, other: Registry, tmp_path: Path) -> None:
    (imported,) = other.import_file(repack(tmp_path / "x.dva", parts), tool=TOOL)
    assert (
        hashlib.sha256(other.file(imported.adapter).read_bytes()).hexdigest() == blob_of(parts)[6:]
    )


def test_a_bundle_without_its_manifest_is_damaged(parts, other: Registry, tmp_path: Path) -> None:
    del parts[next(name for name in parts if name.startswith("manifests/"))]
    assert refused(other, repack(tmp_path / "x.dva", parts)).code == "bundle.damaged"


def test_what_no_reader_would_take_is_not_written(export, publish, monkeypatch) -> None:
    publish()
    monkeypatch.setattr(bundle, "_MOST_MANIFESTS_BYTES", 10)
    with pytest.raises(InvalidError, match="1 adapters are too many"):
        export("corgi")


def test_a_bundle_of_thousands_of_adapters_is_refused_at_once(
    parts, other: Registry, tmp_path: Path
) -> None:
    digest = next(name for name in parts if name.startswith("manifests/")).partition("/")[2]
    count = bundle.MOST_ADAPTERS + 1
    rows = [{"kind": "subject", "name": f"n{k}", "digest": digest} for k in range(count)]
    parts["dva.toml"] = table_of(parts, adapters=rows)
    error = refused(other, repack(tmp_path / "x.dva", parts))
    assert f"it holds {count} adapters; at most {count - 1} are taken" in error.message


def test_too_many_adapters_are_not_written(export, publish, monkeypatch) -> None:
    publish()
    monkeypatch.setattr(bundle, "MOST_ADAPTERS", 0)
    with pytest.raises(InvalidError, match="1 adapters are too many for one bundle") as caught:
        export("corgi")
    assert caught.value.hint == "write several"
