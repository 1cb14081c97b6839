"""A story of three hosts in the official Python SDK: two over HTTP, one over stdio.

Arguments: the revision of MCP (legacy for those with sessions, 2026-07-28 for the one without), the
address of the MCP server, a token of ceo, a token of cto, and the command that speaks for qa over
stdio. Ends with 0 when all of it went as it should.
"""

import asyncio
import sys
from contextlib import asynccontextmanager

import httpx2
import mcp_types
from mcp import Client, StdioServerParameters
from mcp.client.streamable_http import streamable_http_client

PATIENCE = 60
TEAM = ["ceo", "cto", "qa"]


class Host:
    """A host, and what the server told it of its own accord."""

    def __init__(self, server, revision):
        self.told = asyncio.Queue()
        self.client = Client(server, mode=revision, message_handler=self.hear)

    async def hear(self, message):
        if isinstance(message, mcp_types.ResourceUpdatedNotification):
            await self.told.put(message.params.uri)

    async def call(self, tool, **given):
        result = await self.client.call_tool(tool, given)
        assert not result.is_error, f"{tool}: {result.content}"
        return result.structured_content

    async def refused(self, tool, **given):
        result = await self.client.call_tool(tool, given)
        assert result.is_error, f"{tool}: {result}"
        text = result.content[0].text
        assert "next: " in text, text
        return text

    @asynccontextmanager
    async def listening(self, uri):
        """Learns of changes of a resource, in the way of its revision."""
        if self.client.protocol_version < "2026":
            await self.client.subscribe_resource(uri)
            yield
            await self.client.unsubscribe_resource(uri)
            return
        # What is not told, or is not there, is left out of what the server promises.
        asked = [uri, "sinew://org", "file:///etc/passwd"]
        async with self.client.listen(resource_subscriptions=asked) as subscription:
            assert subscription.honored.resource_subscriptions == [uri], subscription.honored

            async def relay():
                async for event in subscription:
                    await self.told.put(event.uri)

            relaying = asyncio.create_task(relay())
            # It is told once at the beginning, and from then on of every change.
            await self.hears(uri)
            yield
            relaying.cancel()

    async def hears(self, uri):
        async with asyncio.timeout(PATIENCE):
            while await self.told.get() != uri:
                pass


@asynccontextmanager
async def over_http(url, token, revision):
    headers = {"Authorization": f"Bearer {token}"}
    async with httpx2.AsyncClient(headers=headers, timeout=PATIENCE) as http:
        host = Host(streamable_http_client(url, http_client=http), revision)
        async with host.client:
            yield host


@asynccontextmanager
async def over_stdio(command, revision):
    host = Host(StdioServerParameters(command=command[0], args=command[1:]), revision)
    async with host.client:
        yield host


async def work(ceo, cto, qa):
    """A task is delegated, half of it delegated on, asked about, answered and done."""
    async with cto.listening("sinew://queue"):
        task = (await ceo.call("assign_task", title="Release", assignee="cto"))["taskId"]
        await cto.hears("sinew://queue")
    taken = await cto.call("get_my_next_task", wait_seconds=20)
    assert taken["task"]["taskId"] == task, taken
    await cto.call("add_task_progress", task_id=task, message="began", percent=10)
    async with qa.listening("sinew://queue"):
        part = (await cto.call("delegate_task", title="Test it", assignee="qa"))["taskId"]
        await qa.hears("sinew://queue")
    waits = await cto.call("wait_for_tasks", task_id=task, on=[part])
    assert waits["goesOn"] is False, waits
    taken = await qa.call("get_my_next_task", wait_seconds=20)
    assert taken["task"]["taskId"] == part, taken
    asked = await qa.call("report_blocker", task_id=part, description="Which branch?")
    assert asked["goesOn"] is False, asked
    open_ones = await cto.call("get_blocked_tasks")
    assert open_ones["open"][0]["taskId"] == part, open_ones
    await cto.call("answer_question", task_id=part, answer="main")
    taken = await qa.call("get_my_next_task", wait_seconds=20)
    assert taken["task"]["answers"] == {"Which branch?": "main"}, taken
    await qa.call("complete_task", task_id=part, result="green", evidence={"test_output": "ok"})
    taken = await cto.call("get_my_next_task", wait_seconds=40)
    assert taken["task"]["taskId"] == task, taken
    over = await cto.call("wait_for_tasks", task_id=task, on=[part])
    assert over["answer"][0]["outcome"]["result"]["result"] == "green", over
    await cto.call("complete_task", task_id=task, result="released")
    status = await ceo.call("wait_for_task", task_id=task)
    assert status["result"] == "released", status
    await cto.refused("complete_task", task_id=task)


