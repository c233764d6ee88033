from sqlalchemy import inspect

from vms.db.models import Base


def test_every_constraint_and_index_has_a_name_that_a_migration_can_drop() -> None:
    for table in Base.metadata.tables.values():
        names = [item.name for item in table.constraints] + [item.name for item in table.indexes]
        assert all(names), (table.name, names)


def test_no_relationship_loads_lazily() -> None:
    for mapper in Base.registry.mappers:
        for relationship in inspect(mapper.class_).relationships:
            assert relationship.lazy in {"raise", "raise_on_sql"}, relationship
