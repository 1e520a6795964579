"""What a person sees: golden texts in ``tests/cases/cli``, one for a terminal, one for a pipe."""

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from rich.text import Text

from reconciler.cli.page import Page, columns, paragraph, plain, tame
from reconciler.cli.picture import Picture
from reconciler.cli.render_events import render_events
from reconciler.cli.render_guest import render_description, render_diff
from reconciler.cli.render_lists import render_guests, render_hosts, render_pools
from reconciler.cli.render_plan import render_plan
from reconciler.journal.records import Event, EventKind
from reconciler.model.desired import DesiredWorld
from reconciler.model.names import GuestName, HostName, Sha, SnapshotName, Target
from reconciler.model.observed import ObservedSnapshot, ObservedWorld
from tests.unit.cli.worlds import NOW, PLAIN, WIDE, bare, guest, made, picture, silent, wish

CASES = Path(__file__).resolve().parents[2] / "cases" / "cli"

BEFORE = wish(
    guest("lists"),
    guest("web", host="dom0-b"),
    guest("old-web"),
    guest("old-dns"),
    guest("mail", more="  state: stopped\n"),
)
AFTER = wish(
    guest("lists", cpus="{count: 4, max: 4}", memory="{size: 2GiB, max: 4GiB}", disk="2GiB"),
    guest("web", host="dom0-b", disk="8GiB"),
    guest("dns"),
    guest("mail"),
)

TWO = wish(guest("lists"), guest("web"))

_TOLD = '  cloudInit: {userData: "hush"}\n'

_EMULATED = "    - {name: eth1, network: servers, model: e1000}\n"

_NAMED = "  snapshots: [before-upgrade, {name: after-upgrade, quiesced: true}]\n"
_UNNAMED = "  snapshots: [{name: after-upgrade, quiesced: true}]\n"


def _with_snapshots(more: str) -> DesiredWorld:
    """One guest on qcow2, with an agent."""
    path, text = guest("lists", more=f"  agent: true\n{more}")
    return wish((path, text.replace("storage: guests", "storage: guests, format: qcow2")))


def _and_a_foreign_one(observed: ObservedWorld) -> ObservedWorld:
    """A person took a snapshot beside those of domops."""
    theirs = ObservedSnapshot(
        name=SnapshotName("by-hand"),
        taken=NOW - timedelta(hours=3),
        disks=(Target("vda"),),
        memory=False,
    )
    [home] = [one for one in observed.answered() if one.guests]
    guests = {
        uuid: replace(one, snapshots=(*one.snapshots, theirs)) for uuid, one in home.guests.items()
    }
    return replace(observed, hosts={**observed.hosts, home.name: replace(home, guests=guests)})


PICTURES = {
    "create": picture(BEFORE, bare()),
    "nothing": picture(BEFORE, made(BEFORE)),
    "changes": picture(AFTER, made(BEFORE)),
    "silent": picture(AFTER, silent(made(BEFORE), "dom0-b", "connection refused")),
    "warn": picture(wish(guest("lists"), mode="warn"), bare()),
    "warn-apply": picture(wish(guest("lists"), mode="warn"), bare(), enforce=True),
    "refused-commit": picture(
        BEFORE,
        made(BEFORE),
        problems=('guests/lists.yaml:9:3  spec.cpu: unknown field; did you mean "cpus"?',),
    ),
    "empty": picture(wish(), bare()),
    "warnings": picture(wish(guest("lists", more=_EMULATED), guest("web")), bare()),
    "told": picture(wish(guest("lists", more=_TOLD)), bare()),
    "told-otherwise": picture(
        wish(guest("lists", more=_TOLD.replace("hush", "other hush"))),
        made(wish(guest("lists", more=_TOLD))),
    ),
    "trash": picture(wish(guest("web")), made(wish(guest("web")), made(TWO))),
    "snapshots": picture(
        _with_snapshots(_UNNAMED),
        _and_a_foreign_one(made(_with_snapshots(_UNNAMED), made(_with_snapshots(_NAMED)))),
    ),
    "restored": picture(TWO, made(wish(guest("web")), made(TWO))),
}


def compare(name: str, text: str, *, regenerate: bool) -> None:
    """Compare with the golden file, or write it."""
    path = CASES / f"{name}.txt"
    if regenerate:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    assert path.read_text(encoding="utf-8") == text


@pytest.mark.parametrize("page", [WIDE, PLAIN], ids=["terminal", "pipe"])
@pytest.mark.parametrize("name", PICTURES)
def test_a_plan_reads_as_its_golden_text(name: str, page: Page, *, regenerate: bool) -> None:
    where = "pipe" if page is PLAIN else "terminal"
    text = plain(render_plan(PICTURES[name], page))
    compare(f"plan-{name}-{where}", text, regenerate=regenerate)


@pytest.mark.parametrize("wide", [False, True], ids=["table", "wide"])
@pytest.mark.parametrize("name", PICTURES)
def test_the_lists_read_as_their_golden_texts(name: str, *, wide: bool, regenerate: bool) -> None:
    seen = PICTURES[name]
    lists = (
        render_guests(seen, WIDE, wide=wide),
        render_hosts(seen, WIDE, wide=wide),
        render_pools(seen, WIDE, wide=wide),
    )
    text = "\n".join(plain(lines) for lines in lists)
    compare(f"get-{name}-{'wide' if wide else 'table'}", text, regenerate=regenerate)


