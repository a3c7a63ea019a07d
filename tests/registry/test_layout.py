"""Laws of the registry's folder: where it may be, who may read it, what importing it costs."""

from __future__ import annotations

import doctest
import errno
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

import registry
from registry import (
    IncompatibleError,
    IntegrityError,
    InvalidError,
    Registry,
    StorageError,
    default_root,
    open_registry,
)
from registry.maintenance.doctor import diagnose
from registry.storage import folder
from registry.storage.files import Files
from tests.registry.places import header_of, log_of, tmp_of


def test_the_worked_example_is_true() -> None:
    result = doctest.testmod(registry, optionflags=doctest.ELLIPSIS)
    assert (result.failed, result.attempted > 10) == (0, True)


def test_importing_the_registry_imports_nothing_heavy() -> None:
    script = "import sys, registry; print(*{name.partition('.')[0] for name in sys.modules})"
    folder = Path(registry.__file__).parents[1]
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=folder, capture_output=True, text=True, check=True
    )
    heavy = {
        "torch",
        "numpy",
        "PIL",
        "diffusers",
        "transformers",
        "tomllib",
        "tomli_w",
        "platformdirs",
    }
    assert not heavy & set(done.stdout.split())


def test_the_default_folder_is_the_users_data_folder(monkeypatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    monkeypatch.setenv("HOME", str(tmp_path))
    root = default_root()
    assert root.parts[-2:] == ("dreamvideo", "registry")
    assert root.is_relative_to(tmp_path)


def test_a_folder_of_something_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "thesis.doc").touch()
    with pytest.raises(InvalidError, match=r"thesis\.doc") as caught:
        open_registry(tmp_path)
    assert caught.value.code == "registry.foreign"


def test_a_file_is_no_place_for_a_registry(weights: Path) -> None:
    with pytest.raises(InvalidError, match="is a file, and a registry is a folder"):
        open_registry(weights)
    with pytest.raises(StorageError, match="Not a directory"):
        open_registry(weights / "registry")


def test_a_newer_registry_is_refused(root: Path) -> None:
    """Fault 21."""
    root.mkdir(parents=True)
    (root / "registry.toml").write_text("schema = 9\nmin_reader = 9\nmin_writer = 9\n")
    with pytest.raises(IncompatibleError, match="schema 9"):
        open_registry(root)


def test_a_newer_registry_that_older_ones_may_read_is_read(root: Path) -> None:
    """Fault 21."""
    root.mkdir(parents=True)
    (root / "registry.toml").write_text("schema = 9\nmin_reader = 1\nmin_writer = 9\n")
    assert open_registry(root).list().rows == ()


@pytest.mark.parametrize("text", ["\0", "schema = 1\n", "min_reader = 'x'\n"])
def test_a_damaged_header_is_an_error(root: Path, text: str) -> None:
    root.mkdir(parents=True)
    (root / "registry.toml").write_text(text)
    with pytest.raises((IntegrityError, IncompatibleError)):
        open_registry(root)


def test_a_header_lost_in_a_power_failure_is_written_again(store: Registry, publish) -> None:
    publish()
    header = header_of(store)
    whole = header.read_bytes()
    header.chmod(0o644)
    header.write_bytes(b"")
    assert open_registry(store.layout.root).resolve("corgi").version == 1
    publish()
    assert header.read_bytes() == whole


@pytest.fixture
def read_only(monkeypatch, store: Registry, publish) -> None:
    """A registry with one version on a disk that takes no more writes."""
    publish()
    store.tag("corgi", "best")
    open_file = os.open

    def refuse(*args, **kwargs):
        raise OSError(errno.EROFS, "Read-only file system")

    def open_to_read(path, flags, *args, **kwargs):
        return refuse() if flags & os.O_ACCMODE else open_file(path, flags, *args, **kwargs)

    monkeypatch.setattr(os, "open", open_to_read)
    for name in ("mkdir", "link", "replace", "fchmod", "unlink"):
        monkeypatch.setattr(os, name, refuse)


@pytest.mark.usefixtures("read_only")
class TestReadOnly:
    def test_everything_can_be_read(self, store: Registry) -> None:
        """Fault 4."""
        again = open_registry(store.layout.root)
        adapter = again.resolve("corgi:best")
        assert again.files(adapter)
        assert again.list().rows == (adapter,)
        assert again.plan_removal(["corgi:best"]).adapters == (adapter,)
        assert again.find_garbage().files == ()
        assert again.verify().is_whole
        assert diagnose(again.layout) == ()

    def test_every_write_says_that_it_is_read_only(
        self, store: Registry, draft, weights: Path
    ) -> None:
        """Fault 4."""
        plan = store.plan_removal(["corgi:best"])
        for write in (
            lambda: store.check_publish("subject", "corgi"),
            lambda: store.publish("subject", "corgi", draft, {"weights": weights}),
            lambda: store.tag("corgi", "good"),
            lambda: store.untag("corgi:best"),
            lambda: store.remove(plan),
        ):
            with pytest.raises(StorageError) as caught:
                write()
            assert caught.value.code == "storage.read_only"
            assert caught.value.hint


