"""How `mini` is made: `python -m engine.mini.recipe.train --preset gpu --minutes 8 --out DIR`.

Four stages, each within its share of the minutes (`presets`, `budget`): `autoencoder`, `towers`, and the
`denoiser` on stills and on clips; `inherit` goes on from a base that is there, `release` writes the folder.
"""
