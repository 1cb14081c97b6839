#!/usr/bin/env python3
"""The writer: writes one sentence, and heeds what the editor said about the one before.

    sinew agent run --role writer -- python3 examples/questions/writer.py
"""

import json
import sys


def main():
    task = json.load(sys.stdin)
    wish = task["input"]
    sentence = f"All about {wish['part']} for {wish['audience']}"
    # A first draft that is not quite right, so that there is something to see.
    if task["refusals"]:
        sentence += "."
    print(json.dumps({"result": sentence}))


if __name__ == "__main__":
    main()
