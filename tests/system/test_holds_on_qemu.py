"""A real guest is taken out of our hands, renamed while it runs, and restarted in its window only.

One guest, one story: each boot is dear. Its domain is called otherwise than the guest from half way
on.
"""

import contextlib
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import libvirt
import pytest

from reconciler.bootstrap import Opened
from reconciler.model.names import GuestName
from reconciler.model.plan import Change, GuestStatus, Reason
from tests.demo.stage import POOLS, guest_manifest
from tests.lab.cache import CHECKOUT
from tests.lab.qemu import Agent, QemuHost, QemuLab
from tests.system.ground import Ground, begin, converge

pytestmark = [pytest.mark.system, pytest.mark.slow, pytest.mark.timeout(600)]

DOMAIN = "lists"
FILE = "guests/lists.yaml"
TOOLS = Path(sys.executable).parent
HOW_TO = CHECKOUT / "docs/how-to/take-a-guest-out.md"
WITHIN_S = 120


def _manifest(*, name: str = DOMAIN, former: str = "", most: int = 384) -> str:
    said = f"{{name: {name}, formerName: {former}}}" if former else f"{{name: {name}}}"
    text = guest_manifest(DOMAIN).replace(f"{{name: {DOMAIN}}}", said, 1)
    return text.replace("max: 384MiB", f"max: {most}MiB") + "  update: {restart: window}\n"


def _pools(cron: str) -> str:
    return POOLS + f'  windows: [{{allow: "{cron}", for: 1h, acts: [restart]}}]\n'


def _script(folder: Path) -> Path:
    """The example of the how-to, as a reader would copy it."""
    [text] = [
        block.split("```")[0]
        for block in HOW_TO.read_text().split("```sh\n")
        if block.startswith("#!/bin/sh")
    ]
    script = folder / "save-guest"
    script.write_text(text)
    script.chmod(0o755)
    return script


