"""What providers tell of refunds, and who may ask for one.

Two new tables: nothing that is written meanwhile waits for them.
"""

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

EXTERNAL_REFUNDS = """
CREATE TABLE external_refunds (
    bucket SMALLINT NOT NULL,
    operation_id UUID NOT NULL,
    refund_id TEXT NOT NULL,
    amount BIGINT NOT NULL,
    currency TEXT NOT NULL,
    standing VARCHAR(32) NOT NULL,
    key TEXT,
    at TIMESTAMP WITH TIME ZONE NOT NULL,
    PRIMARY KEY (bucket, operation_id, refund_id),
    CONSTRAINT external_refunds_amount_positive CHECK (amount > 0),
    CONSTRAINT external_refunds_standing CHECK (standing IN ('pending', 'succeeded', 'disputed', 'failed'))
)
"""

REFUND_CLAIMS = """
CREATE TABLE refund_claims (
    agent TEXT NOT NULL,
    payment_id TEXT NOT NULL,
    operation_id UUID NOT NULL,
    lease INTEGER NOT NULL,
    taken_at TIMESTAMP WITH TIME ZONE NOT NULL,
    PRIMARY KEY (agent, payment_id)
)
"""


def upgrade() -> None:
    for statement in (EXTERNAL_REFUNDS, REFUND_CLAIMS):
        op.execute(statement)


def downgrade() -> None:
    for table in ("refund_claims", "external_refunds"):
        op.drop_table(table)
