"""Reports of the same bug are one group."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netconsd.crash import groups as module
from netconsd.crash.groups import (
    GROUPS_LIMIT,
    LONE_REPORTS,
    LOOSE_LIMIT,
    MACHINES_LIMIT,
    NAMES_LIMIT,
    RELEASES_LIMIT,
    Group,
    Groups,
)
from netconsd.crash.report import SEVERITIES, Frame, Report
from netconsd.testing import extended_message, source

NULL = "BUG: unable to handle kernel NULL pointer dereference in f"
PAGING = "BUG: unable to handle kernel paging request in f"
BAD_ACCESS = "bad-access in f"


def report(title: str = NULL, *alternatives: str, host: int | None = 1, **fields: Any) -> Report:
    """A report of the host with this number."""
    fields.setdefault("kind", "memory-fault")
    fields.setdefault("severity", "degraded")
    fields.setdefault("source", None if host is None else source(f"192.0.{host // 250}.{host % 250}"))
    return Report(title, alternatives=alternatives, **fields)


def group_of(groups: Groups, new: Report) -> Group:
    """Add a whole report; return its group."""
    group = groups.add(new)
    assert group is not None
    return group


class TestSame:
    """Rule 1."""

    def test_the_same_title(self) -> None:
        """Reports with one title are one group with its sums."""
        groups = Groups()
        group_of(groups, report(received_at=20.0, release="6.1.0", fatal=True, severity="dead", repeats=2))
        group_of(groups, report(received_at=10.0, release="7.3.4", host=2))
        group = group_of(groups, report(received_at=30.0, release="6.1.0", source=source("192.0.0.1", 7777)))
        (only,) = groups
        assert only is group
        assert (group.title, group.kind, group.severity, group.fatal) == (NULL, "memory-fault", "dead", 1)
        assert (group.count, group.first, group.last) == (5, 10.0, 30.0)
        assert {name: seen.count for name, seen in group.machines.items()} == {"192.0.0.1": 4, "192.0.0.2": 1}
        assert {name: (seen.count, seen.first, seen.last) for name, seen in group.releases.items()} == {
            "6.1.0": (4, 20.0, 30.0),
            "7.3.4": (1, 10.0, 10.0),
        }
        assert groups.reports == 5

    def test_another_title(self) -> None:
        """Reports that share no name are of different bugs."""
        groups = Groups()
        assert group_of(groups, report(NULL)) is not group_of(groups, report(PAGING))
        assert len(groups) == 2

    @pytest.mark.parametrize(
        ("first", "second"),
        [
            (report(NULL, BAD_ACCESS), report(PAGING, BAD_ACCESS)),
            (report(NULL, BAD_ACCESS), report(BAD_ACCESS)),
            (report(BAD_ACCESS), report(NULL, BAD_ACCESS)),
        ],
    )
    def test_an_alternative(self, first: Report, second: Report) -> None:
        """A title or alternative of one that equals a title or alternative of the other joins them."""
        groups = Groups()
        assert group_of(groups, first) is group_of(groups, second)
        assert groups.find(second.title) is groups.find(first.title)

    def test_a_link(self) -> None:
        """A report that shares names with two groups unites them: the oldest keeps its id, the other's id leads to it,
        and nothing is lost from the sums."""
        groups = Groups()
        newer = group_of(groups, report(PAGING, received_at=20.0, host=2, severity="dead"))
        older = group_of(groups, report(NULL, received_at=10.0))
        other = group_of(groups, report("WARNING in g", received_at=5.0))
        group = group_of(groups, report(PAGING, NULL, received_at=30.0, host=3))
        assert group is older
        assert (group.count, group.first, group.last, group.severity) == (3, 10.0, 30.0, "dead")
        assert set(group.machines) == {"192.0.0.1", "192.0.0.2", "192.0.0.3"}
        assert groups.get(newer.id) is groups.get(older.id) is group
        assert list(groups) == [group, other]
        assert group.merged == (newer.id,)
        assert group_of(groups, report(PAGING)) is group

    def test_a_chain_of_links(self) -> None:
        """Ids of groups that were united twice lead to the last."""
        groups = Groups()
        ids = [group_of(groups, report(f"BUG: {name}", received_at=at)).id for at, name in enumerate("cba")]
        group_of(groups, report("BUG: a", "BUG: b"))
        kept = group_of(groups, report("BUG: c", "BUG: b"))
        assert [groups.get(each) for each in ids] == [kept] * 3

    def test_ids_are_stable(self) -> None:
        """The id depends on the title of the first report only, and not on the process."""
        first = group_of(Groups(), report(NULL, BAD_ACCESS))
        again = group_of(Groups(), report(NULL, host=5, received_at=7.0))
        assert first.id == again.id == "e4c5f4c309b2"
        assert first.id != group_of(Groups(), report(PAGING, BAD_ACCESS)).id


class TestIncomplete:
    """Rule 2."""

    def test_it_joins(self) -> None:
        """An incomplete report joins the group of its title, or of an alternative."""
        groups = Groups()
        group = group_of(groups, report(NULL, BAD_ACCESS))
        assert groups.add(report(NULL, incomplete="lines lost")) is group
        assert groups.add(report(PAGING, BAD_ACCESS, incomplete="lines lost", repeats=1)) is group
        assert (group.count, group.incomplete) == (4, 3)

    def test_it_founds_no_group(self) -> None:
        """Without a group it is listed under its title, with its sums."""
        groups = Groups()
        assert groups.add(report(incomplete="lines lost", received_at=3.0)) is None
        assert groups.add(report(incomplete="lines lost", received_at=4.0, host=2)) is None
        assert len(groups) == 0
        (loose,) = groups.loose
        assert (loose.title, loose.count, loose.incomplete, loose.first, loose.last) == (NULL, 2, 2, 3.0, 4.0)
        assert groups.reports == 2

    @pytest.mark.parametrize("whole", [report(NULL), report(PAGING, NULL), report(PAGING, BAD_ACCESS)])
    def test_it_joins_later(self, whole: Report) -> None:
        """A whole report founds the group, which the incomplete ones before then join."""
        groups = Groups()
        groups.add(report(NULL, BAD_ACCESS, incomplete="lines lost", host=2))
        group = group_of(groups, whole)
        assert (group.count, group.incomplete, groups.loose) == (2, 1, [])
        assert set(group.machines) == {"192.0.0.1", "192.0.0.2"}
        assert group.id == group_of(Groups(), whole).id

    def test_it_unites_no_groups(self) -> None:
        """Its function may be wrong, so that it links nothing."""
        groups = Groups()
        first, second = group_of(groups, report(NULL)), group_of(groups, report(PAGING))
        assert groups.add(report(PAGING, NULL, incomplete="lines lost")) is second
        assert len(groups) == 2
        assert first.count == 1


class TestHints:
    """Sums of a group that say something of the cause."""

    def test_one_machine_has_it_again_and_again(self) -> None:
        """A bug that one machine alone has several times is that machine's."""
        groups = Groups()
        for _ in range(LONE_REPORTS - 1):
            assert group_of(groups, report(host=7)).lone_machine is None
        assert group_of(groups, report(host=7)).lone_machine == "192.0.0.7"
        assert group_of(groups, report(host=8)).lone_machine is None

    def test_reports_without_a_machine(self) -> None:
        """Reports from a file name no machine."""
        groups = Groups()
        for _ in range(9):
            group = group_of(groups, report(host=None))
        assert (group.count, group.machines, group.lone_machine) == (9, {}, None)

    def test_consequences_are_counted(self) -> None:
        """A group whose reports all followed from other reports can be told."""
        group = group_of(Groups(), report(consequence_of=PAGING))
        assert (group.count, group.consequences) == (1, 1)


