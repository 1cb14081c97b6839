"""Journeys through the dashboard, each a function that is named on the command line. They wait for
what the page shows, and never for time to pass."""

import json
import os
import signal
import sys
from contextlib import ExitStack, contextmanager
from pathlib import Path

import filled
from kit import (LINK, LONG, URL, Visitor, agent, browser, environment, expect, main, release,
                 running, sinew, sinew_json, until, wait)

HOSTILE = '<img src=x onerror="window.hit=1"><script>window.hit=1</script>\r\n"\'&</title>'


def task_to_its_end():
    work = f"""{until('begin')}
echo '{{"progress": {{"message": "half of it", "percent": 50}}}}'
{until('end')}
echo '{{"result": {{"words": 42}}}}'"""
    with browser() as program:
        visitor = Visitor(program)
        page = visitor.enter()
        expect(page.get_by_role("heading", name="Nothing has happened yet")).to_be_visible()
        visitor.mark()
        task = sinew("task", "delegate", "cto", "Count the words")
        expect(page.locator("#tile-queued .number")).to_have_text("1")
        visitor.is_the_same_page()
        page.get_by_role("link", name="Tasks", exact=True).click()
        page.get_by_role("link", name="Count the words").click()
        page.wait_for_url(f"**/tasks/{task}")
        visitor.is_live()
        visitor.mark()
        phase = page.locator("#phase")
        expect(phase).to_have_text("queued")
        with agent("cto", work):
            expect(phase).to_have_text("running")
            release("begin")
            expect(page.locator("#progress")).to_contain_text("half of it")
            expect(page.locator("#progress progress")).to_have_attribute("value", "50")
            release("end")
            expect(phase).to_have_text("completed")
        expect(page.locator("pre").filter(has_text='"words": 42')).to_be_visible()
        expect(page.locator(".timeline > li")).to_have_count(4, timeout=LONG)
        visitor.is_the_same_page()
        visitor.well()


def delegated_and_cancelled():
    with browser() as program, agent("cto", until("never")):
        visitor = Visitor(program)
        page = visitor.enter()
        page.get_by_role("link", name="Delegate a task").click()
        page.get_by_label("Role", exact=True).fill("cto")
        page.get_by_label("Title").fill("Dig a tunnel")
        page.get_by_label("Input").fill('{"metres": 7}')
        page.get_by_role("button", name="Delegate", exact=True).click()
        expect(page.get_by_role("status").filter(has_text="The task is delegated")).to_be_visible()
        expect(page.locator("#phase")).to_have_text("running")
        expect(page.locator("pre").filter(has_text='"metres": 7')).to_be_visible()
        visitor.is_live()
        page.get_by_text("Cancel this task…").click()
        # What is typed stays, whatever happens to the task meanwhile.
        page.get_by_label("Why (the worker").fill("too deep")
        page.get_by_role("button", name="Cancel the task").click()
        expect(page.locator("#phase")).to_have_text("cancelled")
        expect(page.locator(".timeline")).to_contain_text("too deep")
        task = page.url.split("/tasks/")[1].split("?")[0]
        life = sinew_json("task", "show", task)
        last = life["entries"][-1]
        assert (last["transition"], last["by"]["role"]) == ("cancelled", "operator"), last
        visitor.well()


def answered():
    ask = """if grep -q '"answers":{"[^}]' input.json 2>/dev/null; then exit 1; fi
cat > input.json
if grep -q 'it is blue' input.json; then echo '{"result": "painted"}'; else
echo '{"blocked": {"question": "Which colour?", "key": "colour", "choices": ["red", "it is blue"]}}'; fi"""
    with browser() as program, agent("painter", ask):
        visitor = Visitor(program)
        page = visitor.enter()
        task = sinew("task", "delegate", "painter", "Paint the door")
        asks = page.locator(f"#asks-{task}")
        expect(asks).to_contain_text("Which colour?")
        asks.get_by_role("link").click()
        expect(page.locator("#question")).to_contain_text("operator is asked")
        expect(page.locator("#question blockquote")).to_have_text("Which colour?")
        page.get_by_role("button", name="it is blue").click()
        expect(page.locator("#phase")).to_have_text("completed")
        expect(page.locator(".timeline")).to_contain_text("it is blue")
        expect(page.locator("#question")).to_have_count(0)
        visitor.well()