@pytest.mark.parametrize("number", [errno.EINVAL, errno.ENOTSUP])
def test_a_file_system_that_does_not_sync_folders_does_not_stop_a_write(
    store: Registry, publish, monkeypatch, number: int
) -> None:
    fsync = os.fsync

    def refuse_folders(descriptor: int) -> None:
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise OSError(number, os.strerror(number))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", refuse_folders)
    publish(tags=("best",))
    store.rename("corgi", "rex", "subject")
    assert store.resolve("rex:best").version == 1


def test_a_disk_that_fails_to_sync_a_folder_is_an_error(publish, monkeypatch) -> None:
    fsync = os.fsync

    def fail_folders(descriptor: int) -> None:
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise OSError(errno.EIO, "Input/output error")
        fsync(descriptor)

    publish()
    monkeypatch.setattr(os, "fsync", fail_folders)
    with pytest.raises(StorageError, match="Input/output error"):
        publish()


def test_a_file_system_without_permissions_does_not_stop_a_write(
    monkeypatch, tmp_path: Path
) -> None:
    def refuse(*args: object, **kwargs: object) -> None:
        raise PermissionError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "fchmod", refuse)
    Files(tmp_path).write_new("new", b"data")
    assert (tmp_path / "new").read_bytes() == b"data"


def test_a_folder_that_cannot_be_read_is_the_disks_fault(monkeypatch, store: Registry) -> None:
    def refuse(_: int) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    store.layout.root.mkdir(parents=True)
    (store.layout.root / "pointers" / "subject").mkdir(parents=True)
    monkeypatch.setattr(os, "scandir", refuse)
    assert "Permission denied" in store.list().problems[0]
    with pytest.raises(StorageError) as caught:
        Files(store.layout.root).entries()
    assert caught.value.code == "storage.read_only"


def test_where_folders_cannot_be_opened_paths_do(store: Registry, publish, monkeypatch) -> None:
    """As on Windows."""
    open_descriptor = os.open

    def refuse_folders(path, flags, *args, **kwargs):
        if Path(path).is_dir():
            raise PermissionError(errno.EACCES, "Permission denied")
        return open_descriptor(path, flags, *args, **kwargs)

    monkeypatch.setattr(folder, "HOLDS_FOLDERS", False)
    monkeypatch.setattr(os, "open", refuse_folders)
    assert store.list().rows == ()
    publish(tags=("best",))
    store.tag(publish().ref, "best", move=True)
    store.remove(store.plan_removal(["corgi:v2"]))
    assert store.restore("corgi:v2").tags_back == ("best",)
    store.rename("corgi", "rex", "subject")
    assert store.resolve("rex:best").version == 2
    assert store.verify().findings == ()
    (store.layout.root / "aside").symlink_to(store.layout.root)
    with pytest.raises(OSError, match="symbolic links"):
        store.layout.make_folder("aside/inner")


def test_nothing_is_appended_to_what_is_no_file(store: Registry, publish) -> None:
    publish()
    path = log_of(store)
    path.unlink()
    os.mkfifo(path)
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    with pytest.raises(OSError, match="no regular file"):
        store.layout.append(str(path.relative_to(store.layout.root)), b"{}")
    os.close(reader)


def test_a_file_in_place_of_a_folder_is_an_error(store: Registry, publish) -> None:
    publish()
    with pytest.raises(StorageError, match="Not a directory"):
        store.layout.entries("registry.toml/inner")


def test_hard_links_are_tried_out(store: Registry, publish, monkeypatch) -> None:
    publish()
    assert store.layout.can_link()
    for number, can_link in ((errno.EPERM, False), (errno.EIO, None)):

        def refuse(*_: object, number: int = number, **__: object) -> None:
            raise OSError(number, os.strerror(number))

        monkeypatch.setattr(os, "link", refuse)
        if can_link is None:
            with pytest.raises(OSError, match="Input/output"):
                store.layout.can_link()
        else:
            assert store.layout.can_link() is can_link
    assert list(tmp_of(store).iterdir()) == []
