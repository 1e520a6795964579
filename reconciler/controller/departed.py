"""Find the hosts that left the repository without ``state: retired``: guests may still run there.

Two witnesses are asked. The journal remembers the hosts of the commits that were in force; git's
past tells of hosts that left before the journal began. What git says last counts: it is where a
person would have written that the host is retired.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from reconciler.errors import DomopsError
from reconciler.journal.records import KnownHost
from reconciler.manifests.kinds import Host
from reconciler.manifests.parse import parse_file
from reconciler.manifests.resolve import is_manifest
from reconciler.model.desired import HostState
from reconciler.model.memory import DepartedHost
from reconciler.model.names import HostName, PoolName

if TYPE_CHECKING:
    from collections.abc import Mapping

    from reconciler.journal.journal import Journal
    from reconciler.model.desired import DesiredWorld
    from reconciler.model.observed import ObservedWorld
    from reconciler.source.port import Blob, CommitInfo, HistoricChange, Source

_HOST = re.compile(rb"""\bkind["']?\s*:\s*["']?Host\b""")
_NAME = re.compile(rb"""\bname["']?\s*:\s*["']?([A-Za-z0-9][A-Za-z0-9._-]*)""")
_FOLDER_PREFIX = "folder:"


class Departures:
    """Keeps the journal's list of hosts in step with the commits in force."""

    def __init__(self, source: Source, journal: Journal) -> None:
        self._source = source
        self._journal = journal
        self._trouble: str | None = None
        self._last: DesiredWorld | None = None

    def take_into_force(self, world: DesiredWorld, head: CommitInfo | None = None) -> None:
        """Remember the hosts of ``world``, and which of those known before it has no more.

        ``head`` may say that the commit follows at once upon the one before it: if it names the
        same hosts, none has left, and git's past need not be looked through.

        Raises:
            TransientError: the journal cannot be written.
            StalledError: the journal is damaged.

        """
        if self._follows_at_once(world, head):
            self._journal.set_departed_scanned(world.commit.sha)
            self._last = world
            return
        known = self._journal.hosts()
        gone = [
            KnownHost(name=host.name, pool=host.pool, state=host.state, present=False)
            for host in known.values()
            if host.present and host.name not in world.hosts
        ]
        here = [
            KnownHost(name=host.name, pool=host.pool, state=host.state, present=True, uri=host.uri)
            for host in world.hosts.values()
        ]
        self._journal.know_hosts([*here, *gone])
        self._scan(world)
        self._last = world

    def _follows_at_once(self, world: DesiredWorld, head: CommitInfo | None) -> bool:
        """Whether nothing but this one commit lies between the last world and this one."""
        last = self._last
        return (
            last is not None
            and head is not None
            and head.sha == world.commit.sha
            and head.parents == (last.commit.sha,)
            and last.hosts == world.hosts
            and self._trouble is None
            and self._journal.departed_scanned() == last.commit.sha
        )

    def of(self, world: DesiredWorld, observed: ObservedWorld) -> tuple[DepartedHost, ...] | None:
        """The hosts that departed, or None while that is not known.

        A host whose machine answers under another name has not left: it was renamed.
        """
        if self._trouble is not None:
            return None
        answering = {host.uuid for host in observed.answered()}
        return tuple(
            DepartedHost(name=host.name, pool=host.pool)
            for host in self._gone(world)
            if host.uuid not in answering
        )

    def renamed(self, world: DesiredWorld, observed: ObservedWorld) -> frozenset[HostName]:
        """The hosts whose machine was known under a name that has left."""
        machines = {host.uuid for host in self._gone(world)}
        if not machines:
            return frozenset()
        return frozenset(host.name for host in observed.answered() if host.uuid in machines)

    def _gone(self, world: DesiredWorld) -> list[KnownHost]:
        return [
            host
            for host in sorted(self._journal.hosts().values(), key=lambda one: one.name)
            if not host.present
            and host.name not in world.hosts
            and host.state is not HostState.RETIRED
        ]

    @property
    def trouble(self) -> str | None:
        """Why it is not known which hosts departed, if it is not."""
        return self._trouble

    def _scan(self, world: DesiredWorld) -> None:
        sha = world.commit.sha
        scanned = self._journal.departed_scanned()
        if sha == scanned:
            return
        if sha.startswith(_FOLDER_PREFIX):
            return  # a folder has no past; what the journal knows is all there is
        try:
            changes = list(self._source.commits_touching(_HOST, until=sha, since=scanned))
            contents = _contents_of(self._source, changes)
        except DomopsError as error:
            self._trouble = f"which hosts have left the repository is not known: {error}"
            return
        # Newest first: the first removal met is the last word on a host.
        left: dict[HostName, KnownHost] = {}
        for change in changes:
            if not is_manifest(change.path):
                continue
            remaining = hosts_in(contents[change.after]) if change.after else {}
            for name, host in hosts_in(contents[change.before]).items():
                if name not in remaining:
                    left.setdefault(name, host)
        self._journal.know_hosts([host for name, host in left.items() if name not in world.hosts])
        self._journal.set_departed_scanned(sha)
        self._trouble = None


def _contents_of(source: Source, changes: list[HistoricChange]) -> Mapping[Blob, bytes]:
    both = (blob for change in changes for blob in (change.before, change.after))
    wanted = {blob for blob in both if blob is not None}
    return source.read(wanted) if wanted else {}


def hosts_in(content: bytes) -> dict[HostName, KnownHost]:
    """Find every Host that a file's text defines, also where the text is faulty.

    In a faulty document only the name can be trusted, so such a host counts as not retired.
    """
    parsed = parse_file(content)
    found = {
        HostName(document.name): KnownHost(
            name=HostName(document.name),
            pool=PoolName(manifest.spec.pool),
            state=HostState(manifest.spec.state),
            present=False,
        )
        for document in parsed.documents
        if document.kind == "Host" and isinstance(manifest := document.read(), Host)
    }
    if parsed.faults:
        for part in re.split(rb"^---", content, flags=re.MULTILINE):
            name = _NAME.search(part) if _HOST.search(part) else None
            if name is not None:
                host = HostName(name.group(1).decode())
                unknown = KnownHost(name=host, pool=None, state=HostState.ACTIVE, present=False)
                found.setdefault(host, unknown)
    return found