def meeting_followed():
    sinew("meeting", "open", "Ship 2.0?", "--members", "ceo,cto,qa", "--quorum", "3", "--agenda",
          "Is it ready?", "--agenda", "When?", "--id", "ship", "--rounds", "1")
    with browser() as program:
        visitor = Visitor(program)
        page = visitor.enter()
        page.get_by_role("link", name="Meetings").click()
        page.get_by_role("link", name="Ship 2.0?").click()
        visitor.is_live()
        visitor.mark()
        expect(page.get_by_text("Waits for its quorum: 0 of 3")).to_be_visible()
        for role in ["ceo", "cto", "qa"]:
            sinew("meeting", "join", "ship", "--role", role)
        expect(page.locator("#phase")).to_have_text("active")
        expect(page.get_by_text("It is the turn of ceo.")).to_be_visible()
        sinew("meeting", "say", "ship", "It is ready, I think.", "--role", "ceo")
        expect(page.get_by_role("log")).to_contain_text("It is ready, I think.")
        sinew("meeting", "say", "ship", "So do I.", "--role", "cto")
        expect(page.get_by_role("log")).to_contain_text("So do I.")
        sinew("meeting", "pass", "ship", "--role", "qa")
        sinew("meeting", "propose", "ship", "Ship it today.", "--role", "cto")
        proposal = page.locator("#proposal-1")
        expect(proposal).to_contain_text("Ship it today.")
        visitor.is_the_same_page()
        # The operator runs the org, and may vote for a role whose agent is away.
        proposal.get_by_label("Vote as").select_option("qa")
        proposal.get_by_label("Why").fill("tests are green")
        proposal.get_by_role("button", name="approve").click()
        expect(page.locator("#proposal-1")).to_contain_text("tests are green")
        sinew("meeting", "vote", "ship", "1", "approve", "--role", "ceo")
        expect(page.locator("#proposal-1").locator(".badge").first).to_have_text("approved")
        visitor.well()


def dead_letter_retried():
    work = "if [ -e mended ]; then echo mended; else echo 'no such file: plan.txt' >&2; exit 1; fi"
    with browser() as program, agent("cto", work):
        visitor = Visitor(program)
        page = visitor.enter()
        task = sinew("task", "delegate", "cto", "Follow the plan", "--max-attempts", "1")
        expect(page.locator("#tile-dead .number")).to_have_text("1")
        expect(page.locator("#health")).to_contain_text("1 task given up")
        page.locator("#tile-dead").click()
        letter = page.locator(f"#dead-{task}")
        expect(letter).to_contain_text("every attempt failed")
        expect(letter).to_contain_text("no such file: plan.txt")
        release("mended")
        letter.get_by_role("button", name=f"Retry task {task}").click()
        page.wait_for_url(f"**/tasks/{task}?did=retried")
        expect(page.locator("#phase")).to_have_text("completed")
        page.get_by_role("link", name="Dead letters").click()
        expect(page.get_by_text("No task was given up.")).to_be_visible()
        visitor.well()


def verdict_given():
    with browser() as program, agent("writer", "echo 'a page'"):
        visitor = Visitor(program)
        visitor.enter()
        task = sinew("task", "delegate", "writer", "Write a page", "--verifier", "operator")
        page = visitor.open(f"/tasks/{task}")
        expect(page.locator("#phase")).to_have_text("submitted")
        page.get_by_label("What is missing").fill("a second page")
        page.get_by_role("button", name="Refuse").click()
        expect(page.locator(".timeline")).to_contain_text("a second page")
        expect(page.locator(".timeline > li").filter(has_text="Attempt 2 has a result")).to_be_visible()
        page.get_by_label("On what evidence").fill("read both")
        page.get_by_role("button", name="Accept").click()
        expect(page.locator("#phase")).to_have_text("completed")
        expect(page.locator(".timeline")).to_contain_text("Accepted by operator")
        visitor.well()


