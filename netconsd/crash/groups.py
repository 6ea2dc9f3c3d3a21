"""Groups of crash reports that are of the same bug (CRASHES section 6), as far as netconsd remembers them.

1. **Same.** Two reports are of one bug if the title or an alternative of one equals the title or an alternative of the
   other. A report that shares names with several groups unites them: the oldest keeps its :attr:`Group.id`, and the
   others' ids lead to it from then on.
2. **Incomplete.** The function of an incomplete report may be wrong. Such a report joins the group of its title, else
   of its first alternative that has one; it founds no group, unites none, and gives none a name. Without a group it is
   listed in :attr:`Groups.loose` under its title, and joins the group that a whole report founds later.
3. **Id.** A hash of the title of the first report: the same in every run, and in every process.
4. **Bounds.** Everything is bounded; see the constants. A further group replaces the one that was seen longest ago
   among those with a single report, which strangers can forge, or among all.

Pure, and not thread-safe: groups of several workers are kept apart, and added up by :meth:`Groups.absorb`.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Final

from netconsd.crash.report import SEVERITIES

if TYPE_CHECKING:
    from netconsd.crash.report import Report

#: A fleet has tens of bugs; a test farm some hundreds.
GROUPS_LIMIT: Final = 1000
#: Titles of incomplete reports without a group.
LOOSE_LIMIT: Final = 256
#: Titles and alternatives of one group. Reports that link groups add names; beyond, names of further reports are not
#: remembered.
NAMES_LIMIT: Final = 64
#: Machines of a group by name; the reports of further ones are counted. 256 machines of 1000 groups are 40 MB.
MACHINES_LIMIT: Final = 256
#: Releases of a group by name; the reports of further ones are counted.
RELEASES_LIMIT: Final = 64
#: The bytes of the messages of all samples. Beyond, the groups that were seen longest ago keep theirs without messages.
SAMPLES_BYTES_LIMIT: Final = 32 * 1024 * 1024
#: A bug that came at least this often, and this large a part of it on one machine, is that machine's.
LONE_REPORTS: Final = 3
LONE_SHARE: Final = 0.9

# The memory of a message besides its bytes (netconsd.protocol.reorder).
_MESSAGE_OVERHEAD: Final = 560
_ID_CHARACTERS: Final = 12
_WORST: Final = {severity: rank for rank, severity in enumerate(SEVERITIES)}


@dataclass(slots=True)
class Seen:
    """The number of reports, and the times of the first and the last one (Unix time)."""

    count: int
    first: float
    last: float

    def add(self, other: Seen) -> None:
        self.count += other.count
        self.first = min(self.first, other.first)
        self.last = max(self.last, other.last)


@dataclass(slots=True)
class Group(Seen):
    """The reports of one bug. ``count``, ``first`` and ``last`` are of the reports, with their repeats."""

    #: 12 hexadecimal digits: a hash of the title of the first report.
    id: str
    #: The title of the first report.
    title: str
    kind: str
    #: The worst severity of a report.
    severity: str
    #: The titles and alternatives of the reports, the first title first; at most :data:`NAMES_LIMIT`.
    names: dict[str, None] = field(default_factory=dict)
    #: The addresses of the machines; at most :data:`MACHINES_LIMIT`.
    machines: dict[str, Seen] = field(default_factory=dict)
    #: Reports of further machines.
    machines_beyond: int = 0
    #: The kernels' releases, in the order in which they were seen; at most :data:`RELEASES_LIMIT`.
    releases: dict[str, Seen] = field(default_factory=dict)
    #: Reports of further releases.
    releases_beyond: int = 0
    #: Reports with which a machine went down; those that are incomplete; and those that followed from another report.
    fatal: int = 0
    incomplete: int = 0
    consequences: int = 0
    #: The ids of groups that were united with this one; at most :data:`NAMES_LIMIT`.
    merged: tuple[str, ...] = ()
    #: The report that shows the bug best: whole, with a function, of a kernel without taint, fatal, with most frames.
    sample: Report | None = None

    @property
    def lone_machine(self) -> str | None:
        """The address of the machine whose hardware or set-up is the likely cause, because it alone has the bug again
        and again; None if there is none. It says something only if other machines run the same kernel."""
        known = sum(seen.count for seen in self.machines.values())
        if known < LONE_REPORTS or not self.machines:
            return None
        address, seen = max(self.machines.items(), key=lambda item: item[1].count)
        return address if seen.count >= LONE_SHARE * (known + self.machines_beyond) else None

    def fields(self) -> dict[str, Any]:
        """Return everything but the sample, as values that JSON can hold; :meth:`from_fields` is the way back."""
        return {
            "id": self.id,
            "title": self.title,
            "kind": self.kind,
            "severity": self.severity,
            "count": self.count,
            "first": self.first,
            "last": self.last,
            "names": list(self.names),
            "machines": {name: [seen.count, seen.first, seen.last] for name, seen in self.machines.items()},
            "machines_beyond": self.machines_beyond,
            "releases": {name: [seen.count, seen.first, seen.last] for name, seen in self.releases.items()},
            "releases_beyond": self.releases_beyond,
            "fatal": self.fatal,
            "incomplete": self.incomplete,
            "consequences": self.consequences,
            "merged": list(self.merged),
            "lone_machine": self.lone_machine,
        }

    @classmethod
    def from_fields(cls, fields: Mapping[str, Any], sample: Report | None = None) -> Group:
        """Return the group of :meth:`fields`.

        :raises KeyError: a field is missing.
        """
        names = ("id", "title", "kind", "severity", "count", "first", "last", "machines_beyond", "releases_beyond")
        return cls(
            **{name: fields[name] for name in (*names, "fatal", "incomplete", "consequences")},
            names=dict.fromkeys(fields["names"]),
            machines={name: Seen(*seen) for name, seen in fields["machines"].items()},
            releases={name: Seen(*seen) for name, seen in fields["releases"].items()},
            merged=tuple(fields["merged"]),
            sample=sample,
        )

    def merge(self, other: Group) -> None:
        """Add the sums of another group of the same bug, and its names, unless all its reports are incomplete."""
        if other.incomplete < other.count:
            for name in other.names:
                if len(self.names) < NAMES_LIMIT:
                    self.names[name] = None
            ids = dict.fromkeys((*self.merged, other.id, *other.merged))
            ids.pop(self.id, None)
            self.merged = tuple(ids)[:NAMES_LIMIT]
        self.add(other)
        if _WORST[other.severity] < _WORST[self.severity]:
            self.severity = other.severity
        self.machines_beyond += other.machines_beyond + _merge(self.machines, other.machines, MACHINES_LIMIT)
        self.releases_beyond += other.releases_beyond + _merge(self.releases, other.releases, RELEASES_LIMIT)
        self.fatal += other.fatal
        self.incomplete += other.incomplete
        self.consequences += other.consequences
        if self.sample is None or (other.sample is not None and _quality(other.sample) > _quality(self.sample)):
            self.sample = other.sample


class Groups:
    """The groups of reports, each bug one; see the rules at the top."""

    def __init__(self, *, limit: int = GROUPS_LIMIT, samples_bytes: int = SAMPLES_BYTES_LIMIT) -> None:
        """
        :param limit: the greatest number of groups.
        :param samples_bytes: the bytes of the messages of all samples.
        """
        self._limit = max(1, limit)
        self._samples_limit = samples_bytes
        # By id, in the order in which they were seen last.
        self._groups: OrderedDict[str, Group] = OrderedDict()
        # The ids of the groups with a single report, in the same order.
        self._single: OrderedDict[str, None] = OrderedDict()
        # The ids of groups by title and alternative, and by the id of a group that was united with another.
        self._by_name: dict[str, str] = {}
        self._united: dict[str, str] = {}
        # By title.
        self._loose: OrderedDict[str, Group] = OrderedDict()
        self._samples_bytes = 0
        #: Reports added, with their repeats: those of the groups, of the loose ones, and of what was evicted.
        self.reports = 0
        #: Groups and titles of loose reports that were replaced because of a bound, and their reports.
        self.evicted = 0
        self.evicted_reports = 0
        #: Samples that lost their messages because of the bound on bytes.
        self.samples_dropped = 0

    def __len__(self) -> int:
        return len(self._groups)

    def __iter__(self) -> Iterator[Group]:
        """The groups, the one seen last first."""
        return iter(list(reversed(self._groups.values())))

    @property
    def loose(self) -> list[Group]:
        """The incomplete reports that belong to no group, added up by title, the one seen last first.

        Their samples are without messages.
        """
        return list(reversed(self._loose.values()))

    def get(self, id: str) -> Group | None:  # noqa: A002 (the field's name)
        """Return the group with an id, also with that of a group that was united with it."""
        return self._groups.get(self._united.get(id, id))

    def find(self, name: str) -> Group | None:
        """Return the group that has a title or an alternative."""
        found = self._by_name.get(name)
        return None if found is None else self._groups[found]

    def add(self, report: Report) -> Group | None:
        """Return the group that a report joins or founds; None if it is incomplete and has no group yet."""
        count = 1 + max(0, report.repeats)
        self.reports += count
        names = (report.title, *report.alternatives)
        if report.incomplete is not None:
            for name in names:
                group = self.find(name)
                if group is not None:
                    return self._join(_group_of(report, names, count), group)
            self._add_loose(_group_of(replace(report, messages=(), before=()), names, count))
            return None
        return self._unite(_group_of(report, names, count))

    def absorb(self, group: Group) -> Group:
        """Add a group of another table, with all its reports; return the one that it joined, or itself.

        The other table must not be used afterwards.
        """
        self.reports += group.count
        return self._unite(group)

    def _unite(self, new: Group) -> Group:
        """Add a group, and unite all that share a name with it."""
        found = {self._by_name[name] for name in new.names if name in self._by_name}
        same = self.get(new.id)
        if same is not None:
            found.add(same.id)
        groups = sorted((self._groups[key] for key in found), key=lambda group: (group.first, group.id))
        if not groups:
            self._found(new)
            kept = new
        else:
            kept, *others = groups
            for other in others:
                self._remove(other)
                self._join(other, kept)
            self._join(new, kept)
        for loose in [loose for loose in self._loose.values() if not loose.names.keys().isdisjoint(kept.names)]:
            del self._loose[loose.title]
            self._join(loose, kept)
        return kept

    def _found(self, group: Group) -> None:
        if len(self._groups) >= self._limit:
            evicted = self._groups[next(iter(self._single or self._groups))]
            self._remove(evicted)
            self.evicted += 1
            self.evicted_reports += evicted.count
        self._groups[group.id] = group
        if group.count == 1:
            self._single[group.id] = None
        self._index(group)
        self._add_sample(group)

    def _join(self, other: Group, group: Group) -> Group:
        """Add a group that is not in the table to one that is."""
        self._samples_bytes -= _bytes_of(group.sample)
        group.merge(other)
        self._groups.move_to_end(group.id)
        self._single.pop(group.id, None)
        self._index(group)
        self._add_sample(group)
        return group

    def _remove(self, group: Group) -> None:
        del self._groups[group.id]
        self._single.pop(group.id, None)
        for name in group.names:
            if self._by_name.get(name) == group.id:
                del self._by_name[name]
        for merged in group.merged:
            self._united.pop(merged, None)
        self._samples_bytes -= _bytes_of(group.sample)

    def _index(self, group: Group) -> None:
        for name in group.names:
            self._by_name.setdefault(name, group.id)
        for merged in group.merged:
            self._united[merged] = group.id

    def _add_sample(self, group: Group) -> None:
        self._samples_bytes += _bytes_of(group.sample)
        if self._samples_bytes <= self._samples_limit:
            return
        for other in self._groups.values():
            size = _bytes_of(other.sample)
            if size and other.sample is not None:
                other.sample = replace(other.sample, messages=(), before=())
                self._samples_bytes -= size
                self.samples_dropped += 1
            if self._samples_bytes <= self._samples_limit:
                return

    def _add_loose(self, new: Group) -> None:
        known = self._loose.get(new.title)
        if known is not None:
            known.merge(new)
            self._loose.move_to_end(new.title)
            return
        if len(self._loose) >= LOOSE_LIMIT:
            _, evicted = self._loose.popitem(last=False)
            self.evicted += 1
            self.evicted_reports += evicted.count
        self._loose[new.title] = new


def group_id(title: str) -> str:
    """Return the id of the group whose first report has a title."""
    return sha256(title.encode()).hexdigest()[:_ID_CHARACTERS]


def _group_of(report: Report, names: tuple[str, ...], count: int) -> Group:
    """Return a group of one report."""
    at = report.received_at
    machine = None if report.source is None else report.source.address
    return Group(
        count,
        at,
        at,
        id=group_id(report.title),
        title=report.title,
        kind=report.kind,
        severity=report.severity,
        names=dict.fromkeys(names[:NAMES_LIMIT]),
        machines={} if machine is None else {machine: Seen(count, at, at)},
        releases={} if report.release is None else {report.release: Seen(count, at, at)},
        fatal=int(report.fatal),
        incomplete=0 if report.incomplete is None else count,
        consequences=0 if report.consequence_of is None else count,
        sample=report,
    )


def _merge(kept: dict[str, Seen], other: dict[str, Seen], limit: int) -> int:
    """Add up by name; return the number of reports whose name has no place."""
    beyond = 0
    for name, seen in other.items():
        if name in kept:
            kept[name].add(seen)
        elif len(kept) < limit:
            kept[name] = replace(seen)
        else:
            beyond += seen.count
    return beyond


def _quality(report: Report) -> tuple[int, ...]:
    """A greater value for a better sample; the earlier one of equals is kept."""
    return (
        report.incomplete is None,
        report.consequence_of is None,
        report.function is not None,
        bool(report.messages),
        not report.tainted,
        report.fatal,
        sum(not frame.questionable for frame in report.frames),
    )


def _bytes_of(report: Report | None) -> int:
    if report is None:
        return 0
    return sum(len(message.raw) + _MESSAGE_OVERHEAD for message in (*report.messages, *report.before))
