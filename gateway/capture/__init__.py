"""Reading what went by: pure functions from bytes to the facts that are recorded."""
