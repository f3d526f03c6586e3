"""Where the package finds the files that are installed beside its modules."""

from pathlib import Path

__all__ = ["template_root"]


def template_root() -> Path:
    """Return the folder of the C templates.

    Returns
    -------
    pathlib.Path
        Inside the package when it was installed from a wheel; the ``templates`` folder of the
        source tree when it was installed in editable mode, so that an edit shows in the next
        export.

    Raises
    ------
    FileNotFoundError
        If neither folder exists.
    """
    package = Path(__file__).resolve().parent
    candidates = (package / "templates", package.parent / "templates")
    for folder in candidates:
        if folder.is_dir():
            return folder
    tried = " or ".join(str(folder) for folder in candidates)
    raise FileNotFoundError(
        f"templates of aidge_quant: expected a folder {tried}, found none; "
        "the installation is incomplete, install the package again"
    )
