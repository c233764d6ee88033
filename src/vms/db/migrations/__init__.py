"""Alembic migrations, forwards and backwards. `vms.db.migrate` runs them."""
