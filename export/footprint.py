"""Memory of a contender, in a process of its own: ``python -m export.footprint`` reads a pickled contender and a text.

Imports nothing but the standard library, so that what the contender imports is counted.
"""

from __future__ import annotations

import gc
import os
import pickle
import resource
import subprocess
import sys
from pathlib import Path


def resident_megabytes(contender: object, text: str) -> float:
    """What a fresh Python process gains in resident memory by answering one text, libraries included.

    Args:
        contender: has a method ``predict(texts)`` and can be pickled.
        text: what it is asked.

    Raises:
        CalledProcessError: the contender fails.
    """
    done = subprocess.run(  # this very module
        [sys.executable, "-m", "export.footprint"],
        input=pickle.dumps((pickle.dumps(contender), text)),
        env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        capture_output=True,
        check=True,
    )
    return float(done.stdout)


def _gained(pickled: bytes, text: str) -> float:
    before = _resident()
    contender = pickle.loads(pickled)  # noqa: S301  # our own, from the parent process
    contender.predict([text])
    gc.collect()
    return _resident() - before


def _resident() -> float:
    """Resident memory of this process in megabytes."""
    try:
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    except OSError:  # no Linux: the most it ever had
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    return pages * resource.getpagesize() / 1e6


if __name__ == "__main__":
    sys.stdout.write(str(_gained(*pickle.load(sys.stdin.buffer))))  # noqa: S301  # see above
