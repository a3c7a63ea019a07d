"""How `mini` is made, stage by stage: `python -m engine.mini.recipe.train`."""
