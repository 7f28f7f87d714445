"""The check of a workflow's dependencies before it starts: there, healthy and of the right version (R99–R101)."""

from __future__ import annotations

from collections.abc import Sequence

from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.version import InvalidVersion, Version

from onex.v1 import node_pb2, workflow_pb2
from onex_mesh.orchestrator.ports import HealthMonitor, ServiceRegistry
from onex_mesh.runtime.errors import DependencyResolutionError, ValidationError, VersionIncompatibleError


async def check_dependencies(
    dependencies: Sequence[workflow_pb2.Dependency], registry: ServiceRegistry, health: HealthMonitor
) -> None:
    """Checks every required dependency.

    Raises:
        ValidationError: A version constraint cannot be read.
        DependencyResolutionError: A required service has no node, or no healthy one (R100).
        VersionIncompatibleError: It is there only in other versions; the error says required and found (R101).
    """
    for index, dependency in enumerate(dependencies):
        constraint = _constraint(dependency, index)
        if dependency.dependency_type == workflow_pb2.DEPENDENCY_TYPE_OPTIONAL:
            continue
        name = dependency.service_name
        offered = [node for node in registry.nodes() if node.service_name == name]
        if not offered:
            raise DependencyResolutionError(
                f"the required service {name!r} has no node", error_context={"service_name": name}
            )
        fitting = [node for node in offered if _fits(node, constraint)]
        if not fitting:
            found = sorted({node.version or "none" for node in offered})
            raise VersionIncompatibleError(
                f"the service {name!r} is required as {dependency.version_constraint}, found {', '.join(found)}",
                error_context={
                    "service_name": name,
                    "required": dependency.version_constraint,
                    "found": ", ".join(found),
                },
            )
        for node in fitting:
            if await health.is_healthy(node):
                break
        else:
            raise DependencyResolutionError(
                f"the required service {name!r} is not healthy on any of its {len(fitting)} nodes",
                error_context={"service_name": name},
            )


def _constraint(dependency: workflow_pb2.Dependency, index: int) -> SpecifierSet:
    at = f"dependency_resolution[{index}]"
    if not dependency.service_name:
        raise ValidationError(f"{at}.service_name is required", violations=((f"{at}.service_name", "is required"),))
    try:
        return SpecifierSet(dependency.version_constraint)
    except InvalidSpecifier as error:
        text = f"{dependency.version_constraint!r} is not a version constraint such as '>=1.2,<2'"
        raise ValidationError(
            f"{at}.version_constraint: {text}", violations=((f"{at}.version_constraint", text),)
        ) from error


def _fits(node: node_pb2.NodeInfo, constraint: SpecifierSet) -> bool:
    if not len(constraint):
        return True
    try:
        return constraint.contains(Version(node.version), prereleases=True)
    except InvalidVersion:
        return False
