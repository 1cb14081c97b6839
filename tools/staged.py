"""A folder below .tools that appears by one rename, so that nobody ever sees half of it.

A lock lets the second of two callers wait, and then find the work done. Needs Python 3.7.
"""

import fcntl
import os
import shutil
import sys
import tempfile
from pathlib import Path

TOOLS = Path(__file__).resolve().parent
FOLDER = TOOLS.parent / ".tools"


def install(name, stamps, fill):
    """Makes .tools/NAME by fill(staging), unless its stamps say that it is current.

    `stamps` are pairs of a name in the folder and a file of the checkout: what is installed, byte
    for byte, so that callers can tell by comparing them.
    """
    FOLDER.mkdir(exist_ok=True)
    target = FOLDER / name
    with open(FOLDER / f".{name}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if is_current(target, stamps):
            return
        print(f"installing {name} into .tools/{name}", file=sys.stderr)
        staging = Path(tempfile.mkdtemp(prefix=f"{name}.new-", dir=FOLDER))
        try:
            fill(staging)
            for stamp, source in stamps:
                shutil.copyfile(source, staging / stamp)
            staging.chmod(0o755)
            swap(staging, target)
        finally:
            shutil.rmtree(staging, ignore_errors=True)


def is_current(target, stamps):
    try:
        return all((target / n).read_bytes() == Path(s).read_bytes() for n, s in stamps)
    except OSError:
        return False


def swap(staging, target):
    old = target.with_name(f"{target.name}.old-{os.getpid()}")
    if target.exists():
        target.rename(old)
    staging.rename(target)
    shutil.rmtree(old, ignore_errors=True)
