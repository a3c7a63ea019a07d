"""One training run: planned, begun or resumed, trained, published."""
