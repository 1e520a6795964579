"""Build which guests come first, and see that none waits for itself."""

from __future__ import annotations

from graphlib import CycleError, TopologicalSorter
from typing import TYPE_CHECKING

from reconciler.manifests.entries import Complaint, dangling
from reconciler.model.desired import DesiredGuest, OpenPort, StartAfter
from reconciler.model.names import GuestName

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from typing import Protocol

    from reconciler.manifests.construct import Key
    from reconciler.manifests.drafts import Draft, Flawed
    from reconciler.manifests.entries import Entry

    class HasEntry(Protocol):
        """Something that was built out of an entry."""

        @property
        def entry(self) -> Entry:
            """The entry."""
            ...


def start_after(draft: Draft) -> tuple[StartAfter, ...]:
    """The guests that must be ready first, in the order written."""
    entries: list[StartAfter] = []
    for index, spec in enumerate(draft.spec.start_after):
        path: tuple[Key, ...] = ("spec", "startAfter", index)
        ready = spec.ready
        if (ready.tcp is None) != (ready.address is None):
            missing = "tcp" if ready.tcp is None else "address"
            hint = "write both, as in ready: {tcp: 53, address: 10.0.0.53}"
            draft.complain((*path, "ready", missing), "missing", hint)
        if spec.guest == draft.name:
            draft.complain(path, "a guest cannot wait for itself", "take it out")
        elif any(one.guest == spec.guest for one in entries):
            draft.complain(path, f'"{spec.guest}" is there twice', "take one out")
        port = None
        if ready.tcp is not None and ready.address is not None:
            port = OpenPort(address=ready.address, port=ready.tcp)
        entries.append(
            StartAfter(
                guest=GuestName(spec.guest),
                agent=ready.state == "agent",
                port=port,
                timeout_s=spec.timeout,
            )
        )
    if entries and draft.spec.autostart == "on":
        draft.complain(
            ("spec", "autostart"),
            "libvirt would start the guest together with its host, before those of startAfter",
            "write auto or off, or take startAfter out",
        )
    return tuple(entries)


def problems_of_order(
    built: Mapping[str, HasEntry],
    outcomes: Mapping[str, DesiredGuest | Flawed],
    suspects: frozenset[str],
) -> Iterator[tuple[str, Complaint]]:
    """Each guest that waits for what cannot come, with the complaint at its manifest."""
    waits = {name: one.start_after for name, one in outcomes.items() if one.start_after}
    for name, entries in waits.items():
        entry = built[name].entry
        for one in entries:
            path = _path(entry, one.guest)
            other = outcomes.get(one.guest)
            if other is None and one.guest not in suspects:
                yield name, dangling(path, "Guest", one.guest, outcomes)
            if one.agent and isinstance(other, DesiredGuest) and not other.agent:
                message = f'"{one.guest}" has no channel for a guest agent'
                yield name, Complaint(path=path, message=message, hint="write agent: true there")
    for cycle in _cycles(waits):
        yield cycle[0], _endless(cycle, built)


def _cycles(waits: Mapping[str, tuple[StartAfter, ...]]) -> Iterator[tuple[str, ...]]:
    """Circles of guests that wait for one another, each cut open at its first name."""
    graph = {name: {one.guest for one in entries} - {name} for name, entries in waits.items()}
    while True:
        try:
            TopologicalSorter(graph).prepare()
        except CycleError as error:
            # Each name in it is waited for by the next one, and the last is the first again.
            found: list[str] = error.args[1][:0:-1]
            first = found.index(min(found))
            cycle = (*found[first:], *found[:first])
            yield cycle
            graph[cycle[0]] = graph[cycle[0]] - {GuestName(cycle[1])}
        else:
            return


def _endless(cycle: tuple[str, ...], built: Mapping[str, HasEntry]) -> Complaint:
    following = (*cycle[1:], cycle[0])
    places = [
        f'"{name}" ({built[name].entry.place_of(*_path(built[name].entry, after))})'
        for name, after in zip(cycle, following, strict=True)
    ]
    return Complaint(
        path=_path(built[cycle[0]].entry, following[0]),
        message=f'each of these would wait for the next: {" → ".join(places)} → "{cycle[0]}"',
        hint="take one of the entries out",
    )


def _path(entry: Entry, guest: str) -> tuple[Key, ...]:
    """Where the manifest says that it waits for ``guest``, or names the class that does."""
    entries = entry.document.spec.get("startAfter", ())
    for index, value in enumerate(entries if isinstance(entries, tuple) else ()):
        if value == guest or (isinstance(value, dict) and value.get("guest") == guest):
            return "spec", "startAfter", index
    return "spec", "class"
