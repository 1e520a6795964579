"""The story: each step does one thing to the repository or to a guest, and asserts what follows."""

from __future__ import annotations

import subprocess
from functools import partial
from typing import TYPE_CHECKING, cast

import libvirt

from tests.demo.stage import AROUND, HOST, POOLS, guest_manifest

if TYPE_CHECKING:
    from tests.demo.stage import Stage
    from tests.demo.telling import Teller
    from tests.lab.qemu import Says

MIB = 1024 * 1024
_NEAR_KB = 8 * 1024
GUESTS = ("dns", "lists", "web")
DATA = "members: 1204"


class Story:
    """One telling; the steps are its methods, in the order of ``tell``."""

    def __init__(self, stage: Stage, teller: Teller) -> None:
        """Play on ``stage`` and tell by ``teller``."""
        self._stage = stage
        self._tell = teller
        self._small: Says | None = None
        self._sized = ""
        self._grown = ""
        self._deleted = ""

    def tell(self) -> None:
        """The whole story, in order."""
        for step in (
            self.guests_come_up,
            self.a_commit_adds_memory_and_a_vcpu,
            self.a_commit_grows_a_disk,
            self.a_guest_that_crashes_comes_back,
            self.drift_is_put_right,
            self.a_bad_commit_changes_nothing,
            self.revert_of_the_size,
            self.revert_of_the_growth,
            self.a_deletion_is_held,
            self.an_approval_lets_it_through,
            self.revert_brings_the_guest_back,
            self.a_second_apply_does_nothing,
        ):
            step()

    def guests_come_up(self) -> None:
        """Three manifests are committed, and three guests speak."""
        self._tell.step("A commit with three guests: dns, lists and web")
        files = {"pools/main.yaml": POOLS, "around.yaml": AROUND}
        files["hosts/dom0-a.yaml"] = HOST.format(uri=self._stage.host.uri)
        for name in GUESTS:
            files[f"guests/{name}.yaml"] = guest_manifest(name)
        self._stage.repository.commit("Three guests", dict(files))
        planned = self._stage.domops("plan")
        self._tell.note(planned.stdout or planned.stderr)
        self._tell.check(planned.returncode == 1, "domops plan has something to do")
        self._stage.start_controller()
        for name in GUESTS:
            said = self._stage.console(name).wait_for(
                # The balloon is filled in the first seconds after the start.
                lambda said: (
                    said.cpus == 1
                    and said.disks.get("vda") == 64 * MIB
                    and said.mem_kb < 192 * 1024
                ),
                what=f"{name} speaks with 1 CPU, 192 MiB and a disk of 64 MiB",
                within_s=120,
            )
            self._tell.guest(name, said)
            self._tell.check("eth0" in said.nics, f"{name} has a NIC, eth0")
        self._settle()

    def a_commit_adds_memory_and_a_vcpu(self) -> None:
        """A running guest grows, without a restart."""
        self._tell.step("A commit gives lists more memory and a second CPU")
        self._small = self._latest("lists")
        bigger = {"guests/lists.yaml": guest_manifest("lists", cpus=2, memory=320)}
        self._sized, soon_s = self._stage.until_written(
            lambda: self._stage.repository.commit("Give lists 320 MiB and 2 CPUs", dict(bigger))
        )
        self._tell.note(f"commit -> first write at the host's libvirt: {soon_s * 1000:.0f} ms")
        small = self._small
        said = self._stage.console("lists").wait_for(
            lambda said: said.cpus == 2 and abs(said.mem_kb - small.mem_kb - 128 * 1024) < _NEAR_KB,
            what="lists has 2 CPUs and 128 MiB more",
            within_s=60,
        )
        self._tell.guest("lists", said)
        self._same_boot(said, small, "lists was not restarted for memory and a CPU")

    def a_commit_grows_a_disk(self) -> None:
        """A running guest sees a larger disk."""
        self._tell.step("A commit grows the disk of lists from 64 to 96 MiB")
        before = self._latest("lists")
        larger = guest_manifest("lists", cpus=2, memory=320, disk=96)
        self._grown = self._stage.repository.commit("Grow lists", {"guests/lists.yaml": larger})
        said = self._stage.console("lists").wait_for(
            lambda said: said.disks.get("vda") == 96 * MIB,
            what="lists sees a disk of 96 MiB",
            within_s=60,
        )
        self._tell.guest("lists", said)
        self._same_boot(said, before, "lists was not restarted for a larger disk")

    def a_guest_that_crashes_comes_back(self) -> None:
        """A kernel panic is healed."""
        self._tell.step("The kernel of web panics")
        before = self._latest("web")
        self._stage.agent("web").crash()
        said = self._stage.console("web").wait_for(
            lambda said: said.boot != before.boot, what="web speaks again", within_s=90
        )
        self._tell.guest("web", said)
        self._settle()

    def drift_is_put_right(self) -> None:
        """``virsh setmem`` behind domops' back is undone."""
        self._tell.step("Somebody takes memory from dns: virsh setmem dns 160MiB --live")
        before = self._latest("dns")
        subprocess.run(
            ["virsh", "-q", "-c", self._stage.host.uri, "setmem", "dns", "160MiB", "--live"],
            check=True,
        )
        console = self._stage.console("dns")
        said = console.wait_for(
            lambda said: (
                abs(said.mem_kb - before.mem_kb) < _NEAR_KB
                and any(abs(was.mem_kb - before.mem_kb) >= _NEAR_KB for was in console.said[-60:])
            ),
            what="dns had less memory and has it back",
            within_s=90,
        )
        self._tell.guest("dns", said)
        self._same_boot(said, before, "dns was not restarted to get its memory back")

    def a_bad_commit_changes_nothing(self) -> None:
        """A commit that does not validate is refused as a whole, and said so."""
        self._tell.step("A commit with a mistake: memory 20G")
        before = {name: self._latest(name).boot for name in GUESTS}
        good = guest_manifest("lists", cpus=2, memory=320, disk=96)
        bad = good.replace("320MiB", "20G")
        refused = self._stage.repository.commit("Oops", {"guests/lists.yaml": bad})
        done = self._stage.domops("validate", str(self._stage.repository.folder))
        self._tell.note(done.stdout or done.stderr)
        self._tell.check(done.returncode == 1, "domops validate exits with 1")
        self._tell.check("guests/lists.yaml:8" in done.stdout, "the problem names file and line")
        self._stage.until(
            "the controller tells of the refused commit",
            lambda: refused[:7] in self._stage.domops("events").stdout,
        )
        said = self._stage.console("lists").wait_for(
            lambda said: said.cpus == 2, what="lists goes on", within_s=30
        )
        self._tell.guest("lists", said)
        after = {name: self._latest(name).boot for name in GUESTS}
        self._tell.check(before == after, "no guest was restarted by a bad commit")
        self._stage.repository.revert(refused)
        self._settle()

    def revert_of_the_size(self) -> None:
        """Memory shrinks live; the CPU needs a restart, and that is said, not done."""
        self._tell.step("git revert of the commit that gave lists memory and a CPU")
        before = self._latest("lists")
        small = self._small
        if small is None:
            return
        self._stage.repository.revert(self._grown)
        self._stage.repository.revert(self._sized)
        said = self._stage.console("lists").wait_for(
            lambda said: abs(said.mem_kb - small.mem_kb) < _NEAR_KB,
            what="lists is back at its old memory",
            within_s=60,
        )
        self._tell.guest("lists", said)
        self._tell.check(said.cpus == 2, "the CPU is still there")
        self._same_boot(said, before, "lists was not restarted by the revert")
        self._stage.until(
            "lists is said to need a restart for the CPU",
            lambda: self._fate("lists", "cpus") == ("waiting", "NeedsRestart"),
        )
        self._tell.note(self._stage.domops("get", "guests").stdout)

    def revert_of_the_growth(self) -> None:
        """A disk never shrinks, and that is said."""
        self._tell.step("The growth of the disk went with that revert: the disk stays as it is")
        self._stage.until(
            "the smaller disk is refused",
            lambda: self._fate("lists", "disks[data].size") == ("refused", "NeverShrinks"),
        )
        said = self._latest("lists")
        self._tell.check(said.disks["vda"] == 96 * MIB, "the disk stays at 96 MiB")
        self._tell.note(self._stage.domops("diff", "lists").stdout)

    def a_deletion_is_held(self) -> None:
        """Two deletions where one a day is allowed: both wait for a person."""
        self._tell.step("A commit deletes dns and web; the budget allows one deletion a day")
        self._stage.agent("web").write("vda", DATA)
        self._stage.console("web").wait_for(
            lambda said: said.data.get("vda") == DATA, what="web reads what was written"
        )
        self._deleted = self._stage.repository.commit(
            "Delete dns and web", {"guests/dns.yaml": None, "guests/web.yaml": None}
        )
        self._stage.until("both are held", lambda: len(self._held()) == 1)
        self._tell.note(self._stage.domops("plan").stdout)
        for name in ("dns", "web"):
            self._tell.check(self._active(name), f"{name} still runs")

    def an_approval_lets_it_through(self) -> None:
        """A commit that names the plan's id approves it."""
        plan_id = self._held()[0]
        self._tell.step(f"A commit says Domops-Approve: {plan_id}")
        self._stage.repository.commit("Yes, both", {}, trailer=f"Domops-Approve: {plan_id}")
        for name in ("dns", "web"):
            self._stage.until(f"{name} is off", partial(self._off, name), 120)
            self._tell.check(
                "trash" in self._stored(name), f"{name} is still defined, and in the trash"
            )
        self._tell.note(self._stage.domops("get", "guests").stdout)

    def revert_brings_the_guest_back(self) -> None:
        """What was deleted comes back whole."""
        self._tell.step("git revert of the deletion")
        self._stage.repository.revert(self._deleted)
        said = self._stage.console("web").wait_for(
            lambda said: said.data.get("vda") == DATA,
            what="web is back, with its data",
            within_s=120,
        )
        self._tell.guest("web", said)
        self._settle()

    def a_second_apply_does_nothing(self) -> None:
        """What is as it should be is left alone: no step, no writing call."""
        self._tell.step("The controller stops; domops apply, twice")
        self._stage.stop_controller()
        self._stage.domops("apply", "--yes")
        stored = {name: self._stored(name) for name in GUESTS}
        began = len(self._stage.domops("events", "-n", "1000").stdout)
        done = self._stage.domops("apply", "--yes")
        self._tell.note(done.stdout or done.stderr)
        self._tell.check("Nothing now" in done.stdout, "the second apply has nothing to do")
        after = len(self._stage.domops("events", "-n", "1000").stdout)
        self._tell.check(began == after, "the second apply began no step")
        self._tell.check(
            stored == {name: self._stored(name) for name in GUESTS},
            "no stored definition changed by a byte",
        )

    def _latest(self, guest: str) -> Says:
        """What a guest says next."""
        return self._stage.console(guest).wait_for(
            lambda _: True, what=f"{guest} speaks", within_s=60
        )

    def _same_boot(self, now: Says, before: Says, what: str) -> None:
        self._tell.check(now.boot == before.boot, what)

    def _settle(self) -> None:
        """Wait until nothing is left to do now; what needs a person may stay."""
        self._stage.until("nothing is left to do now", self._is_settled, 90)

    def _is_settled(self) -> bool:
        moving = [one for one in self._changes("plan") if one["fate"] in ("now", "running")]
        return not moving

    def _changes(self, command: str) -> list[dict[str, object]]:
        plan = cast("dict[str, object]", self._stage.json(command))
        return cast("list[dict[str, object]]", plan["changes"])

    def _fate(self, guest: str, field: str) -> tuple[object, object] | None:
        for change in self._changes("plan"):
            if change["guest"] == guest and change["field"] == field:
                return change["fate"], change["reason"]
        return None

    def _held(self) -> list[str]:
        plan = cast("dict[str, object]", self._stage.json("plan"))
        held = cast("list[dict[str, object]]", plan["held"])
        return [str(one["planId"]) for one in held]

    def _active(self, guest: str) -> bool:
        return bool(self._stage.connection.lookupByName(guest).isActive())

    def _off(self, guest: str) -> bool:
        return not self._active(guest)

    def _stored(self, guest: str) -> str:
        domain = self._stage.connection.lookupByName(guest)
        return str(domain.XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE))
