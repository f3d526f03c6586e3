"""Round weights so that the output of a layer changes least, not the weights."""

import numpy as np

DAMPING = 0.01
RIDGE = 0.1


def round_weights(
    target: np.ndarray,
    moments: np.ndarray,
    limit: int,
    *,
    sweeps: int = 3,
    greedy: bool = True,
) -> np.ndarray:
    """Return integers q that make ``e M e^T`` small for e = q - target, row by row.

    Parameters
    ----------
    target : float64 array (out, taps), in integer units
    moments : float64 array (taps, taps)
        Second moments of the layer's input, centered where a bias takes up the mean.
    limit : int
        The result lies in [-limit, limit].
    sweeps : int
        Of the coordinate descent.
    greedy : bool
        Begin from greedy rounding too, and keep the better of both, row by row.

    Returns
    -------
    float64 array (out, taps) of integers, no row worse than nearest rounding

    Notes
    -----
    Greedy rounding with error feedback in the order of falling diagonal (GPTQ: Frantar et al. 2022,
    arXiv 2210.17323), then coordinate descent: with G = e M, tap j moves by ``-round(G_j / M_jj)``,
    which never raises the error.
    """
    nearest = np.clip(np.floor(target + 0.5), -limit, limit)
    diagonal = np.diag(moments)
    if not diagonal.max(initial=0.0) > 0:
        return nearest
    starts = [nearest, _greedy(target, moments, limit)] if greedy else [nearest]
    candidates = [_descend(start, target, moments, limit, sweeps) for start in starts]
    if not greedy:
        return candidates[0]
    errors = np.stack([rounding_error(q, target, moments) for q in candidates])
    best = errors.argmin(axis=0)
    return np.where((best == 0)[:, None], candidates[0], candidates[1])


def refitted(target: np.ndarray, read: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Return weights whose outputs on ``read`` are nearest to those of ``target`` on ``wanted``.

    Parameters
    ----------
    target : float64 array (out, taps)
    read, wanted : float array (rows, taps)
        What the layer reads in the integer and in the float network, in the same units, less their
        means.

    Returns
    -------
    float64 array (out, taps)

    Notes
    -----
    ``V = W + W E[(x - q) q^T] (H + ridge)^-1`` with H = E[q q^T], the least squares solution held
    near W by a tenth of the mean diagonal (Hubara et al. 2021, arXiv 2006.10518, without its
    gradient steps).
    """
    moments = read.T @ read
    ridge = RIDGE * float(np.diag(moments).mean())
    if ridge == 0:
        return target  # it reads nothing
    crossed = (wanted - read).T @ read
    # W C (H + r)^-1; the matrix is symmetric, so that solving from the left will do.
    moved = np.linalg.solve(moments + ridge * np.eye(len(moments)), (target @ crossed).T).T
    return target + moved


def rounding_error(q: np.ndarray, target: np.ndarray, moments: np.ndarray) -> np.ndarray:
    """Return e M e^T of every row, float64 (out,)."""
    e = q - target
    return np.einsum("oi,oi->o", e @ moments, e)


def _greedy(target: np.ndarray, moments: np.ndarray, limit: int) -> np.ndarray:
    taps = len(moments)
    order = np.argsort(-np.diag(moments), kind="stable")
    damped = moments[np.ix_(order, order)] + np.eye(taps) * (DAMPING * np.diag(moments).mean())
    # The upper factor U of the inverse, U^T U = inv(M), says how later taps make up for an error;
    # it is the inverse of the Cholesky factor of M read backwards.
    backwards = np.linalg.cholesky(damped[::-1, ::-1])
    factor = np.linalg.inv(backwards)[::-1, ::-1]
    left = target[:, order].copy()
    q = np.empty_like(left)
    for j in range(taps):
        q[:, j] = np.clip(np.floor(left[:, j] + 0.5), -limit, limit)
        error = (left[:, j] - q[:, j]) / factor[j, j]
        left[:, j + 1 :] -= error[:, None] * factor[j, j + 1 :]
    result = np.empty_like(q)
    result[:, order] = q
    return result


def _descend(
    q: np.ndarray, target: np.ndarray, moments: np.ndarray, limit: int, sweeps: int
) -> np.ndarray:
    q = q.copy()
    diagonal = np.diag(moments)
    live = np.flatnonzero(diagonal > 1e-9 * diagonal.max())
    gradient = (q - target) @ moments
    for _ in range(sweeps):
        moved = False
        for j in live:
            step = -np.floor(gradient[:, j] / diagonal[j] + 0.5)
            step = np.clip(q[:, j] + step, -limit, limit) - q[:, j]
            if step.any():
                moved = True
                q[:, j] += step
                gradient += step[:, None] * moments[j]
        if not moved:
            break
    return q


def exponents(
    target: np.ndarray, moments: np.ndarray, limit: int, *, per_row: bool, most: int = 2
) -> np.ndarray:
    """Return how often to halve the weight scale: finer steps, the largest weights saturate.

    Parameters
    ----------
    target : float64 array (out, taps), in units of the scale that holds the largest weight
    per_row : bool
        One choice a row, else one for the tensor.

    Returns
    -------
    int64 array (out,) or (), 0 to ``most``: least error of nearest rounding, weighted by moments
    """
    errors = []
    for halvings in range(most + 1):
        scaled = target * 2.0**halvings
        q = np.clip(np.floor(scaled + 0.5), -limit, limit)
        errors.append(rounding_error(q, scaled, moments) * 4.0**-halvings)
    table = np.stack(errors)
    return table.argmin(axis=0) if per_row else np.asarray(table.sum(axis=1).argmin())
