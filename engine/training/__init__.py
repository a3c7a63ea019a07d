"""Training: a session with a base, encoded inputs, the optimisation loop, memory, and what is saved."""
