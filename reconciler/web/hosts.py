"""A reader of statistics for each host of the last pass, opened when it is first asked for."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from reconciler.errors import DomopsError
from reconciler.model.desired import HostState

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from reconciler.hypervisor.statistics import StatisticsReader
    from reconciler.model.desired import DesiredHost
    from reconciler.model.names import HostName
    from reconciler.recording.sight import Latest, Sight


class Readers:
    """The readers of the hosts that are looked at; those of hosts that left are let go."""

    def __init__(
        self, latest: Latest, reader_for: Callable[[DesiredHost], StatisticsReader]
    ) -> None:
        self._latest = latest
        self._reader_for = reader_for
        self._lock = threading.Lock()
        self._readers: dict[HostName, tuple[str, StatisticsReader]] = {}
        latest.hear(self._let_go)

    def hosts(self) -> Mapping[HostName, DesiredHost]:
        """The hosts that can be asked for, by name: those that the last pass looked at."""
        return _looked_at(self._latest.sight)

    def reader(self, host: DesiredHost) -> StatisticsReader | str:
        """The reader of ``host``, or why there can be none."""
        with self._lock:
            known = self._readers.get(host.name)
            if known is not None and known[0] == host.uri:
                return known[1]
            try:
                reader = self._reader_for(host)
            except DomopsError as error:
                return str(error)
            self._readers[host.name] = (host.uri, reader)
        if known is not None:
            known[1].close()
        return reader

    def close(self) -> None:
        """Let go of all."""
        with self._lock:
            readers, self._readers = self._readers, {}
        for _, reader in readers.values():
            reader.close()

    def _let_go(self, sight: Sight) -> None:
        """Let go of the readers of hosts that are gone."""
        if sight.world is None:
            return
        hosts = _looked_at(sight)
        with self._lock:
            gone = [self._readers.pop(name) for name in set(self._readers) - set(hosts)]
        for _, reader in gone:
            reader.close()


def _looked_at(sight: Sight | None) -> Mapping[HostName, DesiredHost]:
    hosts = sight.world.hosts if sight is not None and sight.world is not None else {}
    return {name: host for name, host in hosts.items() if host.state is not HostState.RETIRED}
