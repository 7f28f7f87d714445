"""Built-in algorithms over rows and Arrow tables; results come back in the form that the data had."""

from onex_mesh.compute.core.algorithm import Merge, MergeStrategy
from onex_mesh.compute.core.builtins.checking import merge_checked, validate_rows
from onex_mesh.compute.core.builtins.describing import describe_columns, merge_descriptions
from onex_mesh.compute.core.builtins.filtering import filter_rows
from onex_mesh.compute.core.builtins.grouping import group_rows, merge_groups
from onex_mesh.compute.core.builtins.joining import join_rows
from onex_mesh.compute.core.builtins.mapping import map_rows
from onex_mesh.compute.core.builtins.normalising import merge_normalised, normalise_columns
from onex_mesh.compute.core.builtins.ordering import (
    deduplicate_rows,
    merge_distinct,
    merge_sorted,
    project_rows,
    sort_rows,
)
from onex_mesh.compute.core.signature import Function

TABULAR: tuple[tuple[Function, str, Merge], ...] = (
    (filter_rows, "filter", MergeStrategy.CONCATENATE),
    (map_rows, "map", MergeStrategy.CONCATENATE),
    (project_rows, "project", MergeStrategy.CONCATENATE),
    (sort_rows, "sort", merge_sorted),
    (deduplicate_rows, "deduplicate", merge_distinct),
    (group_rows, "group_by", merge_groups),
    (join_rows, "join", None),
    (describe_columns, "describe", merge_descriptions),
    (normalise_columns, "normalise", merge_normalised),
    (validate_rows, "validate", merge_checked),
)
"""Function, name, and how results of chunks become one; None where that cannot be."""

__all__ = ["TABULAR"]