def keyboard_only():
    with browser() as program, agent("cto", "echo done"):
        visitor = Visitor(program)
        page = visitor.enter()
        keys = page.keyboard

        def focused():
            return page.evaluate("""() => {
                const it = document.activeElement;
                const label = it.labels && it.labels[0] ? it.labels[0].textContent : "";
                return (label || it.textContent || "").trim().replace(/\\s+/g, " ");
            }""")

        def tab_to(name):
            for _ in range(60):
                keys.press("Tab")
                if focused() == name:
                    seen = page.evaluate("""() => {
                        const style = getComputedStyle(document.activeElement);
                        return style.outlineStyle !== "none" && parseFloat(style.outlineWidth) > 0;
                    }""")
                    assert seen, f"the focus on {name!r} is not visible"
                    return
            raise AssertionError(f"{name!r} can't be reached")

        keys.press("Tab")
        assert focused() == "Skip to content", focused()
        keys.press("Enter")
        assert page.evaluate("document.activeElement.id") == "main"
        page.reload()
        tab_to("Delegate a task")
        keys.press("Enter")
        page.wait_for_url("**/delegate")
        tab_to("Role")
        keys.type("cto")
        tab_to("Title")
        keys.type("Nothing but keys")
        keys.press("Enter")
        page.wait_for_url("**/tasks/*did=delegated")
        expect(page.locator("#phase")).to_have_text("completed")
        tab_to("Tasks")
        keys.press("Enter")
        page.wait_for_url("**/tasks")
        tab_to("Nothing but keys")
        keys.press("Enter")
        page.wait_for_url("**/tasks/t*")
        for path in ["/", "/tasks", "/board", "/agents", "/meetings", "/events", "/dead", "/delegate"]:
            visitor.open(path)
            assert page.locator("h1").count() == 1, path
            assert page.locator("main").count() == 1, path
            assert page.title().endswith(" · Sinew"), path
            nameless = page.evaluate("""() => [...document.querySelectorAll("input, select, textarea")]
                .filter((it) => it.type !== "hidden" && !(it.labels && it.labels.length)
                    && !it.ariaLabel).length""")
            assert nameless == 0, f"{path}: {nameless} fields without a label"
        visitor.well()


def two_orgs():
    sinew("org", "add", "globex")
    other_link = sinew("dashboard", "--org", "globex", "--role", "operator")
    own = sinew("task", "delegate", "cto", "A secret of acme")
    # Its controllers come as soon as somebody is there.
    foreign = wait("the controllers of globex", lambda: delegated("A secret of globex", "globex"))
    with browser() as program:
        acme, globex = Visitor(program), Visitor(program)
        acme.enter()
        globex.enter(other_link)
        expect(acme.page.locator(".org")).to_have_text("acme")
        expect(globex.page.locator(".org")).to_have_text("globex")
        for visitor, mine, theirs in [(acme, own, foreign), (globex, foreign, own)]:
            secret = "globex" if visitor is acme else "acme"
            page = visitor.open(f"/tasks/{mine}")
            expect(page.locator("h1")).to_contain_text("A secret of")
            visitor.open(f"/tasks/{theirs}")
            expect(page.locator("h1")).to_have_text("Not found")
            for path in ["/", "/tasks", "/tasks?q=secret", "/board", "/events", "/agents", "/dead"]:
                visitor.open(path)
                expect(page.locator("h1")).to_have_count(1)
                assert f"A secret of {secret}" not in page.content(), path
            # Nor can one be called off from there.
            form = {"csrf": csrf(visitor), "text": ""}
            answer = page.request.post(f"{URL}tasks/{theirs}/cancel", form=form,
                                       headers={"Origin": URL.rstrip("/")})
            assert answer.status == 404, answer.status
        # The orgs of the platform are for its operator alone.
        expect(acme.open("/orgs").locator("#org-globex")).to_be_visible()
        expect(globex.open("/orgs").locator("h1")).to_have_text("Not allowed")
        expect(globex.page.get_by_role("link", name="Orgs")).to_have_count(0)
    for task, org in [(own, "acme"), (foreign, "globex")]:
        assert sinew_json("task", "show", task, "--org", org)["state"]["phase"]["phase"] == "queued"


