"""A mirror of the hub on this machine: the few routes that fetching a repository takes."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path


@dataclass
class Mirror:
    """Folders by ``owner/name``; the commit of each follows from its bytes.

    Attributes:
        asked: requests of any kind.
        sent: names of the files that were handed out, with the first byte that was asked for.
        cut_after: bytes after which a connection breaks, once.
        lie: file whose bytes are not the ones that are listed.
    """

    folders: dict[str, Path]
    address: str = ""
    asked: int = 0
    sent: list[tuple[str, int]] = field(default_factory=list)
    cut_after: int | None = None
    lie: str | None = None

    def files(self, hub_id: str) -> dict[str, bytes]:
        root = self.folders[hub_id]
        paths = sorted(path for path in root.rglob("*") if path.is_file())
        return {path.relative_to(root).as_posix(): path.read_bytes() for path in paths}

    def commit(self, hub_id: str) -> str:
        state = repr(
            [(name, hashlib.sha1(data).hexdigest()) for name, data in self.files(hub_id).items()]
        )
        return hashlib.sha1(state.encode()).hexdigest()


def git_hash(data: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


def is_large(name: str) -> bool:
    return name.endswith((".safetensors", ".bin", ".ckpt"))


class _Handler(BaseHTTPRequestHandler):
    mirror: Mirror

    def log_message(self, *_: object) -> None:
        """Nothing is logged."""

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        self.mirror.asked += 1
        parts = self.path.partition("?")[0].strip("/").split("/")
        if parts[:2] == ["api", "models"]:
            self._describe("/".join(parts[2:4]), is_tree="tree" in parts[4:5])
        elif len(parts) > 4 and parts[2] == "resolve":
            self._hand_out("/".join(parts[:2]), "/".join(parts[4:]))
        else:
            self.send_error(404)

    def _describe(self, hub_id: str, *, is_tree: bool) -> None:
        if hub_id not in self.mirror.folders:
            self.send_response(404)
            self.send_header("X-Error-Code", "RepoNotFound")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        files = self.mirror.files(hub_id)
        tree = [_entry(name, data) for name, data in files.items()]
        info = {"id": hub_id, "sha": self.mirror.commit(hub_id), "tags": ["license:apache-2.0"]}
        body = json.dumps(tree if is_tree else info | {"siblings": [], "private": False}).encode()
        self._answer(body, {"Content-Type": "application/json"})

    def _hand_out(self, hub_id: str, name: str) -> None:
        data = self.mirror.files(hub_id)[name]
        etag = hashlib.sha256(data).hexdigest() if is_large(name) else git_hash(data)
        if name == self.mirror.lie:
            data = bytes(len(data))
        facts = {"ETag": f'"{etag}"', "X-Repo-Commit": self.mirror.commit(hub_id)}
        asked = self.headers.get("Range", "")
        first = int(asked.removeprefix("bytes=").partition("-")[0] or 0) if asked else 0
        if self.command == "GET":
            self.mirror.sent.append((name, first))
        self._answer(data, facts, first)

    def _answer(self, body: bytes, facts: dict[str, str], first: int = 0) -> None:
        self.send_response(206 if first else 200)
        for key, value in facts.items():
            self.send_header(key, value)
        if first:
            self.send_header("Content-Range", f"bytes {first}-{len(body) - 1}/{len(body)}")
        self.send_header("Content-Length", str(len(body) - first))
        self.end_headers()
        if self.command == "HEAD":
            return
        cut = self.mirror.cut_after
        if cut is not None and len(body) > cut:
            self.wfile.write(body[first:cut])
            self.wfile.flush()
            self.mirror.cut_after = None
            threading.Event().wait(60)  # whoever fetches is killed meanwhile
            return
        self.wfile.write(body[first:])


def _entry(name: str, data: bytes) -> dict[str, object]:
    large = {"oid": hashlib.sha256(data).hexdigest(), "size": len(data), "pointerSize": 134}
    entry = {"type": "file", "path": name, "size": len(data), "oid": git_hash(data)}
    return entry | ({"lfs": large} if is_large(name) else {})


@contextmanager
def serve(folders: dict[str, Path]) -> Iterator[Mirror]:
    """A mirror of these repositories, while the block runs."""
    mirror = Mirror(folders)
    handler = type("Handler", (_Handler,), {"mirror": mirror})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    server.block_on_close = False
    mirror.address = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield mirror
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
