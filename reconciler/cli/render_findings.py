"""Render what ``domops doctor`` found: a heading a host, a line a finding, and what to do."""

from __future__ import annotations

from typing import TYPE_CHECKING

from reconciler.cli import words
from reconciler.cli.page import columns, paragraph
from reconciler.model.checkup import Check, Judgement

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from rich.text import Text

    from reconciler.cli.page import Page
    from reconciler.model.checkup import Finding
    from reconciler.model.names import HostName

MEANINGS: dict[Check, str] = {
    Check.MANIFESTS: "The newest commit parses, and every reference in it is good.",
    Check.COMMIT: "A commit is in force, and git can be asked for a newer one.",
    Check.MODES: "Which pools are only watched.",
    Check.DEPARTED: "No host went from the repository without `state: retired`.",
    Check.STATE_DIRECTORY: "There is room for the journal, and it can be written to.",
    Check.CONTROLLER: "A controller works on the state directory.",
    Check.CLOCK: "No commit comes from the future; a host's own clock is not visible.",
    Check.ANSWERS: "The host answers in full, and as the machine that its manifest names.",
    Check.FENCED: "No host that is declared `state: fenced` answers.",
    Check.VERSIONS: "The versions of libvirt and of the hypervisor.",
    Check.GUEST_TYPES: "The host runs the types of guest that its pool may put there.",
    Check.ACCELERATION: "Guests run on hardware virtualisation, not under emulation.",
    Check.STORAGE: "The storage pools of its guests are there, active, and start with the host.",
    Check.IMAGES: "The images and media that its guests name are in their pools.",
    Check.NETWORKS: "The bridges and networks of its guests are there, active, and start with it.",
    Check.BOOT_FILES: "Kernels and initrds that guests boot from are on the host.",
    Check.LOCKING: "A lock manager guards shared storage.",
    Check.AUTOSTART: "The host starts no guest by itself that another host could be running.",
    Check.SERVICES: "`libvirt-guests` and `xendomains` start and save nothing beside domops.",
    Check.DOM0_MEMORY: "Xen's dom0 has a fixed size and does not balloon.",
    Check.FOREIGN: "What of the host is not ours, and whether any of it looks as if it were.",
}
"""What each check is about, for the reference; a test fails if one is missing."""

_STYLES = {
    Judgement.OK: "green",
    Judgement.NOTICE: "yellow",
    Judgement.PROBLEM: "bold red",
    Judgement.NOT_CHECKED: "dim",
}
_WORDS = {
    Judgement.OK: "ok",
    Judgement.NOTICE: "notice",
    Judgement.PROBLEM: "PROBLEM",
    Judgement.NOT_CHECKED: "not checked",
}


def render_findings(findings: Sequence[Finding], page: Page, *, everything: bool) -> list[Text]:
    """Host by host; what is in order is only counted, unless ``everything`` is wished."""
    lines: list[Text] = []
    for host in dict.fromkeys(one.host for one in findings):
        about = [one for one in findings if one.host == host]
        lines.extend(_section(host, about, page, everything=everything))
        lines.append(page.text(""))
    counts = {
        judgement: sum(one.judgement is judgement for one in findings) for judgement in Judgement
    }
    told = [
        words.counted(counts[Judgement.PROBLEM], "problem"),
        words.counted(counts[Judgement.NOTICE], "notice"),
        f"{counts[Judgement.NOT_CHECKED]} not checked",
        f"{counts[Judgement.OK]} ok",
    ]
    lines.extend(paragraph(page.text(f"{', '.join(told)}. Nothing was changed."), page))
    return lines


def _section(
    host: HostName | None, about: Sequence[Finding], page: Page, *, everything: bool
) -> Iterator[Text]:
    fine = sum(one.judgement is Judgement.OK for one in about)
    rest = f" ({fine} of {len(about)} checks are ok)" if not everything else ""
    yield page.text(f"{host or 'repository and controller'}{rest}", "bold")
    rows: list[list[Text]] = []
    for one in about:
        if one.judgement is Judgement.OK and not everything:
            continue
        head = [
            page.text(_WORDS[one.judgement], _STYLES[one.judgement]),
            page.text(one.check.value),
        ]
        rows.append([*head, page.text(one.message)])
        if one.advice:
            rows.append([page.text(""), page.text(""), page.text(f"→ {one.advice}")])
    yield from columns(rows, page, indent=2)