class TestSample:
    """The report that shows the bug best."""

    def test_the_best_is_kept(self) -> None:
        """Whole before incomplete, with a function, without taint, fatal, with more frames; else the earliest."""
        message = (extended_message("x"),)
        frames = (Frame("f"), Frame("g"))
        ordered = [
            report(incomplete="lines lost", function="f", frames=frames, messages=message),
            report(consequence_of=PAGING, function="f", frames=frames, messages=message),
            report(frames=frames, messages=message),
            report(function="f", frames=frames, tainted=""),
            report(function="f", frames=frames, messages=message, tainted="OE", fatal=True),
            report(function="f", frames=frames, messages=message, tainted=""),
            report(function="f", frames=(Frame("f"), Frame("g", questionable=True)), messages=message, fatal=True),
            report(function="f", frames=frames, messages=message, fatal=True),
        ]
        for order in (ordered, ordered[::-1]):
            groups = Groups()
            group_of(groups, report())
            for each in order:
                group = group_of(groups, each)
            assert group.sample is ordered[-1]
        assert group_of(groups, report(function="f", frames=frames, messages=message, fatal=True)).sample is ordered[-1]

    def test_the_bytes_are_bounded(self) -> None:
        """Beyond the bound, the samples of the groups seen longest ago lose their messages, and are counted."""
        groups = Groups(samples_bytes=4000)
        for name in "abcd":
            message = extended_message("x" * 1000)
            group_of(groups, report(f"BUG: {name}", messages=(message,), before=()))
        kept = [group.title for group in groups if group.sample is not None and group.sample.messages]
        assert kept == ["BUG: d", "BUG: c"]
        assert groups.samples_dropped == 2
        assert groups._samples_bytes <= 4000

    def test_messages_before_count(self) -> None:
        """The messages before a report take memory as well."""
        groups = Groups(samples_bytes=1000)
        group = group_of(groups, report(before=(extended_message("x" * 2000),)))
        assert group.sample is not None
        assert group.sample.before == ()


