#!/usr/bin/env python3
"""The editor: judges what others have written. Its result is the verdict.

    sinew agent run --role editor -- python3 examples/questions/editor.py
"""

import json
import sys


def main():
    work = json.load(sys.stdin)["input"]
    if work["result"].endswith("."):
        verdict = {"accepted": True, "evidence": {"checked": "the full stop"}}
    else:
        verdict = {"accepted": False, "reason": "a sentence ends with a full stop"}
    print(json.dumps({"result": verdict}))


if __name__ == "__main__":
    main()
