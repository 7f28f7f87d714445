"""Built-in algorithms over rows and Arrow tables; results come back in the form that the data had."""

from onex_mesh.compute.core.algorithm import Merge, MergeStrategy
from onex_mesh.compute.core.builtins.checking import validate_rows
from onex_mesh.compute.core.builtins.columns import describe_columns, normalise_columns
from onex_mesh.compute.core.builtins.filtering import filter_rows
from onex_mesh.compute.core.builtins.grouping import group_rows
from onex_mesh.compute.core.builtins.joining import join_rows
from onex_mesh.compute.core.builtins.mapping import map_rows
from onex_mesh.compute.core.builtins.ordering import deduplicate_rows, project_rows, sort_rows
from onex_mesh.compute.core.signature import Function

TABULAR: tuple[tuple[Function, str, Merge], ...] = (
    (filter_rows, "filter", MergeStrategy.CONCATENATE),
    (map_rows, "map", MergeStrategy.CONCATENATE),
    (project_rows, "project", MergeStrategy.CONCATENATE),
    (sort_rows, "sort", None),
    (deduplicate_rows, "deduplicate", None),
    (group_rows, "group_by", None),
    (join_rows, "join", None),
    (describe_columns, "describe", None),
    (normalise_columns, "normalise", None),
    (validate_rows, "validate", None),
)
"""Function, name, and how results of chunks become one; None where an item's result depends on all the others."""

__all__ = ["TABULAR"]
