"""Peers are slow and do not change with our code: their figures are kept in build/benchmarks."""

import hashlib
import json
from pathlib import Path

from figures import Figures

FOLDER = Path(__file__).resolve().parents[1] / "build" / "benchmarks"


def digest(*parts):
    """Return the SHA-256 of files (Path), arrays and text, in order."""
    result = hashlib.sha256()
    for part in parts:
        if isinstance(part, Path):
            result.update(part.read_bytes())
        elif isinstance(part, str):
            result.update(part.encode())
        else:
            result.update(f"{part.dtype}{part.shape}".encode())
            result.update(part.tobytes())
    return result.hexdigest()


def remembered(name, key, measure, folder=FOLDER):
    """Return the figures stored as ``name`` under ``key``, else measure and store them.

    Parameters
    ----------
    name : str
        Peer, network and setting: the name of the file.
    key : str
        Digest of all the figures depend on; another key in the file means measuring again.
    measure : callable
        Returns `Figures`, or text that says why the peer cannot do this network.
    folder : Path, optional
    """
    path = folder / f"{name}.json"
    if path.is_file():
        stored = json.loads(path.read_text())
        if stored["key"] == key:
            return Figures(**stored["figures"]) if "figures" in stored else stored["refused"]
    found = measure()
    kept = {"refused": found} if isinstance(found, str) else {"figures": found.as_json()}
    folder.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"key": key, **kept}, indent=1) + "\n")
    return found
