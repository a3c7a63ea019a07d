"""The bundled base `mini`: its weights, its card, and the recipe that made them.

`weights/` is an ordinary diffusers folder; nothing here is needed to open it. The modules beside
it are the recipe, read in the order of its stages: `things` → `figures` → `world` → `split` →
`captions` → `autoencoder` → `towers` → `denoiser` → `release`, run by `python -m engine.mini.recipe.train`.
"""

from pathlib import Path

WEIGHTS = Path(__file__).parent / "weights"
