"""Everything on a host is taken over: written down, adopted by the mark alone, and then managed."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest
from typer.testing import CliRunner, Result

from reconciler.cli.app import app
from reconciler.cli.opening import open_session
from reconciler.cli.session import Doors
from reconciler.cli.validating import read_folder
from reconciler.errors import DomopsError
from reconciler.model.memory import Memory
from reconciler.model.observed import ObservedWorld
from reconciler.model.plan import Label, Plan
from reconciler.model.policy import Policy
from reconciler.model.steps import DefineGuest, SetMark
from reconciler.planner import plan
from tests.mixes import MIXES
from tests.mixes.pretended import PretendedHost
from tests.mixes.taking_over import canonical, with_less_memory, without_mark

if TYPE_CHECKING:
    from pathlib import Path

    from reconciler.model.steps import Step


@pytest.fixture
def driver(tmp_path: Path) -> PretendedHost:
    return PretendedHost(tmp_path)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A repository that has a pool and nothing else."""
    folder = tmp_path / "manifests"
    assert CliRunner().invoke(app, ["init", str(folder)]).exit_code == 0
    return folder


def run(driver: PretendedHost, *words: str) -> Result:
    doors = Doors(opener=open_session, surveyor=lambda _name, _uri: driver.host)
    return CliRunner().invoke(app, ["import", *words], obj=doors)


def planned(driver: PretendedHost, folder: Path) -> Plan:
    """What a commit of the folder as it is would do."""
    _, resolved = read_folder(folder)
    assert resolved.problems == ()
    assert resolved.world is not None
    host = driver.host.observe()
    return plan(
        resolved.world,
        ObservedWorld(hosts={host.name: host}),
        operations=(),
        memory=Memory(departed=()),
        policy=Policy(steps_per_host=1000),
        now=datetime.now(UTC),
    )


def applied(driver: PretendedHost, folder: Path) -> list[Step]:
    """Pass after pass until nothing is left to do; the steps that were done."""
    done: list[Step] = []
    while steps := planned(driver, folder).steps:
        for one in steps:
            driver.host.carry_out(one.step)
            done.append(one.step)
        assert len(done) < 10 * len(MIXES), "no end"
    return done


def everything(driver: PretendedHost, folder: Path, *words: str) -> None:
    for text in MIXES.values():
        driver.define(text)
    result = run(driver, driver.uri, "--into", str(folder), *words)
    assert result.exit_code == 0, result.output


@pytest.mark.parametrize("layout", ["guest", "host"])
def test_all_mixes_are_adopted_by_the_mark_alone(
    driver: PretendedHost, folder: Path, layout: str
) -> None:
    everything(driver, folder, "--one-file-per", layout)
    before = driver.stored()
    changes = [
        (name, change.field, change.label)
        for name, status in planned(driver, folder).statuses.items()
        for change in status.changes
    ]
    assert changes == [(name, "", Label.ADOPT) for name in sorted(MIXES)]
    steps = applied(driver, folder)
    assert {type(step) for step in steps} == {SetMark}
    assert len(steps) == len(MIXES)
    after = driver.stored()
    assert {name: without_mark(text) for name, text in after.items()} == {
        name: without_mark(text) for name, text in before.items()
    }
    assert not [one for one in planned(driver, folder).statuses.values() if one.changes]
    files = sorted(path.name for path in (folder / "guests").glob("*.yaml"))
    expected = {"guest": sorted(f"{name}.yaml" for name in MIXES), "host": ["dom0-a.yaml"]}
    assert files == expected[layout]


def test_a_change_of_one_field_leaves_everything_else_as_it_is(
    driver: PretendedHost, folder: Path
) -> None:
    everything(driver, folder)
    applied(driver, folder)
    before = driver.stored()
    # A domain with NUMA cells has the memory of its cells, whatever else is said.
    names = [name for name in MIXES if name != "numa-and-slots"]
    for name in names:
        path = folder / f"guests/{name}.yaml"
        path.write_text(with_less_memory(path.read_text()))
    assert {type(step) for step in applied(driver, folder)} == {DefineGuest}
    after = driver.stored()
    for name in names:
        assert canonical(after[name]) != canonical(before[name])
        without = ("memory", "currentMemory")
        assert canonical(after[name], but=without) == canonical(before[name], but=without)
    assert "passwd='sesame'" in after["vnc-with-password"]


