#!/usr/bin/env python3
"""The CEO: prepares a release note out of what three others find out.

    sinew agent run --role ceo -- python3 examples/team/ceo.py

It delegates with the `sinew` command, which acts for this task: each child is made once, under its
key, however often this program is started for the task. Needs nothing but Python's own library.
"""

import json
import os
import subprocess
import sys


def delegate(role, title, details):
    """Starts a command that delegates a task and waits for its result."""
    command = ["sinew", "task", "delegate", role, title, "--key", role, "--wait", "--json"]
    return subprocess.Popen(
        command + ["--input", json.dumps(details)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )


def result(role, process):
    """What came of it; what did not complete fails this attempt, and is said as its cause."""
    output, _ = process.communicate()
    answer = json.loads(output) if output.strip() else {}
    if answer.get("end") != "completed":
        sys.exit(f"{role} did not complete: {answer or process.returncode}")
    print(json.dumps({"progress": f"{role} has delivered"}), flush=True)
    return answer["result"]


def git(*args):
    return subprocess.run(["git", *args], capture_output=True, text=True, check=True).stdout.strip()


def main():
    task = json.load(sys.stdin)
    details = task.get("input") or {}
    name = details.get("name") or os.path.basename(os.getcwd())
    waits = [
        ("cto", delegate("cto", f"Take a census of the code of {name}", details)),
        ("marketing", delegate("marketing", f"Sum up the history of {name}", details)),
        ("qa", delegate("qa", f"Check the README of {name}", details)),
    ]
    said = {role: result(role, process) for role, process in waits}

    census, checks = said["cto"], said["qa"]
    lines = [
        f"# {name}, release note of {git('describe', '--always', '--tags')}",
        "",
        "## What changed",
        said["marketing"],
        "",
        "## What it is made of",
        f"{census['files']} files, {census['lines']} lines of text:",
        *(f"- {kind}: {files} files, {count} lines" for kind, files, count in census["kinds"]),
        "",
        "## How sound its README is",
        f"{checks['links']} links and {checks['blocks']} code blocks were checked.",
        *(f"- {finding}" for finding in checks["findings"] or ["nothing was found wrong"]),
    ]
    print(json.dumps({"result": "\n".join(lines)}))


if __name__ == "__main__":
    main()
