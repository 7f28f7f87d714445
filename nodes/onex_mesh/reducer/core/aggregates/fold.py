"""What every aggregate is: a fold over values that continues, merges, and can be had for each of many groups."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self, TypeVar

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Groups:
    """Which group each value of a batch belongs to.

    Attributes:
        codes: Number of the group by value, from 0; for columns an array of NumPy.
        count: How many groups there are; each has at least one value.
    """

    codes: Sequence[int]
    count: int

    def split(self, values: Sequence[T]) -> list[list[T]]:
        """The values of each group, in their order."""
        parts: list[list[T]] = [[] for _ in range(self.count)]
        for code, value in zip(self.codes, values, strict=True):
            parts[code].append(value)
        return parts

    def sizes(self) -> list[int]:
        """How many values each group has."""
        if isinstance(self.codes, list):
            found = Counter(self.codes)
            return [found[code] for code in range(self.count)]
        import numpy as np

        sizes: list[int] = np.bincount(self.codes, minlength=self.count).tolist()
        return sizes


class Fold(ABC):
    """One aggregate under way. Immutable: each method returns another one.

    A batch of records is read once, which checks all its values; what was read is then taken, as one or by groups.
    """

    __slots__ = ()

    @abstractmethod
    def read(self, records: Sequence[object], offset: int) -> Sequence[object]:
        """The values of records: a list, or a column of a table.

        Args:
            records: Plain JSON, or the rows of a table.
            offset: How many records came before, for paths.

        Raises:
            ValidationError: Some do not fit; with the path of each, at most 100.
        """

    @abstractmethod
    def take(self, values: Sequence[object]) -> Self:
        """The fold with more values."""

    @abstractmethod
    def merge(self, other: Self) -> Self:
        """The fold of the values of both, those of `other` being the later ones."""

    @property
    def is_mergeable(self) -> bool:
        """Whether `merge` may be called."""
        return True

    @abstractmethod
    def resume(self, state: object, path: str) -> Self:
        """The fold that continues from a state, with the parameters of this one.

        Raises:
            StateConsistencyError: It is no state of this method.
        """

    @abstractmethod
    def result(self) -> object:
        """The aggregate: plain JSON, and decimals as such."""

    @abstractmethod
    def state(self) -> object:
        """What it takes to continue, as plain JSON."""

    def by_group(self, values: Sequence[object], groups: Groups) -> list[Self]:
        """This fold with the values of each group, by its number. Columns may have a quicker way."""
        return [self.take(part) for part in groups.split(values)]

    def add(self, records: Sequence[object], offset: int) -> Self:
        """The fold with more records; see `read`."""
        return self.take(self.read(records, offset))
