"""Every crossing that the code has, read out of the code.

The door to libvirt is followed from its ``match`` on the steps through every function that is given
the door, to each writing call. Nothing is listed by hand but the calls whose middle can be seen at
the host, though domops itself waits in them.
"""

from __future__ import annotations

import ast
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

from reconciler.model.crossing import INTENT, OUTCOME, Crossing, Side
from tests.lab.cache import CHECKOUT

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

ROOM = CHECKOUT / "reconciler" / "hypervisor"

LONG = frozenset({"createXMLFrom", "snapshotCreateXML"})
"""Calls of which a host shows that they are under way: a volume that grows, a guest that waits."""


@dataclass(frozen=True, slots=True)
class _Module:
    functions: dict[str, ast.FunctionDef]
    imported: dict[str, tuple[str, str]]
    """Where a name comes from: the module, and what it is called there ('' is the module)."""


@cache
def _module(path: Path) -> _Module:
    functions, imported = {}, {}
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.FunctionDef):
            functions[node.name] = node
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            for name in node.names:
                if node.module == "reconciler.hypervisor":
                    imported[name.name] = (name.name, "")
                elif node.module.startswith("reconciler.hypervisor."):
                    imported[name.name] = (node.module.rsplit(".", 1)[1], name.name)
    return _Module(functions, imported)


def _function(module: str, name: str) -> tuple[str, ast.FunctionDef] | None:
    """The function that ``name`` means in ``module``, and the module where it stands."""
    known = _module(ROOM / f"{module}.py")
    if name in known.functions:
        return module, known.functions[name]
    if name in known.imported:
        return _function(*known.imported[name])
    return None


def _in_order(node: ast.AST) -> Iterator[ast.Call]:
    """The calls below ``node`` as they stand in the text."""
    found = [one for one in ast.walk(node) if isinstance(one, ast.Call)]
    yield from sorted(found, key=lambda one: (one.lineno, one.col_offset))


def _is_door(node: ast.expr) -> bool:
    return isinstance(node, ast.Name) and node.id == "door"


def _called(node: ast.expr) -> str:
    assert isinstance(node, ast.Attribute | ast.Name), ast.dump(node)
    return node.attr if isinstance(node, ast.Attribute) else node.id


def _crossings(module: str, function: ast.FunctionDef) -> Iterator[tuple[Side, str]]:
    for call in _in_order(function):
        func = call.func
        if isinstance(func, ast.Attribute) and _is_door(func.value) and func.attr == "write":
            name = _called(call.args[0])
            act = name.strip("_")
            yield Side.BEFORE, act
            if act in LONG:
                yield Side.AMID, act
            if isinstance(call.args[0], ast.Name):  # a function of ours that makes several calls
                own = _function(module, name)
                assert own is not None
                yield from _crossings(*own)
            yield Side.AFTER, act
        elif isinstance(func, ast.Attribute) and _is_door(func.value) and func.attr == "cross":
            side, act_said = call.args
            assert isinstance(side, ast.Attribute)
            assert isinstance(act_said, ast.Constant)
            yield Side[side.attr], str(act_said.value)
        elif any(_is_door(argument) for argument in call.args):
            own = (
                _function(func.value.id, func.attr)
                if isinstance(func, ast.Attribute) and isinstance(func.value, ast.Name)
                else _function(module, _called(func))
            )
            if own is not None:
                yield from _crossings(*own)


@cache
def crossings() -> dict[str, tuple[Crossing, ...]]:
    """Every crossing of every step of the door to libvirt, by the step's name, each once."""
    carry_out = _module(ROOM / "libvirthost.py").functions["_carry_out"]
    [choice] = [node for node in carry_out.body if isinstance(node, ast.Match)]
    found: dict[str, tuple[Crossing, ...]] = {}
    for case in choice.cases:
        if not isinstance(case.pattern, ast.MatchClass):
            continue
        step = _called(case.pattern.cls)
        [call] = [one for one in _in_order(case) if any(map(_is_door, one.args))]
        assert isinstance(call.func, ast.Attribute)
        assert isinstance(call.func.value, ast.Name)
        own = _function(call.func.value.id, call.func.attr)
        assert own is not None
        sides = [(Side.AFTER, INTENT), *_crossings(*own), (Side.BEFORE, OUTCOME)]
        sides.append((Side.AFTER, OUTCOME))
        found[step] = tuple(
            Crossing(step=step, side=side, act=act) for side, act in dict.fromkeys(sides)
        )
    return found


def everywhere() -> frozenset[str]:
    """The names of all crossings."""
    return frozenset(str(one) for points in crossings().values() for one in points)
