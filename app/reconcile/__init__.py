"""What no webhook has told: the provider is asked for its payments, and those are compared with what is known here."""

from app.reconcile.comparison import Difference, Finding
from app.reconcile.reconciler import Progress, Reconciler, Report, reconcilable

__all__ = ["Difference", "Finding", "Progress", "Reconciler", "Report", "reconcilable"]
