"""The engine: tensors in, adapters and videos out; it knows no names, versions, stores or terminals.

The rooms, from the ground up; each imports only those above it in this list, which import-linter checks:

- `errors` says what can go wrong, `progress` what is reported meanwhile, `recipe` what is to be done (frozen,
  validated, no tensors); `drafts` writes files whole or not at all, `hardware` and `device` find out where to compute.
- `media` turns photos and clips into arrays, and arrays into videos.
- `diffusion` holds the formulas: keyed noise, noise paths, losses, samplers.
- `bases` opens a frozen text-to-video model behind one protocol (`bases.protocol.Base`), one file a family.
- `adapters` holds what is learned: layers at sites (`bottleneck`, `bank`), a word, their file, and what they add to a
  base (`delta`).
- `metrics` measures a video; `segment` finds a photo's subject.
- `training` holds a session with a base, the one optimisation loop, its memory and its saves.
- `generate` makes videos; `monitor` makes previews, scores and tracks a run with it.
- `methods` says which losses teach what, one file a method; `learn` runs a method's stages.
- `mini` is the bundled base, its world and the recipe that made it.
- `benchmark` compares methods on held-out things of that world.

Shape letters, used in every docstring: b batch, c channels, f frames, h height, w width, n tokens, d width of a stream,
l text length.

Nothing here imports a heavy library; each room does when it is used.
"""
