"""The drawn world that `mini` learns.

`things` and `figures` draw what has a name, `creatures` what has none; `scenes` moves one figure over a
background and paints it, which is what scores compare with; `split` keeps a part out of training. Training
sees the same world made on a device: `population` gathers all figures as textures, `paths` their ways,
`render` places them, `captions` has the words, and `batches` puts all of it together.
"""
