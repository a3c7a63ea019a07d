"""The command line of `dv`: it parses, calls the engine and the registry, and shows what came back."""

__version__ = "0.1.0"
