"""The drawn world that `mini` learns: its figures, scenes, words, and what is kept out of training."""
