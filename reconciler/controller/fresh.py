"""Plan from what the hosts said last, and begin only what rests on what they say now.

Note [Fresh words]: to see that there is nothing to do, old answers are enough; an event, the end of
a step or the poll will have them asked again. If a plan has steps, the hosts that those rest on are
asked, and what begins is planned from their answers. "Has answered in full" always means in this
pass (promise 1); a host that was asked and did not answer is silent, whatever it said before. Where
a commit has just changed a guest that was in order, its host is asked before the first plan: a step
will most likely rest on it, and then that plan is the only one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from reconciler.planner import plan
from reconciler.planner.witnesses import unheard

if TYPE_CHECKING:
    from collections.abc import Callable

    from reconciler.controller.results import Look
    from reconciler.model.names import HostName
    from reconciler.model.plan import Plan, PlannedStep
    from reconciler.planner import Memo

_ROUNDS = 3
"""How often a pass plans anew because steps rest on hosts whose word is old."""


def plan_on_fresh_words(
    look: Look,
    observe: Callable[[Look, frozenset[HostName]], Look],
    memo: Memo | None = None,
) -> tuple[Look, Plan]:
    """Plan; have ``observe`` ask the hosts that steps rest on and that said nothing yet; plan anew.

    A plan from fresh words may rest on further hosts. Each round asks at least one more, and the
    last one all, so that it ends. A commit that gives no step is looked at once with all hosts
    asked: what it wants may hang on something that no event tells.
    """
    planned = _plan(look, memo)
    for rounds_left in reversed(range(_ROUNDS)):
        missing = frozenset(name for one in planned.steps for name in _unheard(one, look))
        if look.new_commit and not planned.steps:
            missing = _old_answers(look)
        if not missing:
            break
        look = observe(look, missing if rounds_left else _old_answers(look))
        planned = _plan(look, memo)
    return look, planned


def rests_on_fresh_words(planned: PlannedStep, look: Look) -> bool:
    """Whether every host that the step rests on has answered in this pass, or is known silent."""
    return not _unheard(planned, look)


def _plan(look: Look, memo: Memo | None) -> Plan:
    return plan(
        look.world,
        look.observed,
        operations=look.operations,
        memory=look.memory,
        policy=look.policy,
        now=look.now,
        memo=memo,
    )


def _unheard(planned: PlannedStep, look: Look) -> frozenset[HostName]:
    return unheard(planned, look.world, look.observed, look.memory, look.fresh)


def _old_answers(look: Look) -> frozenset[HostName]:
    return frozenset(host.name for host in look.observed.answered()) - look.fresh