def _run(ground: Ground, *words: str) -> str:
    """Run a command as a person would beside the service, and return what it said."""
    environment = {
        **os.environ,
        "PATH": f"{TOOLS}:{os.environ['PATH']}",
        "LIBVIRT_DEFAULT_URI": ground.host.uri,
        "DOMOPS_REPOSITORY": str(ground.repository.folder),
        "DOMOPS_STATE_DIR": str(ground.state),
        "DOMOPS_KERNEL_PREFIXES": "/boot",
    }
    done = subprocess.run(
        words, capture_output=True, text=True, env=environment, timeout=300, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@contextmanager
def _running(opened: Opened) -> Iterator[None]:
    """The controller makes its passes, as a service does."""
    stop = threading.Event()
    loop = threading.Thread(target=opened.controller.run, args=(stop, lambda _: None), daemon=True)
    loop.start()
    try:
        yield
    finally:
        stop.set()
        loop.join(WITHIN_S)
    assert not loop.is_alive()


def _until(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + WITHIN_S
    while not condition():
        assert time.monotonic() < deadline, what
        threading.Event().wait(0.1)


@contextmanager
def _domain(host: QemuHost) -> Iterator[libvirt.virDomain]:
    with contextlib.closing(host.connect()) as connection:
        yield connection.lookupByName(DOMAIN)


def _wait_for_boot(host: QemuHost) -> None:
    with _domain(host) as domain:
        Agent(domain).wait(WITHIN_S)


def _status(opened: Opened, name: str = DOMAIN) -> GuestStatus | None:
    """The guest as the last pass saw it."""
    sight = opened.latest.sight
    return sight.plan.statuses.get(GuestName(name)) if sight and sight.plan else None


def test_a_guest_is_suspended_renamed_and_restarted_in_its_window(tmp_path: Path) -> None:
    with QemuLab() as lab:
        ground = begin(tmp_path, lab.host)
        ground.repository.commit("A guest", {FILE: _manifest()})
        with ground.controller() as opened:
            converge(opened)
            _wait_for_boot(lab.host)
            with _running(opened):
                _is_copied_undisturbed(ground, tmp_path)
                _is_healed_only_after_it_was_resumed(ground, opened)
            _is_renamed_while_it_runs(ground, opened)
            _wait_for_boot(lab.host)
            _is_restarted_in_the_window_only(ground, opened)


def _is_copied_undisturbed(ground: Ground, folder: Path) -> None:
    """The how-to's own script shuts the guest down; nobody starts it before the copy is whole."""
    target = folder / "copy.raw"
    before = ground.running()[DOMAIN]
    _run(ground, str(_script(folder)), DOMAIN, "guests", f"{DOMAIN}-data.raw", str(target))
    assert target.stat().st_size == 64 << 20
    assert not target.with_name("copy.raw.part").exists()
    assert ground.running()[DOMAIN] == before + 1, "started once, and by the script"


def _is_healed_only_after_it_was_resumed(ground: Ground, opened: Opened) -> None:
    _run(ground, "domops", "suspend", DOMAIN, "--reason", "a look", "--wait")
    with _domain(ground.host) as domain:
        domain.destroy()
    at = datetime.now(UTC)

    def seen_down_for_long() -> bool:
        sight, status = opened.latest.sight, _status(opened)
        long_after = sight is not None and sight.now > at + timedelta(seconds=6)
        opened.wakeups.put(DOMAIN)
        return long_after and status is not None and status.state == "shut off"

    _until(seen_down_for_long, "no pass saw it down after heal.after")
    status = _status(opened)
    assert status is not None
    assert [one.reason for one in status.changes] == [Reason.SUSPENDED]
    assert "a look" in status.changes[0].message
    assert DOMAIN not in ground.running()
    assert "suspended" in _run(ground, "domops", "get", "guests")
    _run(ground, "domops", "resume", DOMAIN)
    _until(lambda: DOMAIN in ground.running(), "it was not healed")


def _is_renamed_while_it_runs(ground: Ground, opened: Opened) -> None:
    converge(opened)
    before, stored = ground.running(), ground.stored()
    ground.repository.commit("Call it site", {FILE: _manifest(name="site", former=DOMAIN)})
    writes = ground.writes
    plan = converge(opened).last.plan
    assert plan is not None
    assert ground.writes == writes + 1, "the mark"
    assert ground.running() == before, "the same boot goes on"
    after = ground.stored()
    assert after.keys() == stored.keys()
    assert _without_mark(after[DOMAIN]) == _without_mark(stored[DOMAIN])
    assert plan.statuses.keys() == {"site"}
    assert plan.statuses[GuestName("site")].domain == DOMAIN
    assert f"site (domain {DOMAIN})" in _run(ground, "domops", "get", "guests")


def _without_mark(text: str) -> str:
    return text.split("<domops:guest ", maxsplit=1)[0] + text.split("</domops:guest>")[1]


def _memory(opened: Opened) -> Change:
    plan = converge(opened).last.plan
    assert plan is not None
    [change] = plan.statuses[GuestName("site")].changes
    return change


def _is_restarted_in_the_window_only(ground: Ground, opened: Opened) -> None:
    before = ground.running()[DOMAIN]
    opens = datetime.now(UTC) + timedelta(hours=12)
    closed = _pools(f"0 {opens.hour} * * *")
    more = _manifest(name="site", most=400)
    ground.repository.commit("More, in the window", {FILE: more, "pools/main.yaml": closed})
    change = _memory(opened)
    assert change.reason is Reason.WINDOW
    assert change.until == opens.replace(minute=0, second=0, microsecond=0)
    assert f"opens {opens:%Y-%m-%d %H}:00 UTC" in change.message
    assert ground.running()[DOMAIN] == before
    ground.repository.commit("It is open all day", {"pools/main.yaml": _pools("0 * * * *")})
    plan = converge(opened).last.plan
    assert plan is not None
    assert not plan.statuses[GuestName("site")].changes
    assert ground.running()[DOMAIN] == before + 1
