"""What the journeys through the dashboard have in common: a browser, the `sinew` command in the
folder of a running backbone, and waiting for states."""

import json
import os
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import expect, sync_playwright

FOLDER = Path(os.environ["SINEW_FOLDER"])
LINK = os.environ["DASHBOARD_LINK"]
URL = LINK.split("login?")[0]

# In milliseconds: longer than anything takes on a machine that does other things too.
LONG = 30_000
expect.set_options(timeout=LONG)


def command(*words):
    return [os.environ["SINEW_PROGRAM"], *words]


def environment():
    kept = {name: text for name, text in os.environ.items() if not name.startswith("SINEW_")}
    return {**kept, "SINEW_NATS_SERVER": os.environ["SINEW_NATS_SERVER"]}


def sinew(*words):
    """Runs a command that must end well, and gives what it printed."""
    done = subprocess.run(command(*words), cwd=FOLDER, env=environment(), capture_output=True,
                          text=True, stdin=subprocess.DEVNULL)
    assert done.returncode == 0, f"{words}: {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done.stdout.strip()


def sinew_json(*words):
    return json.loads(sinew(*words, "--json"))


@contextmanager
def running(*words):
    """A command that runs meanwhile."""
    with open(FOLDER / "meanwhile.log", "ab") as log:
        child = subprocess.Popen(command(*words), cwd=FOLDER, env=environment(), stdout=log,
                                 stderr=log, stdin=subprocess.DEVNULL)
    try:
        yield child
    finally:
        child.terminate()
        try:
            child.wait(20)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()


def agent(role, script):
    """An agent whose program is a shell script; it runs in the folder of the backbone."""
    usual = ["agent", "run", "--role", role, "--retry-first", "50ms"]
    return running(*usual, "--", "sh", "-c", script)


def release(name):
    """Lets a program go on that waits for a file of this name."""
    (FOLDER / name).write_text("go\n")


# A line of a shell script that waits for such a file.
def until(name):
    return f"while ! [ -e {name} ]; do sleep 0.05; done"


def wait(what, look, seconds=30):
    """Waits until `look` gives something."""
    end = time.monotonic() + seconds
    while True:
        found = look()
        if found:
            return found
        assert time.monotonic() < end, f"still waiting for {what}"
        time.sleep(0.02)


class Visitor:
    """Somebody with a browser of their own."""

    def __init__(self, browser, scheme="light", width=1280):
        self.context = browser.new_context(color_scheme=scheme, locale="en-GB",
                                           viewport={"width": width, "height": 900})
        self.page = self.context.new_page()
        self.faults = []
        self.page.on("pageerror", lambda error: self.faults.append(f"script: {error}"))
        self.page.on("console", self.hear)

    def hear(self, message):
        # A server that is away is told of by the browser too.
        if message.type == "error" and "ERR_" not in message.text and "Failed to load" not in message.text:
            self.faults.append(f"console: {message.text}")

    def enter(self, link=LINK):
        self.page.goto(link)
        self.page.wait_for_url(URL)
        self.is_live()
        return self.page

    def open(self, path):
        self.page.goto(URL + path.lstrip("/"))
        return self.page

    def is_live(self):
        expect(self.page.locator("#live")).to_have_attribute("data-state", "live")

    def mark(self):
        """Leaves a mark that a reloading takes away."""
        self.page.evaluate("window.mark = 'here'")

    def is_the_same_page(self):
        assert self.page.evaluate("window.mark") == "here", "the page was loaded again"

    def well(self):
        assert not self.faults, self.faults


@contextmanager
def browser():
    with sync_playwright() as playwright:
        # The sandbox of the browser needs rights that a container has not; it shows only our pages.
        program = playwright.chromium.launch(executable_path=os.environ["BROWSER_PROGRAM"],
                                             args=["--no-sandbox", "--disable-dev-shm-usage"])
        try:
            yield program
        finally:
            program.close()


def main(journeys):
    journeys[sys.argv[1]]()
    print("arrived")
