// A story of three hosts in the official TypeScript SDK: two over HTTP, one over stdio.
//
// Arguments: the address of the MCP server, a token of ceo, a token of cto, and the command that speaks
// for qa over stdio. Ends with 0 when all of it went as it should.
"use strict";

const assert = require("node:assert/strict");
const { Client } = require("@modelcontextprotocol/sdk/client/index.js");
const { StdioClientTransport } = require("@modelcontextprotocol/sdk/client/stdio.js");
const {
  StreamableHTTPClientTransport,
} = require("@modelcontextprotocol/sdk/client/streamableHttp.js");
const { ResourceUpdatedNotificationSchema } = require("@modelcontextprotocol/sdk/types.js");

const TEAM = ["ceo", "cto", "qa"];

/** A host, and what the server told it of its own accord. */
class Host {
  #client = new Client({ name: "story", version: "1" });
  #heard = new Set();
  #waiting = new Map();

  static async begin(transport) {
    const host = new Host();
    host.#client.setNotificationHandler(ResourceUpdatedNotificationSchema, ({ params }) => {
      host.#heard.add(params.uri);
      host.#waiting.get(params.uri)?.();
    });
    await host.#client.connect(transport);
    return host;
  }

  /** The names of the tools. It also teaches the client to check results by their schemas. */
  async tools() {
    return (await this.#client.listTools()).tools.map((tool) => tool.name);
  }

  async call(tool, given = {}) {
    const result = await this.#client.callTool({ name: tool, arguments: given });
    assert.ok(!result.isError, `${tool}: ${JSON.stringify(result.content)}`);
    return result.structuredContent;
  }

  async refused(tool, given) {
    const result = await this.#client.callTool({ name: tool, arguments: given });
    assert.ok(result.isError, `${tool}: ${JSON.stringify(result)}`);
    const [{ text }] = result.content;
    assert.match(text, /next: /);
    return text;
  }

  subscribe(uri) {
    return this.#client.subscribeResource({ uri });
  }

  /** Waits until it is told of a change; the runner ends what waits for ever. */
  hears(uri) {
    if (this.#heard.has(uri)) return Promise.resolve();
    return new Promise((resolve) => this.#waiting.set(uri, resolve));
  }

  close() {
    return this.#client.close();
  }
}

function overHttp(url, token) {
  const requestInit = { headers: { Authorization: `Bearer ${token}` } };
  return Host.begin(new StreamableHTTPClientTransport(new URL(url), { requestInit }));
}

function overStdio([command, ...args]) {
  return Host.begin(new StdioClientTransport({ command, args }));
}

/** A task is delegated, half of it delegated on, asked about, answered and done. */
async function work({ ceo, cto, qa }) {
  await cto.subscribe("sinew://queue");
  const { taskId: task } = await ceo.call("assign_task", { title: "Release", assignee: "cto" });
  await cto.hears("sinew://queue");
  let { task: taken } = await cto.call("get_my_next_task", { wait_seconds: 20 });
  assert.equal(taken.taskId, task);
  await cto.call("add_task_progress", { task_id: task, message: "began", percent: 10 });
  const { taskId: part } = await cto.call("delegate_task", { title: "Test it", assignee: "qa" });
  const waits = await cto.call("wait_for_tasks", { task_id: task, on: [part] });
  assert.equal(waits.goesOn, false);
  ({ task: taken } = await qa.call("get_my_next_task", { wait_seconds: 20 }));
  assert.equal(taken.taskId, part);
  const question = { task_id: part, description: "Which branch?" };
  assert.equal((await qa.call("report_blocker", question)).goesOn, false);
  const { open } = await cto.call("get_blocked_tasks");
  assert.equal(open[0].taskId, part);
  await cto.call("answer_question", { task_id: part, answer: "main" });
  ({ task: taken } = await qa.call("get_my_next_task", { wait_seconds: 20 }));
  assert.deepEqual(taken.answers, { "Which branch?": "main" });
  const done = { task_id: part, result: "green", evidence: { test_output: "ok" } };
  await qa.call("complete_task", done);
  ({ task: taken } = await cto.call("get_my_next_task", { wait_seconds: 40 }));
  assert.equal(taken.taskId, task);
  const over = await cto.call("wait_for_tasks", { task_id: task, on: [part] });
  assert.equal(over.answer[0].outcome.result.result, "green");
  await cto.call("complete_task", { task_id: task, result: "released" });
  const status = await ceo.call("wait_for_task", { task_id: task });
  assert.equal(status.result, "released");
  await cto.refused("complete_task", { task_id: task });
}

/** The three meet, vote and decide, and what they decided is done as tasks. */
async function meet({ ceo, cto, qa }) {
  const all = [ceo, cto, qa];
  const { meeting } = await ceo.call("schedule_agent_meeting", {
    title: "What next?",
    participants: TEAM,
    agenda: ["The next release"],
    decision_model: "unanimous",
    quorum: 3,
  });
  const which = { meeting_id: meeting.meetingId };
  let joined;
  for (const host of all) {
    const { meetings } = await host.call("get_next_meeting_invitation", { wait_seconds: 20 });
    assert.equal(meetings[0].meetingId, which.meeting_id);
    joined = await host.call("join_agent_meeting", which);
  }
  assert.equal(joined.meeting.state, "active");
  const told = await qa.refused("send_meeting_message", { message: "Me first", ...which });
  assert.match(told, /turn of ceo/);
  for (const [host, message] of [[ceo, "Faster"], [cto, "Smaller"], [qa, "Safer"]]) {
    await host.call("send_meeting_message", { message, ...which });
  }
  const actions = [
    { assignee: "cto", action: "Make it smaller" },
    { assignee: "qa", action: "Make it safer" },
  ];
  const proposal = { decision: "All three", action_items: actions, ...which };
  const { proposal: number } = await ceo.call("propose_meeting_decision", proposal);
  const ballot = (vote) => ({ proposal: number, vote, ...which });
  let voted;
  for (const host of all) {
    voted = await host.call("vote_on_proposal", ballot("approve"));
  }
  assert.equal(voted.outcome, "approved");
  await qa.refused("vote_on_proposal", ballot("reject"));
  const { minutes } = await ceo.call("end_agent_meeting", { summary: "All three", ...which });
  for (const [at, host] of [cto, qa].entries()) {
    const { taskId } = minutes.actionItems[at];
    const { task } = await host.call("get_my_next_task", { wait_seconds: 20 });
    assert.deepEqual([task.taskId, task.title], [taskId, actions[at].action]);
    await host.call("complete_task", { task_id: taskId, result: "done" });
    assert.equal((await ceo.call("wait_for_task", { task_id: taskId })).result, "done");
  }
  const records = [];
  for (const host of all) {
    records.push((await host.call("get_meeting_messages", { limit: 200, ...which })).entries);
  }
  assert.deepEqual(records[1], records[0]);
  assert.deepEqual(records[2], records[0]);
  const decisions = await qa.call("get_meeting_decisions", which);
  assert.deepEqual([decisions.approved, decisions.open], [1, []]);
}

async function story(url, ceoToken, ctoToken, ...command) {
  const hosts = {
    ceo: await overHttp(url, ceoToken),
    cto: await overHttp(url, ctoToken),
    qa: await overStdio(command),
  };
  for (const host of Object.values(hosts)) {
    const tools = await host.tools();
    assert.ok(tools.includes("get_my_next_task") && tools.includes("complete_task"));
  }
  await work(hosts);
  await meet(hosts);
  for (const host of Object.values(hosts)) await host.close();
  console.log("the story is told");
}

story(...process.argv.slice(2)).catch((error) => {
  console.error(error);
  process.exit(1);
});
