"""Room on the pages for what is written after the insert, and an autovacuum that comes sooner.

Autovacuum waits by default until a fifth of a table has changed: of ten million operations that are two million dead
rows, and as many dead entries in the index of what is due. Here it comes after twenty thousand and a two-hundredth: soon
enough for that index to stay small, seldom enough for the large ones not to be read all the time. History and events are
only added to, but their pages must be marked as all visible, so that retention and counting need not read them.

An attempt is written twice, with its request and with its answer: half of a page is left for the second, which then
adds no entry to an index (tried at 4,000 operations: 96 of 100 instead of 35). An operation is written three times or more.

The settings take SHARE UPDATE EXCLUSIVE, which stops neither readers nor writers.
"""

from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

CHANGED = "autovacuum_vacuum_scale_factor = 0.005, autovacuum_vacuum_threshold = 20000"
ANALYSED = "autovacuum_analyze_scale_factor = 0.02, autovacuum_analyze_threshold = 5000"
ADDED_TO = "autovacuum_vacuum_insert_scale_factor = 0, autovacuum_vacuum_insert_threshold = 100000"

SETTINGS = {
    "operations": ("fillfactor = 40", CHANGED, ANALYSED, ADDED_TO),
    "attempts": ("fillfactor = 50", CHANGED, ANALYSED, ADDED_TO),
    "events": (CHANGED, ANALYSED, ADDED_TO),
    "history": (CHANGED, ANALYSED, ADDED_TO),
}


def upgrade() -> None:
    for table, settings in SETTINGS.items():
        op.execute(f"ALTER TABLE {table} SET ({', '.join(settings)})")


def downgrade() -> None:
    for table, settings in SETTINGS.items():
        names = ", ".join(setting.split(" = ")[0] for setting in ", ".join(settings).split(", "))
        op.execute(f"ALTER TABLE {table} RESET ({names})")
    op.execute("ALTER TABLE operations SET (fillfactor = 60)")
