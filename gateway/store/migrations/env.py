"""Alembic's entry: runs on the connection that `gateway.store.migrate` hands over, in its transaction."""

from alembic import context

from gateway.store.hour_tables import metadata  # all tables: its own, and those it is made of

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    render_as_batch=True,
    transactional_ddl=False,  # the caller's transaction spans all revisions
)
context.run_migrations()
