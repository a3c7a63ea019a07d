"""The names of bases: what is published under them, and what was meant by one that is no base."""
