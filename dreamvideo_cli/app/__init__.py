"""The tree of commands, its help, suggestions and completion."""