@pytest.mark.parametrize("name", ["create", "changes", "silent", "warnings", "snapshots"])
def test_a_description_reads_as_its_golden_text(name: str, *, regenerate: bool) -> None:
    text = plain(render_description(GuestName("lists"), PICTURES[name], WIDE))
    compare(f"describe-{name}", text, regenerate=regenerate)


def test_a_guest_on_its_way_to_the_trash_can_be_described(*, regenerate: bool) -> None:
    """No commit asks for it any more; what the host says is all there is."""
    text = plain(render_description(GuestName("old-web"), PICTURES["changes"], WIDE))
    compare("describe-deleted", text, regenerate=regenerate)


def test_a_diff_reads_as_its_golden_text(*, regenerate: bool) -> None:
    seen = PICTURES["changes"]
    text = plain(render_diff(sorted(seen.plan.statuses), seen, PLAIN))
    compare("diff-changes", text, regenerate=regenerate)


def test_events_read_as_their_golden_text(*, regenerate: bool) -> None:
    events = (
        Event(at=NOW, kind=EventKind.STEP_ENDED, text="started", guest=GuestName("lists")),
        Event(
            at=NOW - timedelta(minutes=3),
            kind=EventKind.STEP_BEGUN,
            text="memory 1 GiB → 2 GiB",
            guest=GuestName("lists"),
            host=HostName("dom0-a"),
            commit=Sha("8c2f1e4ad0b1c2d3"),
            where="guests/lists.yaml:7",
        ),
        Event(
            at=NOW - timedelta(days=1),
            kind=EventKind.HOST_SILENT,
            text="connection refused",
            host=HostName("dom0-b"),
        ),
    )
    text = plain(render_events(events, PLAIN)) + plain(render_events((), PLAIN))
    compare("events", text, regenerate=regenerate)


def everything(seen: Picture, page: Page) -> list[Text]:
    """All renderings of a picture."""
    names = sorted(seen.plan.statuses)
    return [
        *render_plan(seen, page),
        *render_guests(seen, page, wide=True),
        *render_hosts(seen, page, wide=True),
        *render_pools(seen, page, wide=True),
        *render_diff(names, seen, page),
        *(line for name in names for line in render_description(name, seen, page)),
    ]


@pytest.mark.parametrize("name", ["told", "told-otherwise"])
def test_what_a_guest_is_told_is_shown_nowhere(name: str) -> None:
    assert "hush" not in plain(everything(PICTURES[name], WIDE))


@pytest.mark.parametrize("name", PICTURES)
def test_off_a_terminal_every_letter_of_ours_is_ascii(name: str) -> None:
    """The manifests of these worlds are ASCII, so whatever is not would be our own."""
    text = plain(everything(PICTURES[name], PLAIN))
    assert text.isascii(), sorted({letter for letter in text if not letter.isascii()})


@pytest.mark.parametrize("name", PICTURES)
def test_a_colour_never_says_what_no_word_says(name: str) -> None:
    """Held and refused stand there as words, so that the text without its styles is enough."""
    seen = PICTURES[name]
    text = plain(render_plan(seen, WIDE))
    for change in seen.changes():
        if change.fate.value in ("held", "refused"):
            assert change.fate.value.upper() in text


@pytest.mark.parametrize("width", [40, 60, 80, 120])
@pytest.mark.parametrize("name", PICTURES)
def test_a_plan_keeps_within_the_page_where_words_can_be_broken(name: str, width: int) -> None:
    """The columns before the last are never cut; what they leave is what the remark is given."""
    page = replace(WIDE, width=width)
    for line in render_plan(PICTURES[name], page):
        words = line.plain.split()
        assert line.cell_len <= max(width, 64) or len(words) == 1, line.plain


def test_a_subject_cannot_move_the_cursor() -> None:
    """A commit subject is written by others; a terminal must not obey it."""
    seen = PICTURES["nothing"]
    commit = replace(seen.world.commit, subject="red \x1b[31m alert\x07 \u202eback\nwards")
    seen = replace(seen, world=replace(seen.world, commit=commit))
    for page in (WIDE, PLAIN):
        text = "".join(line.plain for line in render_plan(seen, page))
        assert not {"\x1b", "\x07", "\u202e", "\n"} & set(text)


def test_tame_text_is_left_as_it_is() -> None:
    assert tame("Dò più memoria, già → 2") == "Dò più memoria, già → 2"


def test_a_last_column_that_does_not_fit_is_wrapped_below_its_start() -> None:
    page = replace(WIDE, width=40)
    lines = columns([[Text("one"), Text("word " * 12)]], page)
    assert len(lines) > 1
    assert all(line.plain.startswith("     word") for line in lines[1:])


def test_a_paragraph_off_a_terminal_is_one_line() -> None:
    assert len(paragraph(Text("word " * 100), PLAIN)) == 1
