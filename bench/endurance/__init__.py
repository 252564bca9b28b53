"""The load of an hour: does anything grow that should not?

    python -m bench.endurance --minutes 60 --rate 100 --out docs/performance

Webhooks come at a steady rate, and retention is short: what the service sweeps, what autovacuum frees and what the
indexes use again all happen within the run. Each half minute a sample is taken. At the end every payment is looked for, in
the rows and in the supplier's books; then the last quarter is held against the second. The first is left out: until
retention has gone round once, all tables must grow.

    __main__ ── sample      what is asked of PostgreSQL, and of the service's process
       │     ── balance     every payment is where it must be
       └── report ── measures    what must stay level, and whether it does
                  └─ panels      its plot
"""
