"""What a plan says: which indexes it uses, and how many rows it touches."""

from collections.abc import Iterator
from typing import Any


def nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """All nodes of a plan."""
    yield plan
    for part in plan.get("Plans", []):
        yield from nodes(part)


def indexes(plan: dict[str, Any]) -> set[str]:
    """The indexes that a plan uses."""
    return {node["Index Name"] for node in nodes(plan) if "Index Name" in node}


def touched(plan: dict[str, Any]) -> int:
    """Rows that the scans read: what they gave on, and what they read and threw away."""
    return sum(
        int((node["Actual Rows"] + node.get("Rows Removed by Filter", 0)) * node["Actual Loops"])
        for node in nodes(plan)
        if "Scan" in node["Node Type"]
    )
