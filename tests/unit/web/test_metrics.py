"""``/metrics``: what is documented is given, what is given is documented, and goes with its object.

The real control loop over a real git repository, hosts in memory.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from reconciler.cli.reference import pages
from reconciler.recording.metrics import families
from reconciler.recording.metrics.text import Family, Kind, render
from tests.unit.controller.stage import AROUND_YAML, Stage, guest_yaml, host_yaml
from tests.unit.web.scraping import Scrape, serving, story

if TYPE_CHECKING:
    from pathlib import Path


CATALOGUE = families.OF_PASSES + families.OF_INSTRUMENTS


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    """Two hosts without guests."""
    stage = Stage(root=tmp_path)
    stage.begin("a", "b")
    return stage


def _given(scrape: Scrape) -> set[str]:
    return {name for name in scrape.families if not name.startswith("process_")}


def test_every_metric_of_the_catalogue_is_given_and_no_other(stage: Stage) -> None:
    """Over a story that has everything in it: what is documented and never given would be a lie."""
    with serving(stage) as served:
        moments = story(stage, served)
    assert moments[-1].value("domops_guest_operation_done_bytes", step="CreateVolume") == 512
    assert moments[-1].value("domops_guest_operation_total_bytes", guest="big") == 1024
    given = set().union(*(_given(moment) for moment in moments))
    assert given == {family.name for family in CATALOGUE}
    kinds = {family.name: family.kind for family in CATALOGUE}
    for moment in moments:
        for line in moment.text.splitlines():
            if line.startswith("# TYPE domops_"):
                _, _, name, kind = line.split()
                assert kind == kinds[name]


def test_every_metric_of_the_catalogue_is_documented_once() -> None:
    names = [family.name for family in CATALOGUE]
    assert len(names) == len(set(names))
    for family in CATALOGUE:
        assert pages()["metrics.md"].count(f"| `{family.name}` |") == 1
        assert family.means.endswith(".")
        assert family.name.endswith("_total") == (family.kind is Kind.COUNTER)


def test_a_guest_is_told_on_three_axes(stage: Stage) -> None:
    with serving(stage) as served:
        stage.commit("Add web", guests_web=guest_yaml("web"))
        served.settle()
        scrape = served.scrape()
        [home] = stage.where("web")
        assert scrape.value("domops_guest_info", guest="web", host=home, state="running") == 1
        assert scrape.value("domops_guest_synced", guest="web", definition="stored") == 1
        assert scrape.value("domops_guest_healthy", guest="web", pool="main") == 1
        assert scrape.value("domops_guest_unknown", guest="web") == 0
        assert scrape.value("domops_host_guest_vcpus", host=home) == 1
        assert scrape.value("domops_host_writes_total", host=home) == stage.hosts[home].writes
        for step in ("DefineGuest", "CreateVolume", "StartGuest"):
            assert (scrape.value("domops_steps_total", step=step, outcome="done") or 0) >= 1
            assert (scrape.value("domops_step_duration_seconds_count", step=step) or 0) >= 1
        # In a later pass the guest's home is silent: how it is is not known, and not made up.
        stage.hosts[home].memory.stage_silence("the cable is out")
        served.once()
        scrape = served.scrape()
        assert scrape.value("domops_host_up", host=home) == 0
        assert scrape.value("domops_host_last_answer_timestamp_seconds", host=home) is not None
        assert scrape.value("domops_guest_unknown", guest="web") == 1
        assert scrape.value("domops_guest_healthy", guest="web") is None
        assert scrape.labels("domops_guest_synced", "guest") == set()


def test_drift_and_what_waits_are_counted_by_kind_and_reason(stage: Stage) -> None:
    with serving(stage) as served:
        stage.commit("Add web", guests_web=guest_yaml("web"))
        served.settle()
        warn = AROUND_YAML.replace("enforce", "warn")
        stage.commit("Hold it", around=warn, guests_web=guest_yaml("web", memory="1GiB"))
        served.once()
        scrape = served.scrape()
        assert scrape.value("domops_pool_info", pool="main", mode="warn") == 1
        assert scrape.value("domops_drift_fields", pool="main", field="memory") == 1
        assert (
            scrape.value("domops_changes", pool="main", fate="held", reason="WarnMode") or 0
        ) >= 1


def test_a_refused_head_shows_while_the_good_commit_stays(stage: Stage) -> None:
    with serving(stage) as served:
        served.once()
        before = served.scrape()
        assert before.value("domops_head_refused") == 0
        good = before.value("domops_commit_timestamp_seconds")
        stage.commit("Break it", guests_web="kind: Guest\n")
        served.once()
        after = served.scrape()
        assert after.value("domops_head_refused") == 1
        assert after.value("domops_source_up") == 1
        assert after.value("domops_commit_timestamp_seconds") == good


def test_what_is_gone_has_no_series_any_more(stage: Stage) -> None:
    with serving(stage) as served:
        stage.commit("Add web", guests_web=guest_yaml("web"))
        served.settle()
        assert served.scrape().labels("domops_guest_info", "guest") == {"web"}
        [home] = stage.where("web")
        other = "b" if home == "a" else "a"
        stage.hosts[home].memory.stage(lambda host: replace(host, guests={}))
        stage.commit(
            "Less", guests_web=None, **{f"hosts_{other}": host_yaml(other, state="retired")}
        )
        served.settle()
        scrape = served.scrape()
        assert scrape.labels("domops_guest_info", "guest") == set()
        assert scrape.labels("domops_host_up", "host") == {home}


def test_what_is_in_the_trash_is_counted_with_its_size_and_its_next_date(stage: Stage) -> None:
    with serving(stage) as served:
        stage.commit("Add web", guests_web=guest_yaml("web"))
        served.settle()
        [home] = stage.where("web")
        before = served.scrape()
        assert before.value("domops_trash_guests", host=home) == 0
        assert before.labels("domops_trash_next_removal_timestamp_seconds", "host") == set()
        stage.commit("Retire web", guests_web=None)
        served.settle()
        scrape = served.scrape()
        assert scrape.value("domops_trash_guests", host=home) == 1
        assert scrape.value("domops_trash_bytes", host=home) == 1 << 30
        mark = stage.hosts[home].guests()["web"].mark
        assert mark is not None
        assert mark.trash is not None
        until = scrape.value("domops_trash_next_removal_timestamp_seconds", host=home)
        assert until == pytest.approx(mark.trash.until.timestamp())


def test_names_that_wait_are_counted_until_a_pass_takes_them(stage: Stage) -> None:
    with serving(stage) as served:
        served.once()
        before = served.scrape().value("domops_queue_adds_total") or 0
        for name in ("web", "web", "git"):
            served.opened.wakeups.put(name)
        scrape = served.scrape()
        assert scrape.value("domops_queue_depth") == before + 3
        assert scrape.value("domops_queue_adds_total") == before + 3
        assert served.opened.wakeups.take(0) >= {"web", "git"}
        scrape = served.scrape()
        assert scrape.value("domops_queue_depth") == 0
        assert scrape.value("domops_queue_adds_total") == before + 3
        assert scrape.value("domops_queue_wait_seconds_count") == before + 3


def test_labels_are_escaped_as_prometheus_reads_them() -> None:
    family = Family(name="x", kind=Kind.GAUGE, means="Two\nlines.", labels=("a",))
    [text] = render([(family, [(('say "\\n"\n',), 1.5)])])
    assert text == '# HELP x Two\\nlines.\n# TYPE x gauge\nx{a="say \\"\\\\n\\"\\n"} 1.5\n'
