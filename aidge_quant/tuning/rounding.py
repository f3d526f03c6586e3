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
    target : float64 array (groups, out, taps), in integer units
    moments : float64 array (groups, taps, taps)
        Second moments of the layer's input, centered where a bias takes up the mean.
    limit : int
        The result lies in [-limit, limit].
    sweeps : int
        Of the coordinate descent.
    greedy : bool
        Begin from greedy rounding too, and keep the better of both, row by row.

    Returns
    -------
    float64 array (groups, out, taps) of integers, no row worse than nearest rounding

    Notes
    -----
    Greedy rounding with error feedback in the order of falling diagonal (GPTQ: Frantar et al. 2022,
    arXiv 2210.17323), then coordinate descent: with G = e M, tap j moves by ``-round(G_j / M_jj)``,
    which never raises the error.
    """
    nearest = np.clip(np.floor(target + 0.5), -limit, limit)
    found = _descend(nearest, target, moments, limit, sweeps)
    if not greedy:
        return found
    other = _descend(_greedy(target, moments, limit), target, moments, limit, sweeps)
    better = rounding_error(other, target, moments) < rounding_error(found, target, moments)
    return np.where(better[..., None], other, found)


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
    """Return e M e^T of every row, float64 (groups, out)."""
    e = q - target
    return np.einsum("goi,goi->go", e @ moments, e)


def _greedy(target: np.ndarray, moments: np.ndarray, limit: int) -> np.ndarray:
    taps = moments.shape[-1]
    diagonal = np.diagonal(moments, axis1=1, axis2=2)
    order = np.argsort(-diagonal, axis=1, kind="stable")
    damping = DAMPING * diagonal.mean(axis=1)
    damping[damping == 0] = 1.0  # taps that read nothing: any order and factor will do
    ordered = np.take_along_axis(moments, order[:, :, None], axis=1)
    ordered = np.take_along_axis(ordered, order[:, None, :], axis=2)
    damped = ordered + np.eye(taps) * damping[:, None, None]
    # The upper factor U of the inverse, U^T U = inv(M), says how later taps make up for an error;
    # it is the inverse of the Cholesky factor of M read backwards.
    backwards = np.linalg.cholesky(damped[:, ::-1, ::-1])
    factor = np.linalg.inv(backwards)[:, ::-1, ::-1]
    left = np.take_along_axis(target, order[:, None, :], axis=2)
    q = np.empty_like(left)
    for j in range(taps):
        q[:, :, j] = np.clip(np.floor(left[:, :, j] + 0.5), -limit, limit)
        error = (left[:, :, j] - q[:, :, j]) / factor[:, None, j, j]
        left[:, :, j + 1 :] -= error[:, :, None] * factor[:, None, j, j + 1 :]
    result = np.empty_like(q)
    np.put_along_axis(result, np.broadcast_to(order[:, None, :], q.shape), q, axis=2)
    return result


def _descend(
    q: np.ndarray, target: np.ndarray, moments: np.ndarray, limit: int, sweeps: int
) -> np.ndarray:
    q = q.copy()
    diagonal = np.diagonal(moments, axis1=1, axis2=2)
    live = diagonal > 1e-9 * diagonal.max(axis=1, keepdims=True)
    inverse = np.divide(1.0, diagonal, out=np.zeros(diagonal.shape), where=live)
    gradient = (q - target) @ moments
    for _ in range(sweeps):
        moved = False
        for j in np.flatnonzero(live.any(axis=0)):
            step = -np.floor(gradient[:, :, j] * inverse[:, None, j] + 0.5)
            step = np.clip(q[:, :, j] + step, -limit, limit) - q[:, :, j]
            if step.any():
                moved = True
                q[:, :, j] += step
                gradient += step[:, :, None] * moments[:, None, j, :]
        if not moved:
            break
    return q


def halving_errors(
    target: np.ndarray, moments: np.ndarray, limit: int, *, most: int = 2
) -> np.ndarray:
    """Return what halving the weight scale does: finer steps, the largest weights saturate.

    Parameters
    ----------
    target : float64 array (groups, out, taps), in units of the scale that holds the largest weight
    moments : float64 array (groups, taps, taps)

    Returns
    -------
    float64 array (most + 1, groups, out)
        Error of nearest rounding with 0 to ``most`` halvings, weighted by the moments.
    """
    errors = []
    for halvings in range(most + 1):
        scaled = target * 2.0**halvings
        q = np.clip(np.floor(scaled + 0.5), -limit, limit)
        errors.append(rounding_error(q, scaled, moments) * 4.0**-halvings)
    return np.stack(errors)
