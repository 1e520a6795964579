"""Examine hosts, repository and the controller's own state, for ``domops doctor``.

Each host is asked on a thread of its own, and one deadline holds for all.
"""

from __future__ import annotations

import os
import shutil
import threading
from typing import TYPE_CHECKING

from reconciler.controller.lease import is_held
from reconciler.controller.results import Look, PassResult
from reconciler.errors import DomopsError
from reconciler.model.checkup import Check, Finding, Judgement
from reconciler.model.observed import ObservedHost
from reconciler.planner.checkup import check_up, paths_of

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping
    from pathlib import Path

    from reconciler.hypervisor.port import Host
    from reconciler.model.checkup import Inspection
    from reconciler.model.names import HostName

_LEAST_FREE_BYTES = 256 << 20
"""The journal and the copy of a repository grow slowly; less than this is a disk about to fill."""


def examine(
    look: Look | PassResult, host_named: Callable[[HostName], Host], *, patience_s: float
) -> tuple[Finding, ...]:
    """What is to be said of the commit and of every host that the world in force names."""
    findings = list(_commit(look))
    if not isinstance(look, Look):
        return tuple(findings)
    answered = {
        name: host_named(name)
        for name, host in look.observed.hosts.items()
        if isinstance(host, ObservedHost) and name in look.world.hosts
    }
    paths = {name: paths_of(look.world, look.world.hosts[name]) for name in answered}
    findings.extend(
        check_up(
            look.world,
            look.observed,
            inspections=inspect_all(answered, paths=paths, patience_s=patience_s),
            memory=look.memory,
            now=look.now,
        )
    )
    return tuple(findings)


def _commit(look: Look | PassResult) -> Iterator[Finding]:
    standing = look.standing
    problems = standing.problems if standing is not None else ()
    if problems:
        first = problems[0]
        more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
        yield Finding(
            check=Check.MANIFESTS,
            host=None,
            judgement=Judgement.PROBLEM,
            message=f"{first.path}:{first.line}: {first.sentence}{more}",
            advice="domops validate shows every problem with its place",
        )
    else:
        yield Finding(
            check=Check.MANIFESTS,
            host=None,
            judgement=Judgement.OK,
            message="the newest commit that can be read has no problem",
        )
    world = look.world
    if standing is not None and standing.trouble is not None:
        yield Finding(
            check=Check.COMMIT,
            host=None,
            judgement=Judgement.PROBLEM,
            message=standing.trouble,
            advice="until it is mended the last good commit stays in force",
        )
    elif world is None:
        yield Finding(
            check=Check.COMMIT,
            host=None,
            judgement=Judgement.PROBLEM,
            message="no commit is in force: there never was a good one",
            advice="mend the manifests, or look whether --repo, --ref and --path are right",
        )
    else:
        yield Finding(
            check=Check.COMMIT,
            host=None,
            judgement=Judgement.OK,
            message=f'{world.commit.sha[:10]} "{world.commit.subject}" is in force',
        )


def examine_state(directory: Path) -> Iterator[Finding]:
    """What is to be said of the state directory and of the controller that works on it."""
    nearest = next(one for one in (directory, *directory.parents) if one.exists())
    free = shutil.disk_usage(nearest).free
    if not os.access(nearest, os.W_OK):
        yield Finding(
            check=Check.STATE_DIRECTORY,
            host=None,
            judgement=Judgement.NOTICE,
            message=f"{directory} cannot be written to by whoever runs this",
            advice="run domops doctor as the user of the controller, or name --state-dir",
        )
    elif free < _LEAST_FREE_BYTES:
        yield Finding(
            check=Check.STATE_DIRECTORY,
            host=None,
            judgement=Judgement.PROBLEM,
            message=f"{free >> 20} MiB are free under {directory}: no journal, no step",
            advice="make room there",
        )
    else:
        yield Finding(
            check=Check.STATE_DIRECTORY,
            host=None,
            judgement=Judgement.OK,
            message=f"{directory} can be written to",
        )
    if is_held(directory):
        yield Finding(
            check=Check.CONTROLLER,
            host=None,
            judgement=Judgement.OK,
            message="a controller works on this state directory",
        )
    else:
        yield Finding(
            check=Check.CONTROLLER,
            host=None,
            judgement=Judgement.NOTICE,
            message=f"no controller works on {directory}: nothing is kept as it should be",
            advice="systemctl start domops, or domops run",
        )


def inspect_all(
    hosts: Mapping[HostName, Host],
    *,
    paths: Mapping[HostName, Collection[str]],
    patience_s: float,
) -> Mapping[HostName, Inspection | str]:
    """What each host said within ``patience_s`` seconds, or why it did not."""
    said: dict[HostName, Inspection | str] = {}
    changed = threading.Condition()

    def ask(name: HostName, host: Host) -> None:
        answer: Inspection | str
        try:
            answer = host.inspect(paths[name])
        except DomopsError as error:
            answer = str(error)
        except Exception as error:  # noqa: BLE001 - a defect at one host must not silence the others
            answer = f"unforeseen {type(error).__name__} while examining: {error}"
        with changed:
            said[name] = answer
            changed.notify_all()

    for name, host in hosts.items():
        threading.Thread(
            target=ask, args=(name, host), name=f"{name}: examining", daemon=True
        ).start()
    with changed:
        changed.wait_for(lambda: len(said) == len(hosts), patience_s)
        return {name: said.get(name, f"no answer in {patience_s:g} s") for name in hosts}
