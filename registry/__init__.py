"""Named, numbered, tagged adapters in plain files: no database, no lock, no index to rebuild.

The registry knows names and bytes; what the bytes do is for others. An adapter is a manifest and
its files, and its identity is the SHA-256 of the manifest. Publishing gives it the next number of a
name; a number is never used again. Tags are words that people move from version to version.
`latest` and `prev` are computed. How all of it lies on the disk is told by `registry.storage.layout`.

A worked example. Somebody made a file and says what it is:

>>> import pathlib, tempfile
>>> import registry
>>> folder = tempfile.TemporaryDirectory()
>>> here = pathlib.Path(folder.name)
>>> weights = here / "weights.safetensors"
>>> _ = weights.write_bytes(b"any bytes")
>>> draft = registry.read_draft(
...     {
...         "tool": "dv 0.1.0",
...         "base": {"id": "mini@1", "fingerprint": "f" * 64, "licence": "Apache-2.0"},
...         "adapter": {"method": "dreamvideo", "dtype": "float32", "params": 1234},
...         "prompt": {"token": "<corgi>", "class_word": "dog"},
...         "training": {"recipe": {"steps": 200}, "seed": 0, "inputs": []},
...     }
... )

Publishing makes the registry where it is missing, copies the files, and answers with a pinned
adapter:

>>> store = registry.open_registry(here / "registry")
>>> first = store.publish("subject", "corgi", draft, {"weights": weights})
>>> str(first)
'corgi:v1@sha256:...'
>>> store.publish("subject", "corgi", draft, {"weights": weights}, tags=["best"]).version
2

A reference is resolved once; from then on the adapter means the same bytes whatever happens to
names and tags:

>>> adapter = store.resolve("corgi:best", kind="subject")
>>> adapter.version, adapter.tags, adapter.record.class_word
(2, ('best',), 'dog')
>>> store.manifest(adapter).training.recipe
{'steps': 200}
>>> store.files(adapter)["weights"].read_bytes()
b'any bytes'

A tag moves only when told to, and a removal can be undone:

>>> store.tag("corgi:v1", "best")
Traceback (most recent call last):
registry.errors.ConflictError: the tag corgi:best is already at v2
>>> store.tag("corgi:v1", "best", move=True).was
2
>>> plan = store.plan_removal(["corgi:best"])
>>> plan.needs_consent
True
>>> [row.version for row in store.remove(plan)]
[1]
>>> store.resolve("corgi:v1")
Traceback (most recent call last):
registry.errors.NotFoundError: corgi:v1 was removed
>>> store.restore("corgi:v1").tags_back
('best',)
>>> [(row.name, row.version) for row in store.list("subject", "c*", all_versions=True).rows]
[('corgi', 1), ('corgi', 2)]

A bundle carries adapters elsewhere, and a rename keeps all but the name:

>>> store.rename("corgi", "rex", "subject")
>>> store.resolve("corgi")
Traceback (most recent call last):
registry.errors.NotFoundError: there is no subject, motion or accelerator named 'corgi'
>>> with (here / "rex.dva").open("xb") as target:
...     store.export([store.resolve("rex:v1")], target)
>>> [(each.event, each.version) for each in store.log("rex", "subject")][-2:]
[('restore', 1), ('rename', 0)]

Everything can be hashed again, and bytes that nothing leads to any more be collected; young ones
stay:

>>> store.verify().is_whole
True
>>> store.delete_garbage(store.find_garbage()).files
()
>>> folder.cleanup()

What can go wrong is a `RegistryError`, with a stable ``code`` and a ``hint`` of what would do.
"""

from registry.content.manifest import Draft, Manifest, read_draft
from registry.content.record import Adapter
from registry.errors import (
    BusyError,
    ConflictError,
    IncompatibleError,
    IntegrityError,
    InvalidError,
    NotFoundError,
    RegistryError,
    StorageError,
)
from registry.ref import KINDS, Kind, Ref, check_name, check_tag, is_path, parse_ref
from registry.storage.layout import default_root
from registry.store import Registry, open_registry

__all__ = [
    "KINDS",
    "Adapter",
    "BusyError",
    "ConflictError",
    "Draft",
    "IncompatibleError",
    "IntegrityError",
    "InvalidError",
    "Kind",
    "Manifest",
    "NotFoundError",
    "Ref",
    "Registry",
    "RegistryError",
    "StorageError",
    "check_name",
    "check_tag",
    "default_root",
    "is_path",
    "open_registry",
    "parse_ref",
    "read_draft",
]
