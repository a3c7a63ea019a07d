"""Care of a registry: verifying, repairing, and deleting what nothing needs."""
