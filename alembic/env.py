"""How alembic meets the database: on the connection that `app.db.schema` hands over, or on its own from the command line.

From the command line (to write a new revision) the URL comes from `-x url=...` or DATABASE_URL.
"""

import asyncio
import os

from alembic import context
from sqlalchemy import Connection

from app.db import schema
from app.db.queue_table import QueueRow
from app.db.reconciliations import ReconciliationRow
from app.db.refund_tables import ExternalRefundRow
from app.db.tables import OperationRow

# Each brings the tables of its module; the metadata is one for all.
DECLARED = (OperationRow, QueueRow, ExternalRefundRow, ReconciliationRow)


def migrate(connection: Connection) -> None:
    context.configure(connection=connection, target_metadata=DECLARED[0].metadata)
    with context.begin_transaction():
        context.run_migrations()


given = context.config.attributes.get("connection")
if given is not None:
    migrate(given)
else:
    url = context.get_x_argument(as_dictionary=True).get("url") or os.environ["DATABASE_URL"]
    asyncio.run(schema.run(url, migrate))
