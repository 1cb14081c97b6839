#!/usr/bin/env python3
"""QA: checks the links and code blocks of a README, on a copy of the repository of its own.

    sinew agent run --role qa -- python3 examples/team/qa.py

`copy` in the input names the copy. A git that crashed may have left its lock there: then git
refuses, this attempt fails with what git says, and the next one finds the lock gone.
"""

import json
import os
import re
import subprocess
import sys


def git(copy, *args):
    done = subprocess.run(["git", "-C", copy, *args], capture_output=True, text=True)
    if done.returncode != 0:
        lock = os.path.join(copy, ".git", "index.lock")
        if os.path.exists(lock):
            os.remove(lock)  # Nobody else works on this copy, so whoever held it is gone.
        sys.exit(done.stderr.strip())
    return done.stdout


def check_block(language, code):
    """What is wrong with a code block, if anything can be said about its language."""
    if language in ("sh", "bash", "shell"):
        done = subprocess.run(["sh", "-n"], input=code, capture_output=True, text=True)
        return done.stderr.strip()
    try:
        if language == "json":
            json.loads(code)
        if language in ("python", "py"):
            compile(code, "README", "exec")
    except (ValueError, SyntaxError) as error:
        return str(error)
    return ""


def main():
    task = json.load(sys.stdin)
    copy = (task.get("input") or {}).get("copy") or "."
    git(copy, "read-tree", "HEAD")
    paths = git(copy, "ls-tree", "-r", "--name-only", "HEAD").splitlines()
    there = {os.path.dirname("/".join(path.split("/")[:n + 1])) for path in paths
             for n in range(path.count("/") + 1)} | set(paths)
    readme = next((path for path in paths if path.lower() == "readme.md"), None)
    text = git(copy, "show", f"HEAD:{readme}") if readme else ""
    print(json.dumps({"progress": f"reading {readme or 'nothing: there is no README.md'}"}), flush=True)

    blocks = re.findall(r"^```(\w*)[^\n]*\n(.*?)^```\s*$", text, re.MULTILINE | re.DOTALL)
    prose = re.sub(r"^```.*?^```\s*$", "", text, flags=re.MULTILINE | re.DOTALL)
    links = re.findall(r"\]\(([^)\s]+)\)", prose)
    findings = []
    if "```" in prose:
        findings.append("a code block is opened and not closed")
    for link in links:
        target = os.path.normpath(link.split("#")[0])
        if not re.match(r"[a-z]+:|#", link) and target != "." and target not in there:
            findings.append(f"the link {link} leads nowhere")
    for language, code in blocks:
        wrong = check_block(language, code)
        if wrong:
            findings.append(f"a {language} block is not sound: {wrong}")
    checked = {"links": len(links), "blocks": len(blocks), "findings": findings}
    print(json.dumps({"result": checked}))


if __name__ == "__main__":
    main()
