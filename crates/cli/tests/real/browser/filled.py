"""Fills the view of tasks directly, as if very many tasks had been done. They have all ended, so no
controller looks after them; their logs are nowhere."""

import sqlite3

PHASES = ["completed"] * 7 + ["failed", "cancelled", "dead"]
COLUMNS = ["task_id", "first_seq", "role", "delegator", "title", "depth", "priority", "phase",
           "epoch", "attempts", "failures", "created_at", "started_at", "updated_at", "ended_at",
           "due", "dead", "cause", "last_seq", "voids", "state"]
# Microseconds: one day in May 2026.
BEGUN = 1_778_400_000_000_000


def tasks(file, count):
    view = sqlite3.connect(file, timeout=30)
    with view:
        [(generation,)] = view.execute("SELECT generation FROM checkpoint WHERE live = 1")
        marks = ", ".join("?" * len(COLUMNS))
        sql = f"INSERT INTO tasks_{generation} ({', '.join(COLUMNS)}) VALUES ({marks})"
        view.executemany(sql, (row(number) for number in range(count)))
    view.close()


def row(number):
    phase = PHASES[number % len(PHASES)]
    at = BEGUN + number * 1_000_000
    seq = 1_000_000 + number
    why = '"attemptsExhausted"' if phase == "dead" else None
    cause = None if phase == "completed" else f"the disk of machine {number % 90} is full"
    return (f"t{number:012x}", seq, f"role-{number % 40}", "operator", f"Task number {number}", 0,
            "normal", phase, 1, 1, int(phase != "completed"), at, at + 300_000, at + 900_000,
            at + 900_000, at + 9_000_000_000, why, cause, seq, 0, "{}")