class TestBounds:
    """Rule 4."""

    def test_groups(self) -> None:
        """A further group replaces one with a single report before one with several; both are counted."""
        groups = Groups(limit=3)
        for title in ("a", "a", "b", "c", "d", "e"):
            group_of(groups, report(title))
        assert [group.title for group in groups] == ["e", "d", "a"]
        assert (groups.evicted, groups.evicted_reports) == (2, 2)
        assert groups.find("b") is None
        for title in ("d", "e", "f"):
            group_of(groups, report(title))
        assert [group.title for group in groups] == ["f", "e", "d"]
        assert groups.reports == sum(group.count for group in groups) + groups.evicted_reports

    def test_an_evicted_group_leaves_no_names(self) -> None:
        """Neither titles, alternatives nor ids of united groups remain."""
        groups = Groups(limit=1)
        first = group_of(groups, report("a", "x"))
        group_of(groups, report("b", "x"))
        group_of(groups, report("c"))
        assert set(groups._by_name) == {"c"}
        assert groups._united == {}
        assert groups.get(first.id) is None

    def test_machines_and_releases(self) -> None:
        """The reports of machines and releases beyond the bounds are counted."""
        groups = Groups()
        for host in range(MACHINES_LIMIT + 3):
            group = group_of(groups, report(host=host, release=f"6.{host}"))
        assert (len(group.machines), group.machines_beyond) == (MACHINES_LIMIT, 3)
        assert (len(group.releases), group.releases_beyond) == (RELEASES_LIMIT, MACHINES_LIMIT + 3 - RELEASES_LIMIT)
        assert group.lone_machine is None

    def test_names(self) -> None:
        """Links without end do not grow a group without bound."""
        groups = Groups()
        for number in range(3 * NAMES_LIMIT):
            group = group_of(groups, report(f"BUG: {number}", "link"))
        assert len(groups) == 1
        assert (len(group.names), len(group.merged)) == (NAMES_LIMIT, NAMES_LIMIT)
        assert len(groups._by_name) + len(groups._united) <= 2 * NAMES_LIMIT

    def test_names_of_one_report(self) -> None:
        """Alternatives without end are not all remembered; a title without a place among the names is known by its id,
        and so joins its group again."""
        groups = Groups()
        group = group_of(groups, report("a", *(f"alternative {number}" for number in range(2 * NAMES_LIMIT))))
        assert len(group.names) == len(groups._by_name) == NAMES_LIMIT
        assert group_of(groups, report("b", "alternative 0")) is group
        assert groups.find("b") is None
        assert group_of(groups, report("b")) is group
        assert len(groups) == 1

    def test_loose_reports(self) -> None:
        """The titles of incomplete reports without a group are bounded, and the replaced ones counted."""
        groups = Groups()
        for number in range(LOOSE_LIMIT + 2):
            groups.add(report(f"BUG: {number}", incomplete="lines lost", messages=(extended_message("x"),)))
        assert len(groups.loose) == LOOSE_LIMIT
        assert (groups.evicted, groups.evicted_reports) == (2, 2)
        assert all(loose.sample is not None and not loose.sample.messages for loose in groups.loose)

    def test_the_default(self) -> None:
        """A fleet's bugs fit."""
        assert Groups()._limit == GROUPS_LIMIT == 1000


