"""Runs revisions on the connection that ``mlserve.registry.migrating`` hands over, inside its transaction.

There is no alembic.ini: ``mlserve db upgrade`` is the way in. To write a new revision, see versions/README.md.
"""

from alembic import context

from mlserve.registry.schema import VERSION_TABLE, metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    version_table=VERSION_TABLE,
    render_as_batch=True,
    transactional_ddl=True,
    compare_type=True,
    compare_server_default=True,
)
context.run_migrations()
