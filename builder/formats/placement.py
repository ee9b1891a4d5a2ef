"""Where things go on a disk so that a change moves little else. Pure: what is called what, and where there is room.

A snapshot is sent in slots of equal length, so what counts is how many slots are other ones. Things are taken in the
order of their names and cut into chunks that fill a slot, and a chunk goes where the hash of its first name says. The
cut is made before the name with the smallest hash among those that would fill the slot's last part: whoever grows by a
bit before it seldom moves the cut, so the next chunk is what it was. What fills slots by itself gets slots of its own,
and only its end is in the chunks.
"""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

_TRIES = 16
"""Places that are tried before the next one that is free."""


class NoRoomError(ValueError):
    """More is wanted than there is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Need:
    """`units` are wanted for what has this name; no two have the same."""

    name: bytes
    units: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """One of `siblings` in a family, which wants to be near them."""

    name: bytes
    family: bytes
    siblings: int


@dataclass(frozen=True, slots=True)
class Run:
    """`length` units from `start` on."""

    start: int
    length: int

    @property
    def end(self) -> int:
        return self.start + self.length


@dataclass(frozen=True, slots=True, kw_only=True)
class Placed:
    """The runs of each need, in the order of the needs, and what is left, lowest first."""

    runs: tuple[tuple[Run, ...], ...]
    left: tuple[Run, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Piece:
    """Part of a need, in a chunk or in slots of its own."""

    need: int
    skip: int
    """Units of the need that come before."""
    units: int


@dataclass(frozen=True, slots=True, kw_only=True)
class _Group:
    """Pieces that lie one behind another in `slots` slots."""

    name: bytes
    slots: int
    pieces: tuple[_Piece, ...]


def place(needs: Sequence[Need], free: Sequence[Run], *, slot: int) -> Placed:
    """Room for every need, of what is free: runs in order, that neither touch nor overlap. Slots start at multiples of
    `slot` units. NoRoomError if all is too little; else there is always a way, be it in small runs.
    """
    wanted, there = sum(each.units for each in needs), sum(each.length for each in free)
    if wanted > there:
        raise NoRoomError(f"{wanted} are wanted, and {there} are free")
    groups = [*_bodies(needs, slot), *_chunks(needs, slot)]
    found: list[dict[int, list[Run]]] = [{} for _ in needs]
    taken: list[Run] = []
    homeless: list[_Piece] = []
    for group, start in _homes(groups, free, slot):
        if start is None:
            homeless += group.pieces
            continue
        at = start
        for piece in group.pieces:
            found[piece.need][piece.skip] = [Run(at, piece.units)]
            at += piece.units
        taken.append(Run(start, at - start))
    left = _without(free, sorted(taken, key=lambda run: run.start))
    for piece in homeless:
        found[piece.need][piece.skip], left = _take(left, piece.units)
    return Placed(
        runs=tuple(tuple(run for skip in sorted(parts) for run in parts[skip]) for parts in found), left=tuple(left)
    )


def spread(members: Sequence[Member], room: int) -> list[int]:
    """A number below `room` for each. Whoever is new or gone moves hardly anybody else, and mostly of its own family; a
    family is close together. NoRoomError if there are more members than numbers.
    """
    if len(members) > room:
        raise NoRoomError(f"{len(members)} are wanted, and {room} are free")
    homes = min(_roomy(len(members)), room)
    found = [0] * len(members)
    taken = bytearray(homes)
    for index in sorted(range(len(members)), key=lambda each: (_hash(members[each].name), members[each].name)):
        tries = _near(members[index], homes)
        number = next((each for each in tries if not taken[each]), -1)
        found[index] = taken.find(0) if number < 0 else number
        taken[found[index]] = 1
    return found


def _near(member: Member, homes: int) -> Iterator[int]:
    """Where a member may be: a few numbers in its family's place, then in others."""
    length = 1 << (2 * member.siblings).bit_length()
    for attempt in range(4 * _TRIES):
        start = _home(_hash(b"%d %s" % (attempt // _TRIES, member.family)), homes)
        yield (start + _hash(b"%d %s" % (attempt, member.name)) % length) % homes


def _bodies(needs: Sequence[Need], slot: int) -> Iterator[_Group]:
    for index, need in enumerate(needs):
        if count := need.units // slot:
            yield _Group(name=need.name, slots=count, pieces=(_Piece(need=index, skip=0, units=count * slot),))


def _chunks(needs: Sequence[Need], slot: int) -> Iterator[_Group]:
    """What does not fill a slot, cut so that each chunk does, nearly."""
    ends = [
        _Piece(need=index, skip=each.units // slot * slot, units=each.units % slot)
        for index, each in enumerate(needs)
        if each.units % slot
    ]
    first, begun = 0, 0  # units of the first end that the chunk before has
    while first < len(ends):
        after, filled = _cut(needs, ends, first, begun, slot)
        chunk = [_rest(ends[first], begun), *ends[first + 1 : after]]
        name = b"%d of %s" % (begun, needs[ends[first].need].name)
        first, begun = after, 0
        if after < len(ends) and filled < slot // 2:
            begun = slot - filled
            chunk.append(replace(ends[after], units=begun))
        yield _Group(name=name, slots=1, pieces=tuple(chunk))


def _cut(needs: Sequence[Need], ends: Sequence[_Piece], first: int, begun: int, slot: int) -> tuple[int, int]:
    """Which end comes after the chunk that starts with `first`, and how full it is; if not even half, there is no good
    place, and the chunk is filled with a part of the next.
    """
    filled, after = -begun, first
    cuts = []
    while after < len(ends) and filled + ends[after].units <= slot:
        filled += ends[after].units
        after += 1
        if filled >= slot // 2 and after < len(ends):
            cuts.append((filled < _window(slot), _hash(needs[ends[after].need].name), after, filled))
    return min(cuts)[2:] if cuts and after < len(ends) else (after, filled)


def _rest(piece: _Piece, begun: int) -> _Piece:
    return replace(piece, skip=piece.skip + begun, units=piece.units - begun)


def _window(slot: int) -> int:
    """An eighth may stay empty; half of a slot only where larger things lie side by side, which are not cut in two."""
    return slot - slot // 8


def _homes(groups: Sequence[_Group], free: Sequence[Run], slot: int) -> Iterator[tuple[_Group, int | None]]:
    """Where each group starts; None where no row of free slots is long enough."""
    empty = bytearray(max((run.end for run in free), default=0) // slot)
    for run in free:
        for index in range(-(-run.start // slot), run.end // slot):
            empty[index] = 1
    homes = min(_roomy(sum(group.slots for group in groups)), len(empty))
    # Long rows first, as they are the hardest to place; by powers of two, as one that grows should keep its turn.
    for group in sorted(groups, key=lambda each: (-each.slots.bit_length(), _hash(each.name), each.name)):
        start = _find(empty, homes, group)
        if start is not None:
            empty[start : start + group.slots] = bytes(group.slots)
        yield group, None if start is None else start * slot


def _find(empty: bytearray, homes: int, group: _Group) -> int | None:
    row = b"\1" * group.slots
    for attempt in range(_TRIES if homes else 0):
        start = _home(_hash(b"%d %s" % (attempt, group.name)), homes)
        if empty.startswith(row, start):
            return start
    start = empty.find(row)
    return None if start < 0 else start


def _roomy(slots: int) -> int:
    """Half as many again or more, as a power of two or one and a half: a tree that grows a bit keeps this number."""
    power = 1 << (slots * 3 // 2).bit_length()
    return power * 3 // 4 if power * 3 // 4 >= slots * 3 // 2 else power


def _home(number: int, homes: int) -> int:
    """Linear hashing (Litwin, 1980): with one home more, one of so many moves."""
    power = 1 << (homes - 1).bit_length()
    return number % power if number % power < homes else number % (power // 2)


def _hash(name: bytes) -> int:
    return int.from_bytes(hashlib.blake2b(name, digest_size=8).digest())


def _without(free: Sequence[Run], taken: Sequence[Run]) -> list[Run]:
    """Both are in order, and what is taken was free."""
    left = []
    remaining = iter(taken)
    following = next(remaining, None)
    for run in sorted(free, key=lambda each: each.start):
        at = run.start
        while following and following.start < run.end:
            if following.start > at:
                left.append(Run(at, following.start - at))
            at = following.end
            following = next(remaining, None)
        if at < run.end:
            left.append(Run(at, run.end - at))
    return left


def _take(left: list[Run], units: int) -> tuple[list[Run], list[Run]]:
    """The lowest, and what remains."""
    taken = []
    for index, run in enumerate(left):
        length = min(run.length, units)
        taken.append(Run(run.start, length))
        units -= length
        if not units:
            rest = [Run(run.start + length, run.length - length)] if length < run.length else []
            return taken, [*rest, *left[index + 1 :]]
    raise AssertionError("the room was counted before")
