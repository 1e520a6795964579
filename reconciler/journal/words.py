"""Say a step in words, for the history that a person reads."""

from __future__ import annotations

from typing import TYPE_CHECKING, assert_never

from reconciler.model import steps

if TYPE_CHECKING:
    from reconciler.model.plan import PlannedStep

_UNITS = (("TiB", 1 << 40), ("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10))


def size(count_bytes: int) -> str:
    """Give a size in the largest unit in which it is a whole number."""
    for unit, factor in _UNITS:
        if count_bytes >= factor and count_bytes % factor == 0:
            return f"{count_bytes // factor} {unit}"
    return f"{count_bytes} bytes"


def step_in_words(step: steps.Step) -> str:  # noqa: C901, PLR0911, PLR0912 - one row a step
    """Name the act and its object, without the guest and the host."""
    match step:
        case steps.DefineGuest():
            return f"define ({step.definition.mark.phase})" if step.definition.mark else "define"
        case steps.SetMark():
            return f"write mark ({step.mark.phase})"
        case steps.CreateVolume():
            filled = f" from {step.image.pool}/{step.image.volume}" if step.image else ""
            what = f"{step.pool}/{step.volume} with {size(step.capacity_bytes)}{filled}"
            return f"create volume {what}"
        case steps.DiscardVolume():
            return f"discard half-made volume {step.pool}/{step.volume}"
        case steps.CreateSeed():
            return f"write seed {step.pool}/{step.volume} with {step.data}"
        case steps.RemoveSeed():
            return f"remove seed {step.pool}/{step.volume}"
        case steps.DeleteVolume():
            what = f"{step.pool}/{step.volume} with {size(step.capacity_bytes)}"
            return f"delete volume {what}, out of the trash"
        case steps.UndefineGuest():
            return "undefine, out of the trash"
        case steps.GrowVolume():
            return f"grow volume {step.pool}/{step.volume} to {size(step.capacity_bytes)}"
        case steps.GrowDisk():
            return f"grow disk {step.target} to {size(step.capacity_bytes)}"
        case steps.StartGuest():
            return "start"
        case steps.ShutDownGuest():
            return f"shut down, within {step.timeout_s} s"
        case steps.DestroyGuest():
            return "destroy"
        case steps.SetVcpus():
            return f"set vCPUs to {step.count}"
        case steps.SetMemory():
            return f"set memory to {size(step.size_kib * 1024)}"
        case steps.PinVcpus():
            return f"pin vCPUs: {', '.join(map(str, step.pin))}"
        case steps.SetShares():
            cap = "no cap" if step.cap is None else f"a cap of {step.cap} %"
            return f"set weight to {step.weight or 'the ordinary one'}, with {cap}"
        case steps.AttachDisk():
            return f"attach disk {step.disk.target}"
        case steps.DetachDisk():
            return f"detach disk {step.disk.target}"
        case steps.ChangeMedium():
            return f"change medium in {step.disk.target}"
        case steps.SetDiskLimits():
            return f"set the limits of disk {step.target}"
        case steps.AttachNic():
            return f"attach NIC {step.nic.mac}"
        case steps.DetachNic():
            return f"detach NIC {step.nic.mac}"
        case steps.ChangeNic():
            return f"reconnect NIC {step.nic.mac}"
        case steps.SetAutostart():
            return f"turn autostart {'on' if step.on else 'off'}"
        case steps.CreateSnapshot():
            return f"take snapshot {step.name}"
        case steps.DeleteSnapshot():
            return f"delete snapshot {step.name}"
        case steps.ResumeGuest():
            return "let go on what a snapshot held still"
        case _:
            assert_never(step)


def act_in_words(planned: PlannedStep) -> str:
    """Name the act together with the changes that it serves, before → after."""
    act = step_in_words(planned.step)
    serves = [
        " ".join(part for part in (change.field, change.before, "→", change.after) if part)
        for change in planned.changes
        if change.field
    ]
    return f"{act}; {', '.join(serves)}" if serves else act
