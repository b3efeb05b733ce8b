"""A set of texts that takes 16 to 32 bytes each, by their hashes."""

from __future__ import annotations

from array import array
from hashlib import blake2b

_FIRST_SIZE = 1 << 16
_FULLEST = 0.5


class HashSet:
    """Hashes of 64 bits in an open-addressed table.

    Two texts of ten million have the same hash with a probability of 3 in a million; the second then counts as known.
    """

    def __init__(self) -> None:
        self._table = array("Q", bytes(8 * _FIRST_SIZE))
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def add(self, text: str) -> bool:
        """Add a text; True where it was not yet there."""
        digest = blake2b(text.encode("utf-8", "surrogateescape"), digest_size=8).digest()
        value = int.from_bytes(digest, "little") or 1  # 0 marks an empty place
        place = self._place(value)
        if self._table[place] == value:
            return False
        self._table[place] = value
        self._count += 1
        if self._count > _FULLEST * len(self._table):
            self._grow()
        return True

    def _place(self, value: int) -> int:
        """The place of a value, or the empty one where it belongs."""
        table, mask = self._table, len(self._table) - 1
        place = value & mask
        while table[place] not in (0, value):
            place = (place + 1) & mask
        return place

    def _grow(self) -> None:
        old = self._table
        self._table = array("Q", bytes(16 * len(old)))
        for value in old:
            if value:
                self._table[self._place(value)] = value
