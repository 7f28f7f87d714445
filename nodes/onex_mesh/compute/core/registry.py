"""The algorithms that a node knows, by name and version (R32, R42)."""

from __future__ import annotations

from collections.abc import Iterator

from onex_mesh.compute.core.algorithm import Algorithm, Merge
from onex_mesh.compute.core.signature import Function
from onex_mesh.runtime.definition import Versions
from onex_mesh.runtime.errors import AlgorithmNotFoundError


class AlgorithmRegistry:
    """Algorithms by name and version; without a version, the newest by PEP 440."""

    def __init__(self) -> None:
        self._algorithms: Versions[Algorithm] = Versions()

    def add(self, algorithm: Algorithm) -> None:
        """Registers an algorithm.

        Raises:
            ValidationError: Its name and version are taken.
        """
        self._algorithms.add(algorithm.name, algorithm.version, algorithm, algorithm.function)

    def add_function(
        self,
        function: Function,
        *,
        name: str = "",
        version: str = "1.0.0",
        pure: bool = True,
        merge: Merge = None,
        description: str = "",
        own_merge: bool = False,
    ) -> Algorithm:
        """Registers the algorithm that a function is; see `Algorithm.from_function`.

        Raises:
            ValidationError: Its signature is wrong, or its name and version are taken; with file and line.
        """
        algorithm = Algorithm.from_function(
            function,
            name=name,
            version=version,
            pure=pure,
            merge=merge,
            description=description,
            own_merge=own_merge,
        )
        self.add(algorithm)
        return algorithm

    def get(self, name: str, version: str = "") -> Algorithm:
        """The algorithm of that name and version; the newest if no version is given.

        Raises:
            AlgorithmNotFoundError: There is none; the message says which there are (R41).
        """
        algorithm = self._algorithms.get(name, version)
        if algorithm is not None:
            return algorithm
        versions = self._algorithms.versions(name)
        if versions:
            raise AlgorithmNotFoundError(
                f"the algorithm {name!r} has no version {version!r}; it has {', '.join(versions)}",
                error_context={"algorithm_type": name, "version": version, "versions": versions},
            )
        known = ", ".join(self._algorithms.names()) or "none"
        raise AlgorithmNotFoundError(
            f"no algorithm {name!r} is registered; known: {known}",
            error_context={"algorithm_type": name, "known": self._algorithms.names()},
        )

    def names(self) -> list[str]:
        """All names, sorted."""
        return self._algorithms.names()

    def __iter__(self) -> Iterator[Algorithm]:
        """All algorithms, by name and then by version."""
        return iter(self._algorithms)
