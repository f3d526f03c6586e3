"""Files that are written whole or not at all."""

import os
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path

#: A buffer, or something that yields buffers one after the other.
Content = bytes | Iterable[bytes]


def replace_files(contents: Mapping[Path, Content]) -> None:
    """Write files beside their targets, then put all of them in place, in the given order.

    Parameters
    ----------
    contents : mapping of path to bytes or an iterable of bytes

    Raises
    ------
    OSError
        If a file cannot be written; what was there before is kept, and nothing else stays behind.
    """
    temporaries: dict[Path, Path] = {}
    try:
        for target, content in contents.items():
            handle, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
            temporaries[target] = Path(name)
            with os.fdopen(handle, "wb") as file:
                for part in (content,) if isinstance(content, bytes) else content:
                    file.write(part)
        # mkstemp makes private files; these get the permissions of any other new file.
        mask = os.umask(0)
        os.umask(mask)
        for target, temporary in temporaries.items():
            temporary.chmod(0o666 & ~mask)
            temporary.replace(target)
    except BaseException:
        for temporary in temporaries.values():
            temporary.unlink(missing_ok=True)
        raise
