"""``get --watch`` and ``events --follow``: what is shown again, and what is no news."""

import json
from dataclasses import replace
from datetime import timedelta

import pytest
import yaml

from reconciler.cli.exits import ExitCode
from reconciler.journal.records import Event, EventKind
from reconciler.model.names import GuestName, HostName
from reconciler.model.observed import ObservedHost, ObservedWorld
from tests.unit.cli.standing import Standing
from tests.unit.cli.test_commands import call
from tests.unit.cli.worlds import NOW, bare, guest, made, silent, wish

ONE = wish(guest("lists"))
TWO = wish(guest("lists"), guest("web"))


def older(world: ObservedWorld, seconds: float, *, free_kib: int = 0) -> ObservedWorld:
    """The same world as its hosts tell it ``seconds`` later, with a little less room."""
    return replace(
        world,
        hosts={
            name: replace(
                host,
                answered_at=host.answered_at + timedelta(seconds=seconds),
                free_memory_kib=host.free_memory_kib - free_kib,
            )
            if isinstance(host, ObservedHost)
            else host
            for name, host in world.hosts.items()
        },
    )


def without_clock(told: str) -> list[str]:
    """The lines; those that begin with a clock without it."""
    return [line[10:] if line[2:3] == ":" else line for line in told.splitlines()]


def test_off_a_terminal_a_watch_is_the_list_and_then_a_line_a_change() -> None:
    standing = Standing(world=TWO, observed=made(ONE), later=(made(TWO), bare()))
    result = call(standing, "get guests --watch")
    assert result.exit_code == ExitCode.INTERRUPTED
    assert standing.closed == 1
    head, _lists, _web, *news = without_clock(result.stdout)
    assert head.startswith("NAME")
    assert [line.split("  ")[0] for line in news] == ["web", "lists", "web"]
    assert "state missing -> running" in news[0]
    assert "state running -> missing" in news[1]


def test_an_answer_that_says_the_same_again_is_no_news() -> None:
    """Ages and free memory move by themselves."""
    seen = silent(made(ONE), "dom0-b", "connection refused")
    same = older(seen, 60, free_kib=1 << 20)
    for what in ("guests", "hosts", "pools"):
        for form in ("table", "wide", "json", "yaml"):
            once = call(Standing(world=ONE, observed=seen), f"get {what} -w -o {form}")
            twice = call(
                Standing(world=ONE, observed=seen, later=(same, same)), f"get {what} -w -o {form}"
            )
            assert once.stdout
            assert twice.stdout == once.stdout


def test_a_host_that_falls_silent_and_comes_back_is_told() -> None:
    there = made(ONE)
    gone = silent(there, "dom0-b", "connection refused")
    result = call(Standing(world=ONE, observed=there, later=(gone, there)), "get hosts --watch")
    *_, fell, came = without_clock(result.stdout)
    assert fell.startswith("dom0-b")
    assert "-> no: connection refused" in fell
    assert "no: connection refused ->" in came


def test_a_guest_that_comes_and_goes_is_told() -> None:
    """One of ours that no manifest wants is in the list only while a host has it."""
    result = call(
        Standing(world=ONE, observed=made(ONE), later=(made(TWO, made(ONE)), made(ONE))),
        "get guests --watch",
    )
    *_, came, went = without_clock(result.stdout)
    assert came.startswith("web  new: host dom0-a, ")
    assert went == "web  gone"


@pytest.mark.parametrize("form", ["json", "yaml"])
def test_a_watch_for_programs_is_a_stream_of_documents(form: str) -> None:
    """First the whole list, then what changed; one line each as JSON."""
    later = (made(TWO, made(ONE)), older(made(TWO, made(ONE)), 5), made(ONE))
    result = call(
        Standing(world=ONE, observed=made(ONE), later=later), f"get guests --watch -o {form}"
    )
    if form == "json":
        told = [json.loads(line) for line in result.stdout.splitlines()]
    else:
        told = list(yaml.safe_load_all(result.stdout))
    assert [document["kind"] for document in told] == ["GuestList"] * 3
    assert [[one["name"] for one in document["items"]] for document in told] == [
        ["lists"],
        ["web"],
        [],
    ]
    assert [document["gone"] for document in told] == [[], [], ["web"]]


def noted(text: str, guest: str) -> Event:
    """Something that happened to a guest."""
    return Event(
        at=NOW,
        kind=EventKind.STEP_ENDED,
        text=text,
        guest=GuestName(guest),
        host=HostName("dom0-a"),
    )


def test_followed_events_go_on_after_those_that_there_are() -> None:
    standing = Standing(
        world=ONE,
        observed=bare(),
        noted=[noted("start: done", "lists")],
        news=(noted("shut down: done", "web"), noted("grow: done", "lists")),
    )
    result = call(standing, "events --follow")
    assert result.exit_code == ExitCode.INTERRUPTED
    texts = [line.split("  ")[-1] for line in result.stdout.splitlines()]
    assert texts == ["start: done", "shut down: done", "grow: done"]
    assert standing.closed == 1
    only = call(standing, "events lists -f -o json")
    told = [json.loads(line) for line in only.stdout.splitlines()]
    assert [document["kind"] for document in told] == ["EventList"] * 2
    assert [[one["text"] for one in document["items"]] for document in told] == [
        ["start: done"],
        ["grow: done"],
    ]
