"""A story of three hosts in the official Python SDK: two over HTTP, one over stdio.

Arguments: the address of the MCP server, a token of ceo, a token of cto, and the command that speaks
for qa over stdio. Ends with 0 when all of it went as it should.
"""

import asyncio
import sys
from contextlib import asynccontextmanager

import httpx2
from mcp import ClientSession, StdioServerParameters, stdio_client
from mcp.client.streamable_http import streamable_http_client


@asynccontextmanager
async def over_http(url, token):
    headers = {"Authorization": f"Bearer {token}"}
    async with httpx2.AsyncClient(headers=headers, timeout=60) as http:
        async with streamable_http_client(url, http_client=http) as streams:
            async with ClientSession(streams[0], streams[1]) as session:
                await session.initialize()
                yield session


@asynccontextmanager
async def over_stdio(command):
    server = StdioServerParameters(command=command[0], args=command[1:])
    async with stdio_client(server) as (reader, writer):
        async with ClientSession(reader, writer) as session:
            await session.initialize()
            yield session


async def call(session, tool, **given):
    result = await session.call_tool(tool, given)
    assert not result.is_error, f"{tool}: {result.content}"
    return result.structured_content


async def story(url, ceo_token, cto_token, command):
    async with over_http(url, ceo_token) as ceo, over_http(url, cto_token) as cto, over_stdio(
        command
    ) as qa:
        tools = await cto.list_tools()
        assert {tool.name for tool in tools.tools} >= {"get_my_next_task", "complete_task"}
        task = (await call(ceo, "assign_task", title="Release", assignee="cto"))["taskId"]
        taken = await call(cto, "get_my_next_task", wait_seconds=20)
        assert taken["task"]["taskId"] == task, taken
        await call(cto, "add_task_progress", task_id=task, message="began", percent=10)
        part = (await call(cto, "delegate_task", title="Test it", assignee="qa"))["taskId"]
        waits = await call(cto, "wait_for_tasks", task_id=task, on=[part])
        assert waits["goesOn"] is False, waits
        taken = await call(qa, "get_my_next_task", wait_seconds=20)
        assert taken["task"]["taskId"] == part, taken
        asked = await call(qa, "report_blocker", task_id=part, description="Which branch?")
        assert asked["goesOn"] is False, asked
        open_ones = await call(cto, "get_blocked_tasks")
        assert open_ones["open"][0]["taskId"] == part, open_ones
        await call(cto, "answer_question", task_id=part, answer="main")
        taken = await call(qa, "get_my_next_task", wait_seconds=20)
        assert taken["task"]["answers"] == {"Which branch?": "main"}, taken
        evidence = {"test_output": "ok"}
        await call(qa, "complete_task", task_id=part, result="green", evidence=evidence)
        taken = await call(cto, "get_my_next_task", wait_seconds=40)
        assert taken["task"]["taskId"] == task, taken
        over = await call(cto, "wait_for_tasks", task_id=task, on=[part])
        assert over["answer"][0]["outcome"]["result"]["result"] == "green", over
        await call(cto, "complete_task", task_id=task, result="released")
        status = await call(ceo, "wait_for_task", task_id=task)
        assert status["result"] == "released", status
        refused = await cto.call_tool("complete_task", {"task_id": task})
        assert refused.is_error and "next: " in refused.content[0].text, refused
    print("the story is told")


asyncio.run(story(*sys.argv[1:4], sys.argv[4:]))
