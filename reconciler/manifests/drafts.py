"""A guest on its way into the desired world: its merged spec, and where to complain about it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from reconciler.manifests.entries import Complaint, dangling
from reconciler.model.desired import GuestWarning

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from uuid import UUID

    from reconciler.manifests.construct import Key, Value
    from reconciler.manifests.included import Included
    from reconciler.manifests.kinds.devices import DiskSpec, NicSpec
    from reconciler.manifests.kinds.guest import GuestSpec, HostDeviceSpec
    from reconciler.manifests.surroundings import Surroundings
    from reconciler.model.desired import DesiredDisk, DesiredNic, StartAfter


@dataclass(frozen=True, slots=True, kw_only=True)
class Flawed:
    """A guest that is not right: what it claims for itself is told all the same."""

    uuid: UUID
    disks: tuple[DesiredDisk, ...]
    nics: tuple[DesiredNic, ...]
    start_after: tuple[StartAfter, ...]
    complaints: tuple[Complaint, ...]


@dataclass(slots=True, kw_only=True)
class Draft:
    """One guest under construction.

    ``spec`` is merged with the class, ``own`` is what the guest itself says. ``whole`` is false for
    a guest whose class is not to be found: that was told already, and what the class might have
    filled in is not missed here. ``included`` are the files of the repository that manifests name.
    What is derived from a guest's name is derived from ``first_name``, the former one if any.
    """

    name: str
    first_name: str
    spec: GuestSpec
    own: Mapping[str, Value]
    around: Surroundings
    whole: bool
    included: Included
    complaints: list[Complaint] = field(default_factory=list)
    warnings: list[GuestWarning] = field(default_factory=list)
    """What is allowed and costs something, in the order in which it was found."""

    cautions: list[Complaint] = field(default_factory=list)
    """The same as complaints, to be placed where they are written."""

    def complain(self, path: tuple[Key, ...], message: str, hint: str = "") -> None:
        """Note that something is wrong at ``path``."""
        self.complain_of(Complaint(path=path, message=message, hint=hint))

    def complain_of(self, complaint: Complaint) -> None:
        """Note it where it is written."""
        self.complaints.append(self._where_written(complaint))

    def warn(self, path: tuple[Key, ...], message: str, hint: str) -> None:
        """Note what something allowed costs, and what would not cost it."""
        self.cautions.append(self._where_written(Complaint(path=path, message=message, hint=hint)))
        field_name = self._dotted(path).removeprefix("spec.")
        self.warnings.append(GuestWarning(field=field_name, message=f"{message}; {hint}"))

    def miss(self, path: tuple[Key, ...], message: str, hint: str) -> None:
        """Note what a class may set right: only where the class is known."""
        if self.whole:
            self.complain(path, message, hint)

    def refer(self, path: tuple[Key, ...], kind: str, name: str, known: Iterable[str]) -> None:
        """Note that ``path`` refers to nothing."""
        self.complaints.append(self._where_written(dangling(path, kind, name, known)))

    def _where_written(self, complaint: Complaint) -> Complaint:
        """A field that the class fills in is complained of where the class is named."""
        match complaint.path:
            case ("spec", str(top), *rest):
                pass
            case _:
                return complaint
        own = self.own.get(top)
        if rest and isinstance(rest[0], int) and isinstance(own, tuple):
            written = rest[0] < len(own)
        else:
            written = own is not None
        if written or "class" not in self.own or top not in self._said():
            return complaint
        return Complaint(
            path=("spec", "class"),
            field=self._dotted(complaint.path),
            message=f'{complaint.message} (class "{self.spec.class_}" says so)',
            hint=complaint.hint,
        )

    def _said(self) -> set[str]:
        fields = type(self.spec).model_fields
        return {fields[name].alias or name for name in self.spec.model_fields_set}

    def _dotted(self, path: tuple[Key, ...]) -> str:
        named: Mapping[str, tuple[DiskSpec | NicSpec | HostDeviceSpec, ...]] = {
            "disks": self.spec.disks,
            "networks": self.spec.networks,
            "hostDevices": self.spec.host_devices,
        }
        text = ""
        for step in path:
            if isinstance(step, int):
                entries = named.get(str(path[1]))
                text += f"[{entries[step].name if entries else step}]"
            else:
                text += f".{step}"
        return text.removeprefix(".")
