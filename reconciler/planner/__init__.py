"""Compute the steps from what is to what should be.

``plan`` is a function of its arguments: same worlds in, same plan out. It reads no clock, opens no
connection and logs nothing, so a test can show it any world, including ones no lab can stage.

The stages have names: match (which domain is which guest), classify (what each guest needs), place
(where a missing one goes), dismiss (what has no manifest), order (what must be up first), limit
(how much of it now).
"""

from reconciler.planner.memo import Memo
from reconciler.planner.planning import plan
from reconciler.planner.preview import Preview, Round, preview

__all__ = ["Memo", "Preview", "Round", "plan", "preview"]
