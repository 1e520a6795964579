"""Act inside a guest, as the person who sits in it would: through the QEMU guest agent.

Nothing of domops uses this. It is how a test lets a guest crash, power itself off or write to its
disk. The definition needs the agent's channel, ``org.qemu.guest_agent.0``.
"""

import base64
import json
import time
from typing import cast

import libvirt
import libvirt_qemu

from tests.lab.qemu.errors import LabError

ANSWER_WITHIN_S = 5
ASK_AGAIN_AFTER_S = 0.05


class Agent:
    """A way into one running guest."""

    def __init__(self, domain: libvirt.virDomain) -> None:
        """Make an agent's client for a guest; nothing is asked yet."""
        self._domain = domain

    def wait(self, within_s: float = 30.0) -> None:
        """Return when the agent in the guest answers."""
        deadline = time.monotonic() + within_s
        while True:
            try:
                self._ask("guest-ping")
            except libvirt.libvirtError as error:
                if time.monotonic() > deadline:
                    raise LabError(f"the agent of {self._domain.name()} is silent") from error
                time.sleep(ASK_AGAIN_AFTER_S)  # an agent is asked and never tells
            else:
                return

    def wait_for_mount(self, disk: str, within_s: float = 120.0) -> None:
        """Return when the agent answers and the guest has mounted a disk, which comes after it."""
        self.wait(within_s)
        deadline = time.monotonic() + within_s
        while not self.run(f"grep ' /mnt/{disk} ' /proc/mounts || true"):
            if time.monotonic() > deadline:
                raise LabError(f"{self._domain.name()} did not mount {disk}")
            time.sleep(ASK_AGAIN_AFTER_S)  # an agent is asked and never tells

    def run(self, script: str, within_s: float = 20.0) -> str:
        """Run a shell script in the guest and return what it printed."""
        asked = {"path": "/bin/sh", "arg": ["-c", script], "capture-output": True}
        pid = self._ask("guest-exec", asked)["pid"]
        deadline = time.monotonic() + within_s
        while not (status := self._ask("guest-exec-status", {"pid": pid}))["exited"]:
            if time.monotonic() > deadline:
                raise LabError(f"{script!r} still runs in {self._domain.name()}")
            time.sleep(ASK_AGAIN_AFTER_S)  # an agent is asked and never tells
        printed = base64.b64decode(str(status.get("out-data", ""))).decode()
        if status.get("exitcode") != 0:
            complaint = base64.b64decode(str(status.get("err-data", ""))).decode()
            raise LabError(f"{script!r} in {self._domain.name()}: {status}: {complaint}")
        return printed

    def freeze_status(self) -> str:
        """``frozen`` or ``thawed``, of the guest's file systems; also a frozen guest says it."""
        return str(self._answer("guest-fsfreeze-status"))

    def begin(self, script: str) -> None:
        """Start a shell script in the guest, and do not wait for it: it may be its last."""
        self._ask("guest-exec", {"path": "/bin/sh", "arg": ["-c", script]})

    def write(self, disk: str, text: str) -> None:
        """Write ``text`` into the file ``data`` of a mounted disk; it is on the disk on return.

        The guest says it from then on, and so does every later boot with that disk.
        """
        self.run(f"printf '%s\\n' '{text}' > /mnt/{disk}/data && sync")

    def crash(self) -> None:
        """Make the guest's kernel panic."""
        self.begin("sleep 0.2; echo 1 > /proc/sys/kernel/sysrq; echo c > /proc/sysrq-trigger")

    def power_off(self) -> None:
        """Shut the guest down from inside, in good order, deaf or not."""
        self.begin("sleep 0.2; /bin/shutdown --anyway -P")

    def reboot(self) -> None:
        """Boot the guest anew from inside, in good order, deaf or not."""
        self.begin("sleep 0.2; /bin/shutdown --anyway -r")

    def _ask(self, command: str, arguments: dict[str, object] | None = None) -> dict[str, object]:
        return cast("dict[str, object]", self._answer(command, arguments))

    def _answer(self, command: str, arguments: dict[str, object] | None = None) -> object:
        question: dict[str, object] = {"execute": command}
        if arguments:
            question["arguments"] = arguments
        answer = libvirt_qemu.qemuAgentCommand(
            self._domain, json.dumps(question), ANSWER_WITHIN_S, 0
        )
        return cast("object", json.loads(answer)["return"])
