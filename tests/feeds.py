"""Random inputs for small graphs, and results by name."""

import numpy as np


def feeds(graph, count, seed):
    """Return ``count`` samples in [-1, 1]: an array, or a dictionary for several inputs."""
    rng = np.random.default_rng(seed)
    arrays = {
        node.name: rng.uniform(-1, 1, (count, *node.operator.shape[1:])).astype(np.float32)
        for node in graph.inputs
    }
    return arrays if len(arrays) > 1 else next(iter(arrays.values()))


def named(arrays):
    """Return a dictionary of outputs, that of a single one under the name of all test graphs."""
    return arrays if isinstance(arrays, dict) else {"output": arrays}
