"""The workloads, in the order in which they run."""

from bench.workload import Workload
from bench.workloads.accept import ACCEPT
from bench.workloads.client import CLIENT
from bench.workloads.engine import ENGINE
from bench.workloads.history import BACKLOG, HISTORY
from bench.workloads.latency import LATENCY
from bench.workloads.processes import PROCESSES
from bench.workloads.through import THROUGH

# By the name that --only takes; accept and duplicates are one run.
WORKLOADS: dict[str, Workload] = {
    "accept": ACCEPT,
    "duplicates": ACCEPT,
    "through": THROUGH,
    "engine": ENGINE,
    "latency": LATENCY,
    "history": HISTORY,
    "backlog": BACKLOG,
    "processes": PROCESSES,
    "client": CLIENT,
}
