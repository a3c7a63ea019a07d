"""The bundled base `mini`: its weights with their card, the world it knows, and the recipe that makes it.

`weights/` is an ordinary diffusers folder; nothing here is needed to open it. `world/` draws what there is to
learn and keeps a part of it out of training; `recipe/` trains a base on it, from nothing to a released folder:
`python -m engine.mini.recipe.train`.
"""

from pathlib import Path

WEIGHTS = Path(__file__).parent / "weights"
