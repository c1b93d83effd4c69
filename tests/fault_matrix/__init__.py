"""The fault matrix: every way a side can misbehave, each a row, each row tested at the wire.

`upstream_faults` and `client_faults` are the rows, `stand` is what they are tried on, `page` makes
docs/faults.md of them. For every row: what the client sees, how many attempts were made, exactly one row in
the store, and nothing left behind, neither a connection nor a task.
"""