def delegated(title, org):
    try:
        return sinew("task", "delegate", "cto", title, "--org", org)
    except AssertionError:
        return None


def csrf(visitor):
    return visitor.open("/delegate").locator("#delegate input[name=csrf]").get_attribute("value")


def rights_of_a_role():
    """Who is let in as a role acts with the rights of that role, and who is not let in sees nothing."""
    link = sinew("dashboard", "--role", "cto")
    with browser() as program:
        stranger, cto = Visitor(program), Visitor(program)
        page = stranger.open("/tasks")
        expect(page.locator("h1")).to_have_text("Sign in")
        page.get_by_label("Link or token").fill("guess")
        page.get_by_role("button", name="Sign in").click()
        expect(page.get_by_role("alert")).to_have_text("That link is not known, or was revoked.")
        page.get_by_label("Link or token").fill(link)
        page.get_by_role("button", name="Sign in").click()
        expect(page.locator(".who")).to_have_text("Signed in as cto")
        page = cto.enter(link)
        cookie = [it for it in cto.context.cookies() if it["name"].startswith("sinew-")][0]
        assert cookie["httpOnly"] and cookie["sameSite"] == "Strict", cookie
        page = cto.open("/delegate")
        page.get_by_label("Role", exact=True).fill("qa")
        page.get_by_label("Title").fill("From the cto")
        page.get_by_role("button", name="Delegate", exact=True).click()
        expect(page.locator("h1")).to_have_text("From the cto")
        task = page.url.split("/tasks/")[1].split("?")[0]
        created = sinew_json("task", "show", task)["entries"][0]
        assert created["by"]["role"] == "cto", created
        # What is not sent by a page of ours changes nothing.
        for form, origin in [({"csrf": "guess"}, URL.rstrip("/")),
                             ({"csrf": csrf(cto)}, "http://evil.example"),
                             ({"csrf": csrf(cto)}, "null")]:
            answer = page.request.post(f"{URL}tasks/{task}/cancel", form=form,
                                       headers={"Origin": origin})
            assert answer.status == 403, (form, origin, answer.status)
        answer = page.request.get(URL, headers={"Host": "evil.example"})
        assert answer.status == 421, answer.status
        assert "frame-ancestors 'none'" in page.request.get(URL).headers["content-security-policy"]
        grants = sinew_json("dashboard", "--list")
        [grant] = [it for it in grants if it["role"] == "cto"]
        visitor_page = cto.open("/tasks")
        cto.is_live()
        sinew("dashboard", "--revoke", grant["id"])
        # An open page hears of nothing any more, and the next one is the door.
        sinew("task", "delegate", "qa", "After the cto was put out")
        expect(visitor_page.locator("h1")).to_have_text("Sign in")
        assert sinew_json("task", "show", task)["state"]["phase"]["phase"] == "queued"


def hostile_title():
    title = HOSTILE.replace("\r\n", " ")
    task = sinew("task", "delegate", "cto", title, "--input", '"<b>bold</b>\\r\\n</pre>"')
    sinew("events", "emit", "file.write", "--details", '{"path": "<script>window.hit=1</script>"}')
    with browser() as program:
        visitor = Visitor(program)
        page = visitor.enter()
        for path in ["/", "/tasks", "/board", f"/tasks/{task}", "/events", "/events?q=script"]:
            visitor.open(path)
            visitor.is_live()
            assert page.evaluate("window.hit") is None, path
            assert page.locator("main img, main script, main b:has-text('bold')").count() == 0, path
        visitor.open(f"/tasks/{task}")
        expect(page.locator("h1")).to_have_text(title)
        expect(page.locator("pre").filter(has_text="<b>bold</b>")).to_be_visible()
        visitor.well()


