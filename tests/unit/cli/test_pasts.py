"""The manifest of a deleted guest is found in the past of a real repository."""

from __future__ import annotations

from typing import TYPE_CHECKING

from reconciler.cli.pasts import last_manifest
from reconciler.model.names import GuestName, Sha
from tests.unit.controller.stage import Stage, guest_yaml

if TYPE_CHECKING:
    from pathlib import Path

WEB, DNS = GuestName("web"), GuestName("dns")


def test_what_the_last_commit_took_away_is_found_alone(tmp_path: Path) -> None:
    """Of a file with several guests only the one; not a mere change; not what never was."""
    stage = Stage(root=tmp_path)
    stage.begin()
    both = guest_yaml("web") + "---\n" + guest_yaml("dns")
    stage.commit("Two guests", guests_all=both)
    stage.commit("More memory", guests_all=both.replace("512MiB", "640MiB"))
    gone = stage.commit("Retire web", guests_all=guest_yaml("dns"))
    stage.commit("Something else", guests_more=guest_yaml("mail"))
    with stage.open(writing=False) as opened:
        head = Sha(stage.git("rev-parse", "HEAD"))
        past = last_manifest(opened.source, WEB, head)
        assert past is not None
        assert (past.path, past.commit) == ("guests/all.yaml", gone)
        assert past.text == guest_yaml("web").replace("512MiB", "640MiB")
        assert last_manifest(opened.source, DNS, head) is None
        assert last_manifest(opened.source, GuestName("never"), head) is None
