"""Reads a large body as any client of object stores does, and stores one of its own."""

import asyncio
import hashlib
import json
import os

import nats

BUCKET = "sinew-bodies"


async def main() -> None:
    client = await nats.connect(os.environ["URL"])
    store = await client.jetstream().object_store(BUCKET)
    found = await store.get(os.environ["OBJECT"])
    own = b'"from elsewhere"'
    name = f"T9/input/{hashlib.sha256(own).hexdigest()}"
    await store.put(name, own)
    said = {
        "size": len(found.data),
        "sha256": hashlib.sha256(found.data).hexdigest(),
        "theirs": name,
    }
    print(json.dumps(said))
    await client.close()


asyncio.run(main())
