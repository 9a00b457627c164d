"""Which code this is: the version, and a hash of the source that is really there."""

import hashlib
from functools import cache
from pathlib import Path

import cellml


@cache
def revision() -> str:
    """Version and eight hex digits of the package's sources: 0.1.0+1a2b3c4d. One changed line changes it."""
    root, known = Path(__file__).parent, hashlib.sha256()
    for path in sorted([*root.rglob("*.py"), *root.rglob("*.j2")]):
        known.update(path.relative_to(root).as_posix().encode() + b"\0" + path.read_bytes() + b"\0")
    return f"{cellml.__version__}+{known.hexdigest()[:8]}"
