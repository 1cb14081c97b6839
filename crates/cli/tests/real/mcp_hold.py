"""A host that takes a task, says which, and thinks about it for ever.

Arguments: `http`, the address of the MCP server and a token; or `stdio` and the command to speak with.
"""

import asyncio
import sys

from mcp_story import over_http, over_stdio


async def hold(way, *rest):
    hosting = over_http(*rest, "legacy") if way == "http" else over_stdio(list(rest), "legacy")
    async with hosting as host:
        taken = await host.call("get_my_next_task", wait_seconds=20)
        print(taken["task"]["taskId"], flush=True)
        await asyncio.Event().wait()


asyncio.run(hold(*sys.argv[1:]))
