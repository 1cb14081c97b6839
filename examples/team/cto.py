#!/usr/bin/env python3
"""The CTO: counts the files and lines of the git repository in the working folder.

    sinew agent run --role cto -- python3 examples/team/cto.py

With `"hold": true` in the input, the first attempt stops half-way and waits to be killed, so that
the demo can show that on a repository of any size. Later attempts go through.
"""

import collections
import json
import os
import subprocess
import sys
import time

HOLD_SECONDS = 30


def say(message, percent):
    print(json.dumps({"progress": {"message": message, "percent": percent}}), flush=True)


def hold():
    """Waits for the death of whoever started this program; then there is nobody to work for."""
    parent = os.getppid()
    end = time.monotonic() + HOLD_SECONDS
    while os.getppid() == parent and time.monotonic() < end:
        time.sleep(0.02)
    if os.getppid() != parent:
        sys.exit("the agent is gone")


def main():
    task = json.load(sys.stdin)
    listed = subprocess.run(["git", "ls-files", "-z"], capture_output=True, check=True).stdout
    paths = [os.fsdecode(path) for path in listed.split(b"\0") if path]
    files, lines = collections.Counter(), collections.Counter()
    for number, path in enumerate(paths):
        if number == len(paths) // 2:
            say(f"{number} of {len(paths)} files are counted", 50)
            if task["attempt"] == 1 and (task.get("input") or {}).get("hold"):
                hold()
        try:
            with open(path, "rb") as file:
                content = file.read()
        except OSError:
            continue  # A folder of another repository, or a file that is not checked out.
        kind = os.path.splitext(path)[1].lstrip(".") or "other"
        files[kind] += 1
        if b"\0" not in content:
            lines[kind] += content.count(b"\n")
    kinds = [[kind, files[kind], lines[kind]] for kind, _ in files.most_common(6)]
    total = {"files": sum(files.values()), "lines": sum(lines.values()), "kinds": kinds}
    print(json.dumps({"result": total}))


if __name__ == "__main__":
    main()