async def meet(ceo, cto, qa):
    """The three meet, vote and decide, and what they decided is done as tasks."""
    opened = await ceo.call(
        "schedule_agent_meeting",
        title="What next?",
        participants=TEAM,
        agenda=["The next release"],
        decision_model="unanimous",
        quorum=3,
    )
    which = {"meeting_id": opened["meeting"]["meetingId"]}
    for host in (ceo, cto, qa):
        invited = await host.call("get_next_meeting_invitation", wait_seconds=20)
        assert invited["meetings"][0]["meetingId"] == which["meeting_id"], invited
        joined = await host.call("join_agent_meeting", **which)
    assert joined["meeting"]["state"] == "active", joined
    told = await qa.refused("send_meeting_message", message="Me first", **which)
    assert "turn of ceo" in told, told
    for host, words in ((ceo, "Faster"), (cto, "Smaller"), (qa, "Safer")):
        await host.call("send_meeting_message", message=words, **which)
    actions = [
        {"assignee": "cto", "action": "Make it smaller"},
        {"assignee": "qa", "action": "Make it safer"},
    ]
    proposed = await ceo.call(
        "propose_meeting_decision", decision="All three", action_items=actions, **which
    )
    number = {"proposal": proposed["proposal"]}
    for host in (ceo, cto, qa):
        voted = await host.call("vote_on_proposal", vote="approve", **number, **which)
    assert voted["outcome"] == "approved", voted
    await qa.refused("vote_on_proposal", vote="reject", **number, **which)
    minutes = (await ceo.call("end_agent_meeting", summary="All three", **which))["minutes"]
    tasks = [item["taskId"] for item in minutes["actionItems"]]
    for host, task, action in zip((cto, qa), tasks, actions):
        taken = await host.call("get_my_next_task", wait_seconds=20)
        assert taken["task"]["taskId"] == task, taken
        assert taken["task"]["title"] == action["action"], taken
        await host.call("complete_task", task_id=task, result="done")
        status = await ceo.call("wait_for_task", task_id=task)
        assert status["result"] == "done", status
    records = []
    for host in (ceo, cto, qa):
        record = await host.call("get_meeting_messages", limit=200, **which)
        records.append([(it["seq"], it["entry"]) for it in record["entries"]])
    assert records[0] == records[1] == records[2], records
    decisions = await qa.call("get_meeting_decisions", **which)
    assert (decisions["approved"], decisions["open"]) == (1, []), decisions


async def story(revision, url, ceo_token, cto_token, command):
    async with over_http(url, ceo_token, revision) as ceo, over_http(
        url, cto_token, revision
    ) as cto, over_stdio(command, revision) as qa:
        for host in (ceo, cto, qa):
            spoken = host.client.protocol_version
            assert (spoken < "2026") == (revision == "legacy"), spoken
        tools = await cto.client.list_tools()
        assert {tool.name for tool in tools.tools} >= {"get_my_next_task", "complete_task"}
        await work(ceo, cto, qa)
        await meet(ceo, cto, qa)
    print("the story is told in", spoken)


if __name__ == "__main__":
    asyncio.run(story(*sys.argv[1:5], sys.argv[5:]))