def test_no_secret_and_no_value_of_what_is_kept_is_written(
    driver: PretendedHost, folder: Path
) -> None:
    everything(driver, folder)
    written = "".join(path.read_text() for path in folder.glob("guests/*.yaml"))
    for secret in ("sesame", "s3cret", "s3cr3t-serial", "11111111-2222-4333-8444-555555555555"):
        assert secret not in written
    assert "metadata/libosinfo" not in written or "http://" not in written


def test_what_no_manifest_can_say_is_told_above_the_guest(
    driver: PretendedHost, folder: Path
) -> None:
    everything(driver, folder)
    text = (folder / "guests/disks-from-everywhere.yaml").read_text()
    comments = " ".join(line.lstrip("# ") for line in text.splitlines() if line.startswith("#"))
    for said in (
        "kept as it is: features, clock,",
        "devices/disk[vdi]/shareable",
        "disks[vdb]: /dev/vg0/data lies in no active storage pool",
        "the controller's setting file_prefixes allows",
        "left out, kept as it is: disks[vdg]:",
    ):
        assert said in comments
    sound = (folder / "guests/sound.yaml").read_text()
    assert "devices/sound" in sound
    boot = (folder / "guests/kernel-boot.yaml").read_text()
    assert "kernel_prefixes" in boot


def test_what_is_left_out_stays_nobodys(driver: PretendedHost, folder: Path) -> None:
    everything(driver, folder)
    applied(driver, folder)
    marks = {one.name: one.mark for one in driver.host.observe().guests.values()}
    mark = marks["disks-from-everywhere"]  # type: ignore[index]
    assert mark is not None
    assert {entry.target for entry in mark.disks} == {"vda", "vdc", "vde", "vdh", "vdi"}
    assert not any(entry.ours for entry in mark.disks)


