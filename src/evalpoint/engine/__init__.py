"""Rows -> events: workers, pools, the shared event loop. No HTTP, no SQL, no model."""

from evalpoint.engine.asking import Live, Sheet, Target
from evalpoint.engine.running import run

__all__ = ["Live", "Sheet", "Target", "run"]
