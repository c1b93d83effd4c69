"""Random values that every worker process must know alike, made by whoever needs one first.

None of them lets anybody at an upstream: keys of providers are never stored.
"""

from __future__ import annotations

from sqlalchemy import Connection, select
from sqlalchemy.dialects.sqlite import insert

from gateway.store.tables import secret


def shared(connection: Connection, name: str, proposed: bytes, now_ms: int) -> bytes:
    """The value under `name`: the one that is there, else `proposed`, which then stays. Run it in `write`."""
    connection.execute(
        insert(secret).values(name=name, value=proposed, created_at_ms=now_ms).on_conflict_do_nothing()
    )
    value: bytes = connection.execute(select(secret.c.value).where(secret.c.name == name)).scalar_one()
    return value