def many_tasks():
    """A hundred thousand tasks are listed, searched and leafed through in no time."""
    with browser() as program:
        visitor = Visitor(program)
        visitor.enter()
        filled.tasks(Path(os.environ["SINEW_FOLDER"]) / ".sinew" / "views.db", 100_000)
        page = visitor.page
        times = {}

        def look(path, text):
            answer = visitor.open(path)
            expect(page.locator("main")).to_contain_text(text)
            times[path] = round(page.evaluate(
                "performance.getEntriesByType('navigation')[0].responseEnd"))
            return answer

        look("/", "70,000")
        look("/tasks", "Task number 99999")
        expect(page.locator("tbody tr")).to_have_count(50)
        page.get_by_role("link", name="Older").click()
        expect(page.locator("tbody tr").first).to_contain_text("Task number 99949")
        look("/tasks?phase=dead", "Task number")
        look("/tasks?role=role-6&phase=completed", "Task number")
        look("/tasks?q=number+4711", "Task number 4711")
        expect(page.locator("tbody tr")).to_have_count(11)
        look("/board", "Task number")
        look("/dead", "Task number")
        print("milliseconds to the end of the answer:", times, file=sys.stderr)
        slow = {path: took for path, took in times.items() if took > 1500}
        assert not slow, f"too slow: {slow}"
        visitor.well()


def server_restarts():
    up = int(os.environ["UP_PID"])
    task = sinew("task", "delegate", "cto", "Outlive the server")
    with browser() as program:
        visitor = Visitor(program)
        visitor.enter()
        page = visitor.open(f"/tasks/{task}")
        visitor.is_live()
        visitor.mark()
        os.kill(up, signal.SIGTERM)
        expect(page.locator("#live")).to_have_attribute("data-state", "away")
        expect(page.locator("h1")).to_have_text("Outlive the server")
        wait("the end of the server", lambda: gone(up))
        with running("up", "--json", "--port", os.environ["UP_PORT"]):
            visitor.is_live()
            with agent_when_up("cto", "echo done"):
                expect(page.locator("#phase")).to_have_text("completed")
            visitor.is_the_same_page()
            assert sinew("dashboard") == LINK
        visitor.well()


def agent_when_up(role, script):
    wait("the backbone", lambda: is_up())
    return agent(role, script)


def is_up():
    try:
        sinew("task", "list")
        return True
    except AssertionError:
        return False


def gone(pid):
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        return True
    return ") Z " in stat



def pages_in_light_and_dark():
    """Every page with something on it: without a fault, without a bar to move it sideways, and as a
    picture where somebody asks for one."""
    with company() as shown, browser() as program:
        for scheme in ["light", "dark"]:
            visitor = Visitor(program, scheme)
            visitor.enter()
            for name, path in shown:
                page = visitor.open(path)
                if name not in ("delegate", "orgs"):
                    visitor.is_live()
                expect(page.locator("h1")).to_be_visible()
                wide = page.evaluate("document.documentElement.scrollWidth - innerWidth")
                assert wide <= 0, f"{path} is {wide} pixels too wide"
                picture(page, f"{name}-{scheme}")
            narrow = Visitor(program, scheme, width=400)
            narrow.enter()
            for name, path in shown:
                page = narrow.open(path)
                wide = page.evaluate("document.documentElement.scrollWidth - innerWidth")
                assert wide <= 0, f"{path} is {wide} pixels too wide on a narrow screen"
            picture(narrow.open("/"), f"narrow-{scheme}")
            visitor.well()
            narrow.well()
            # Where nobody is let in.
            stranger = Visitor(program, scheme)
            picture(stranger.open("/"), f"door-{scheme}")