def test_paths_that_the_controller_allows_are_written(
    driver: PretendedHost, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOMOPS_FILE_PREFIXES", "/srv")
    monkeypatch.setenv("DOMOPS_DEVICE_PREFIXES", "/dev/vg0")
    monkeypatch.setenv("DOMOPS_KERNEL_PREFIXES", "/boot")
    everything(driver, folder)
    text = (folder / "guests/disks-from-everywhere.yaml").read_text()
    assert "{name: vdf, target: vdf, file: /srv/elsewhere.raw}" in text
    assert "{name: vdb, target: vdb, device: /dev/vg0/data, cache: none}" in text
    assert "kernel_prefixes" not in (folder / "guests/kernel-boot.yaml").read_text()
    assert {type(step) for step in applied(driver, folder)} == {SetMark}


def test_options_of_disks_and_cards_are_written_and_what_does_not_fit_is_left(
    driver: PretendedHost, folder: Path
) -> None:
    """An option that no manifest can say is left out alone: the disk is managed without it."""
    driver.define(MIXES["disk-and-card-options"])
    assert run(driver, driver.uri, "--into", str(folder)).exit_code == 0
    text = (folder / "guests/disk-and-card-options.yaml").read_text()
    limits = "limits: {bytes: 100MiB, readIops: 400, writeIops: 200}"
    for said in (
        f"cache: writeback, discard: unmap, {limits}, serial: LISTS-DATA-01}}",
        "volume: disk-and-card-options-odd.raw, limits: {bytes: 1MiB}}",
        "{name: sda, target: sda, cdrom: {}}",
        'network: ovsbr0-20, mac: "52:54:00:00:41:01", link: down, queues: 2}',
        '{name: eth1, network: ovsbr0, mac: "52:54:00:00:41:02"}',
        "left out, kept as it is: disks[vdb].serial:",
        "left out, kept as it is: disks[sda].cache:",
    ):
        assert said in text
    assert "vlan: 20" in (folder / "networks/ovsbr0-20.yaml").read_text()
    assert [type(step) for step in applied(driver, folder)] == [SetMark]


def test_a_network_is_known_by_what_this_host_calls_it_and_by_its_vlan(
    driver: PretendedHost, folder: Path
) -> None:
    driver.define(MIXES["disk-and-card-options"])
    (folder / "mine.yaml").write_text(
        f"""\
apiVersion: domops/v1
kind: Host
metadata: {{name: dom0-a}}
spec: {{uri: "{driver.uri}", pool: main}}
---
apiVersion: domops/v1
kind: Network
metadata: {{name: twenty}}
spec: {{bridge: br20, openvswitch: true, vlan: 20, hosts: {{dom0-a: {{bridge: ovsbr0}}}}}}
---
apiVersion: domops/v1
kind: Network
metadata: {{name: another-twenty}}
spec: {{bridge: ovsbr0, openvswitch: true, vlan: 20, hosts: {{dom0-a: {{bridge: br20}}}}}}
"""
    )
    assert run(driver, "dom0-a", "--into", str(folder)).exit_code == 0
    text = (folder / "guests/disk-and-card-options.yaml").read_text()
    assert 'network: twenty, mac: "52:54:00:00:41:01"' in text
    assert 'network: ovsbr0, mac: "52:54:00:00:41:02"' in text
    assert {path.name for path in (folder / "networks").iterdir()} == {"ovsbr0.yaml"}
    assert [type(step) for step in applied(driver, folder)] == [SetMark]


def test_a_second_import_writes_nothing_anew(driver: PretendedHost, folder: Path) -> None:
    everything(driver, folder)
    before = {path: path.read_bytes() for path in folder.rglob("*.yaml")}
    again = run(driver, driver.uri, "--into", str(folder))
    assert again.exit_code == 1
    assert "it is described in guests/balloon.yaml" in again.output
    assert {path: path.read_bytes() for path in folder.rglob("*.yaml")} == before
    applied(driver, folder)
    (folder / "guests/balloon.yaml").unlink()
    managed = run(driver, "dom0-a", "balloon", "--into", str(folder))
    assert "it is managed already, as balloon" in managed.output


def test_only_the_named_are_written_into_what_the_repository_has(
    driver: PretendedHost, folder: Path
) -> None:
    """Its own host, storage and network are used by matching, whatever they are called."""
    driver.define(MIXES["plain-virtio"])
    driver.define(MIXES["scsi"])
    (folder / "mine.yaml").write_text(
        f"""\
apiVersion: domops/v1
kind: Host
metadata: {{name: dom0-a}}
spec: {{uri: "{driver.uri}", pool: main}}
---
apiVersion: domops/v1
kind: Storage
metadata: {{name: fast}}
spec: {{type: dir, libvirtPool: elsewhere, hosts: {{dom0-a: {{libvirtPool: guests}}}}}}
---
apiVersion: domops/v1
kind: Network
metadata: {{name: servers}}
spec: {{bridge: br0}}
"""
    )
    result = run(driver, "dom0-a", "plain-virtio", "--into", str(folder))
    assert result.exit_code == 0, result.output
    assert "1 guest written. Nothing was changed on the host." in result.output
    written = {path.relative_to(folder).as_posix() for path in folder.rglob("*.yaml")}
    assert written == {"domops.yaml", "pools/main.yaml", "mine.yaml", "guests/plain-virtio.yaml"}
    text = (folder / "guests/plain-virtio.yaml").read_text()
    assert "storage: fast" in text
    assert "network: servers" in text


def test_names_that_are_taken_for_something_else_get_the_hosts_beside(
    driver: PretendedHost, folder: Path
) -> None:
    driver.define(MIXES["plain-virtio"])
    (folder / "theirs.yaml").write_text(
        """\
apiVersion: domops/v1
kind: Storage
metadata: {name: guests}
spec: {type: dir, libvirtPool: elsewhere}
---
apiVersion: domops/v1
kind: Network
metadata: {name: br0}
spec: {bridge: br9}
"""
    )
    assert run(driver, driver.uri, "--into", str(folder)).exit_code == 0
    text = (folder / "guests/plain-virtio.yaml").read_text()
    assert "storage: guests-dom0-a" in text
    assert "network: br0-dom0-a" in text


def test_a_domain_whose_name_no_manifest_allows_is_known_by_its_uuid(
    driver: PretendedHost, folder: Path
) -> None:
    driver.define(MIXES["plain-virtio"].replace("<name>plain-virtio", "<name>The Old_VM (2)"))
    assert run(driver, driver.uri, "--into", str(folder)).exit_code == 0
    text = (folder / "guests/the-old-vm-2.yaml").read_text()
    assert "# The domain is called 'The Old_VM (2)'." in text
    assert {type(step) for step in applied(driver, folder)} == {SetMark}


# --------------------------------------------------------------------------------------- refusals


def refused(result: Result) -> str:
    if isinstance(result.exception, DomopsError):  # `main` puts it on standard error
        return str(result.exception)
    assert result.exit_code == 2, result.output
    return result.stderr


def test_files_are_never_overwritten(driver: PretendedHost, folder: Path) -> None:
    driver.define(MIXES["plain-virtio"])
    mine = "apiVersion: domops/v1\nkind: Pool\nmetadata: {name: mine}\nspec: {}\n"
    (folder / "guests/plain-virtio.yaml").write_text(mine)
    told = refused(run(driver, driver.uri, "--pool", "main", "--into", str(folder)))
    assert "there already, and import overwrites nothing" in told
    assert not (folder / "hosts/dom0-a.yaml").exists()
    assert (folder / "guests/plain-virtio.yaml").read_text() == mine


def test_a_name_that_no_domain_has_is_an_error(driver: PretendedHost, folder: Path) -> None:
    told = refused(run(driver, driver.uri, "lists", "--into", str(folder)))
    assert "dom0-a has no domain called lists" in told


def test_a_host_that_is_neither_known_nor_a_uri_is_an_error(
    driver: PretendedHost, folder: Path
) -> None:
    told = refused(run(driver, "dom0-z", "--into", str(folder)))
    assert "no host dom0-z (its hosts: none); give a libvirt URI" in told
    told = refused(run(driver, "qemu+ext:///system?command=id", "--into", str(folder)))
    assert "transport" in told


def test_a_new_host_needs_a_pool_and_is_told_so(driver: PretendedHost, folder: Path) -> None:
    (folder / "pools/other.yaml").write_text(
        "apiVersion: domops/v1\nkind: Pool\nmetadata: {name: other}\nspec: {}\n"
    )
    assert "--pool" in refused(run(driver, driver.uri, "--into", str(folder)))
    driver.define(MIXES["plain-virtio"])
    result = run(driver, driver.uri, "--pool", "other", "--into", str(folder))
    assert result.exit_code == 0, result.output
    assert "pool: other" in (folder / "hosts/dom0-a.yaml").read_text()
    unknown = run(driver, "test:///nowhere", "--pool", "third", "--into", str(folder))
    assert "no pool third" in refused(unknown)


def test_a_folder_that_is_no_repository_is_told_so(driver: PretendedHost, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    told = refused(run(driver, driver.uri, "--into", str(tmp_path / "empty")))
    assert "does not validate, or is no repository yet" in told


def test_a_host_that_is_no_xen_host_reads_no_files_of_xl(
    driver: PretendedHost, folder: Path, tmp_path: Path
) -> None:
    config = tmp_path / "lists.cfg"
    config.write_text('name = "lists"\n')
    words = ("--xl", str(config), "--via", driver.uri, "--into", str(folder))
    told = refused(run(driver, *words))
    assert told == (
        f"domops: {config}: only the libvirt of a Xen host reads xl's files, and this is none\n"
    )
    gone = run(driver, "--xl", str(tmp_path / "gone"), "--via", driver.uri, "--into", str(folder))
    assert "gone: No such file" in refused(gone)
    without = run(driver, "dom0-a", "--via", driver.uri, "--into", str(folder))
    assert "--via is about --xl" in refused(without)
