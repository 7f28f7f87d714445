"""The pure part of the COMPUTE node: algorithms, data, validation, chunks and formats."""

from onex_mesh.compute.core.algorithm import Algorithm, MergeStrategy
from onex_mesh.compute.core.context import ComputeContext
from onex_mesh.compute.core.registry import AlgorithmRegistry

__all__ = ["Algorithm", "AlgorithmRegistry", "ComputeContext", "MergeStrategy"]
