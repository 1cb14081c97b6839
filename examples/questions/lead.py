#!/usr/bin/env python3
"""The lead: asks for whom a text is, has its parts written, and puts them together.

    sinew agent run --role lead -- python3 examples/questions/lead.py

It waits for the answer, and then for its writers, without holding a slot: each time it says what it
waits for and ends. Once that has come it is started again with all that is known by then, so it
begins at the top every time. What it delegates has a key, and so is delegated once.
"""

import json
import subprocess
import sys


def say(**line):
    print(json.dumps(line), flush=True)


def delegate(part, audience):
    """Has a part written, whose text the editor must accept. Gives the id of the task."""
    command = ["sinew", "task", "delegate", "writer", f"Write about {part}"]
    command += ["--key", f"part-{part}", "--verifier", "editor"]
    command += ["--input", json.dumps({"part": part, "audience": audience})]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        sys.exit(done.stderr)
    return done.stdout.strip()


def main():
    task = json.load(sys.stdin)
    answers, ended = task["answers"], task["ended"]
    if "audience" not in answers:
        choices = ["beginners", "experts"]
        question = "For whom is the text?"
        say(blocked={"question": question, "key": "audience", "choices": choices})
        return
    parts = [delegate(part, answers["audience"]["answer"]) for part in task["input"]]
    if not all(part in ended for part in parts):
        say(waiting=parts)
        return
    for part in parts:
        if ended[part]["transition"] != "completed":
            sys.exit(f"{part} ended as {ended[part]}")
    say(result=" ".join(ended[part]["result"] for part in parts))


if __name__ == "__main__":
    main()