def picture(page, name):
    folder = os.environ.get("PICTURES")
    if folder:
        page.screenshot(path=f"{folder}/{name}.png", full_page=False)


@contextmanager
def company():
    """A company at work. Gives the pages that show it."""
    sinew("org", "add", "globex")
    never = until("never")
    scripts = {
        "writer": """echo '{"progress": {"message": "drafting the release notes", "percent": 60}}'
""" + never,
        "reviewer": "echo 'Looks good: 3 files, no findings.'",
        "ops": "echo 'ssh: connect to host build-7: No route to host' >&2; exit 1",
        "cto": """cat > in-$SINEW_TASK_ID
if grep -q Plan in-$SINEW_TASK_ID; then
"$SINEW_HERE" task delegate writer 'Write the release notes for 2.0' >/dev/null
"$SINEW_HERE" task delegate reviewer 'Review the change to the parser' >/dev/null
echo '{"result": {"plan": ["notes", "review", "ship"], "risk": "low"}}'
else
echo '{"blocked": {"question": "Ship on Friday, or wait for Monday?", "key": "when", "choices": ["Friday", "Monday"]}}'
fi""".replace("$SINEW_HERE", os.environ["SINEW_PROGRAM"]),
    }
    with ExitStack() as stack:
        for role, script in scripts.items():
            stack.enter_context(agent(role, script))
        plan = sinew("task", "delegate", "cto", "Plan the release of 2.0", "--input",
                     '{"version": "2.0", "channels": ["stable", "beta"]}')
        asking = sinew("task", "delegate", "cto", "When do we ship 2.0?")
        sinew("task", "delegate", "ops", "Restart the build machine", "--max-attempts", "1")
        sinew("task", "delegate", "ops", "Rotate the certificates", "--max-attempts", "1")
        for title in ["Sum up the support tickets", "Find three competitors"]:
            sinew("task", "delegate", "researcher", title)
        for path, size in [("docs/release-2.0.md", 4523), ("src/parser.rs", 18211), ("CHANGELOG.md", 902)]:
            sinew("events", "emit", "file.write", "--role", "writer", "--details",
                  json.dumps({"path": path, "sizeBytes": size}))
        sinew("events", "emit", "review.done", "--role", "reviewer", "--details", '{"findings": 0}')
        sinew("meeting", "open", "Ship 2.0 this week?", "--members", "ceo,cto,qa", "--quorum", "3",
              "--agenda", "Is it ready?", "--agenda", "Who tells the customers?", "--id", "ship")
        for role in ["ceo", "cto", "qa"]:
            sinew("meeting", "join", "ship", "--role", role)
        sinew("meeting", "say", "ship", "All tests are green, and the notes are nearly done.", "--role", "ceo")
        sinew("meeting", "say", "ship", "I would ship on Friday morning, when everybody is here.", "--role", "cto")
        sinew("meeting", "propose", "ship", "Ship 2.0 on Friday at ten.", "--role", "qa")
        sinew("meeting", "vote", "ship", "1", "approve", "--role", "ceo")
        phases = lambda: sorted(it["phase"] for it in sinew_json("task", "list")["tasks"])
        wanted = ["blocked", "completed", "completed", "dead", "dead", "queued", "queued", "running"]
        wait("the company to be at work", lambda: phases() == wanted)
        yield [("overview", "/"), ("tasks", "/tasks"), ("board", "/board"), ("task", f"/tasks/{plan}"),
               ("question", f"/tasks/{asking}"), ("agents", "/agents"), ("meetings", "/meetings"),
               ("meeting", "/meetings/ship"), ("events", "/events"), ("search", "/events?q=parser"),
               ("dead", "/dead"), ("scaling", "/scaling"), ("orgs", "/orgs"), ("delegate", "/delegate")]


main({name: it for name, it in list(globals().items()) if callable(it)})