class TestStored:
    """Groups can leave the process, and be added up."""

    def test_the_way_to_json_and_back(self) -> None:
        """A group survives JSON, except its sample, which is passed beside it."""
        groups = Groups()
        for host in (1, 2):
            groups.add(report(PAGING, BAD_ACCESS, host=host, release="6.1", received_at=float(host)))
        group = group_of(groups, report(NULL, BAD_ACCESS, host=3, repeats=3, fatal=True))
        again = Group.from_fields(json.loads(json.dumps(group.fields())), group.sample)
        assert again == group

    def test_groups_of_several_workers(self) -> None:
        """The groups of one table are added to another; the sums are those of all reports in one table."""
        reports = [
            report(NULL, BAD_ACCESS, received_at=1.0),
            report(PAGING, BAD_ACCESS, received_at=2.0, host=2, repeats=2),
            report("WARNING in g", received_at=3.0, severity="notice"),
            report(NULL, received_at=4.0, host=4, severity="dead", fatal=True),
        ]
        one, first, second = Groups(), Groups(), Groups()
        for index, each in enumerate(reports):
            one.add(each)
            (first, second)[index % 2].add(each)
        for group in list(second):
            first.absorb(group)
        assert {group.id: group.fields() for group in first} == {group.id: group.fields() for group in one}
        assert first.reports == one.reports


NAMES = st.sampled_from([f"BUG: {name}" for name in "abcdef"])
REPORTS = st.builds(
    lambda title, alternatives, host, **fields: report(title, *alternatives, host=host, **fields),
    title=NAMES,
    alternatives=st.lists(NAMES, max_size=2),
    host=st.integers(1, 9),
    received_at=st.floats(0, 100),
    severity=st.sampled_from(list(SEVERITIES)),
    incomplete=st.sampled_from([None, None, "lines lost"]),
    release=st.sampled_from([None, "6.1", "7.3"]),
    repeats=st.integers(0, 3),
)


@given(st.lists(REPORTS, max_size=30), st.integers(1, 5))
def test_any_reports(reports: list[Report], limit: int) -> None:
    """Any reports in any order: none is lost from the sums, each name leads to one group that has it, no two groups
    share a name, and the bounds hold."""
    groups = Groups(limit=limit)
    for each in reports:
        group = groups.add(each)
        assert each.incomplete is not None or group is not None
        if group is not None:
            assert groups.get(group.id) is group
    assert len(groups) <= limit
    found = list(groups)
    assert groups.reports == sum(1 + each.repeats for each in reports)
    kept = [*found, *groups.loose]
    assert groups.reports == sum(group.count for group in kept) + groups.evicted_reports
    names = [name for group in found for name in group.names]
    assert len(names) == len(set(names)) == len(groups._by_name)
    assert all(groups.find(name) is group for group in found for name in group.names)
    assert set(groups._single) <= {group.id for group in found}
    for group in kept:
        assert group.count == sum(seen.count for seen in group.machines.values()) + group.machines_beyond
        assert group.first <= group.last
        assert group.severity in SEVERITIES
    assert module.SAMPLES_BYTES_LIMIT >= groups._samples_bytes == 0


@given(st.lists(REPORTS.filter(lambda each: each.incomplete is None), max_size=12), st.randoms())
def test_any_order(reports: list[Report], random: Any) -> None:
    """The bugs, and their sums, do not depend on the order of whole reports."""
    shuffled = list(reports)
    random.shuffle(shuffled)

    def bugs(each: list[Report]) -> set[tuple[Any, ...]]:
        groups = Groups()
        for one in each:
            groups.add(one)
        return {(frozenset(g.names), g.count, g.severity, frozenset(g.machines)) for g in groups}

    assert bugs(reports) == bugs(shuffled)
