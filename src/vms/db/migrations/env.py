"""Alembic's entry point: runs the migrations on the connection that `vms.db.migrate` hands over."""

from alembic import context

from vms.db.models import Base

connection = context.config.attributes["connection"]
# SQLite alters little in place: batch mode copies the table instead.
context.configure(connection=connection, target_metadata=Base.metadata, render_as_batch=True)
with context.begin_transaction():
    context.run_migrations()
