"""The engine: tensors in, adapters and videos out; it knows no names, versions, stores or terminals.

The map, in the order in which data flows:

- `recipe` says what is to be done (frozen, validated, no tensors); `errors` what can go wrong; `progress` what is told
  meanwhile.
- `media` turns photos and clips into arrays, and arrays into videos.
- `bases` opens a frozen text-to-video model behind one protocol (`bases.protocol.Base`).
- `adapters` holds what is learned: a word (`token`) and bottlenecks at sites (`bottleneck`, `bank`), and its file.
- `diffusion` holds the formulas: noise, objectives, guidance, sampling.
- `fit` is the one optimisation loop.
- `learn_subject`, `learn_motion` and `generate` are the three stories, each read from top to bottom.
- `mini` is the bundled base and the recipe that made it.

Shape letters, used in every docstring: b batch, c channels, f frames, h w height and width, n tokens, d width of a
stream, l text length.

Nothing here imports a heavy library; each story does when it is called.
"""
