"""Delegates with nats-py alone, by docs/reference/wire-contract.md: publishes an assignment on the
role's queue, and sees progress in the delegator's inbox and the end on the org's subject. Prints
what it saw as JSON."""

import asyncio
import datetime
import json
import os

import nats

ORG, TASK = "acme", "python-task"


async def main():
    client = await nats.connect(os.environ["URL"])
    stream = client.jetstream()
    # Listen first and publish second. The completion is the org's truth: the server publishes it
    # after the log has taken it.
    completed = await client.subscribe(f"genbrain.org.{ORG}.tasks.completed")
    # The inbox is a stream: nothing is lost on a delegator that sleeps.
    inbox = await stream.subscribe("genbrain.agents.ceo.inbox", stream="AGENT_MAIL", ordered_consumer=True)
    at = datetime.datetime.now(datetime.timezone.utc)
    assignment = {
        "taskId": TASK,
        "orgId": ORG,
        "role": "cto",
        "delegator": "ceo",
        "title": "Count the words",
        "input": "one two three",
        "createdAt": at.strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
        "myOwnField": "kept",
    }
    body = json.dumps(assignment).encode()
    headers = {"Nats-Msg-Id": f"{TASK}:1", "Nats-Expected-Stream": "AGENT_TASKS"}
    first = await stream.publish("genbrain.agents.cto.tasks", body, headers=headers)
    second = await stream.publish("genbrain.agents.cto.tasks", body, headers=headers)
    mails, seen = [], set()
    while not mails or mails[-1]["type"] == "task.progress":
        mail = json.loads((await inbox.next_msg(timeout=20)).data)
        if mail["id"] not in seen:
            seen.add(mail["id"])
            mails.append(mail)
    entry = json.loads((await completed.next_msg(timeout=20)).data)
    print(
        json.dumps(
            {
                "stream": first.stream,
                "duplicate": [bool(first.duplicate), bool(second.duplicate)],
                "mails": mails,
                "completed": entry,
            }
        )
    )
    await client.close()


asyncio.run(main())
