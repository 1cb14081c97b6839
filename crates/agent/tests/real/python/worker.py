"""Works on one task with nats-py alone, by docs/reference/wire-contract.md: takes it from the
role's durable consumer, writes its attempt into the task's log under guards, reports to the
delegator, and acks. Prints what it saw as JSON."""

import asyncio
import base64
import datetime
import json
import os

import nats
from nats.js.errors import APIError

ORG, ROLE = "acme", "cto"


def now():
    return datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


class Log:
    """The log of one task: its entries so far, and the guarded append."""

    def __init__(self, client, task):
        self.client, self.js, self.task = client, client.jetstream(), task
        self.entries, self.last = [], 0

    async def read(self):
        """Reads what is new, from the leader."""
        while True:
            which = {"seq": self.last + 1, "next_by_subj": f"genbrain.org.{ORG}.tasks.{self.task}.*"}
            answer = await self.client.request(
                "$JS.API.STREAM.MSG.GET.TASK_LOG", json.dumps(which).encode(), timeout=5
            )
            message = json.loads(answer.data).get("message")
            if message is None:
                return self
            self.last = message["seq"]
            self.entries.append(json.loads(base64.b64decode(message["data"])))

    async def append(self, transition, fields, expected=None):
        entry = {
            "taskId": self.task,
            "orgId": ORG,
            "at": now(),
            "by": {"role": ROLE, "instance": "python-1"},
            "transition": transition,
            **fields,
        }
        expected = self.last if expected is None else expected
        headers = {
            "Nats-Expected-Stream": "TASK_LOG",
            "Nats-Expected-Last-Subject-Sequence": str(expected),
            "Nats-Expected-Last-Subject-Sequence-Subject": f"genbrain.org.{ORG}.tasks.{self.task}.*",
            "Nats-Msg-Id": f"python-{os.urandom(8).hex()}",
        }
        subject = f"genbrain.org.{ORG}.tasks.{self.task}.{transition}"
        ack = await self.js.publish(subject, json.dumps(entry).encode(), headers=headers)
        self.last = ack.seq
        self.entries.append(entry)


def epoch_of(task, headers):
    headers = headers or {}
    if "Sinew-Epoch" in headers:
        return int(headers["Sinew-Epoch"])
    prefix = f"{task}:"
    given = headers.get("Nats-Msg-Id", "")
    return int(given[len(prefix) :]) if given.startswith(prefix) else 1


async def report(client, assignment, transition, label, body):
    task = assignment["taskId"]
    mail = {
        "id": f"{task}:report:{label}",
        "type": f"task.{transition}",
        "from": ROLE,
        "to": assignment["delegator"],
        "at": now(),
        "taskId": task,
        "correlationId": task,
        "body": {"transition": transition, "title": assignment["title"], **body},
    }
    subject = f"genbrain.agents.{assignment['delegator']}.inbox"
    headers = {"Nats-Msg-Id": mail["id"], "Nats-Expected-Stream": "AGENT_MAIL"}
    await client.jetstream().publish(subject, json.dumps(mail).encode(), headers=headers)


async def work(client, message):
    assignment = json.loads(message.data)
    task = assignment["taskId"]
    epoch = epoch_of(task, message.headers)
    log = await Log(client, task).read()
    sequence = message.metadata.sequence.stream
    if not log.entries:
        await log.append("created", {"assignment": assignment, "queueSeq": sequence})
    start = {
        "attempt": 1,
        "epoch": epoch,
        "queueSeq": sequence,
        "instance": "python-1",
        "incarnation": "one",
        "ack": message.reply,
    }
    await log.append("started", start)
    refused = None
    try:
        # The log has grown since: whoever did not see that is refused.
        await log.append("progress", {"attempt": 1, "message": "stale"}, expected=log.last - 1)
    except APIError as error:
        refused = error.err_code
    await message.in_progress()
    words = len(assignment["input"].split())
    await log.append("progress", {"attempt": 1, "message": "counted", "percent": 50})
    said = {"attempt": 1, "message": "counted", "percent": 50}
    await report(client, assignment, "progress", "progress:1:1", said)
    await log.append("completed", {"attempt": 1, "result": {"words": words}})
    end = {"result": {"words": words}, "attempts": 1}
    await report(client, assignment, "completed", f"end:{epoch}", end)
    # An ack that is asked for: an answer with nothing in it says that it was taken.
    answer = await client.request(message.reply, b"+ACK", timeout=5)
    return {"task": task, "refused": refused, "acked": answer.data == b""}


async def main():
    client = await nats.connect(os.environ["URL"])
    durable = f"{ROLE}-agent-consumer"
    queue = await client.jetstream().pull_subscribe_bind(durable, stream="AGENT_TASKS")
    for _ in range(int(os.environ["TASKS"])):
        (message,) = await queue.fetch(1, timeout=20)
        print(json.dumps(await work(client, message)))
    await client.close()


asyncio.run(main())
