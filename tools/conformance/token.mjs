// Loaded into the conformance suite, which can't send a token: every request to the server gets the
// one of MCP_TOKEN. Whatever a scenario says itself stays.
import http from "node:http";
import { createRequire, syncBuiltinESMExports } from "node:module";
import { pathToFileURL } from "node:url";

const { Agent, setGlobalDispatcher } = createRequire(pathToFileURL(process.argv[1]))("undici");
const { origin } = new URL(process.env.MCP_URL);
const bearer = `Bearer ${process.env.MCP_TOKEN}`;

function withToken(headers) {
  if (Array.isArray(headers)) return [...headers, "authorization", bearer];
  if (headers && Symbol.iterator in headers) return [...headers, ["authorization", bearer]];
  return { ...headers, authorization: bearer };
}

setGlobalDispatcher(
  new Agent().compose((dispatch) => (options, handler) => {
    if (String(options.origin) !== origin) return dispatch(options, handler);
    return dispatch({ ...options, headers: withToken(options.headers) }, handler);
  }),
);

// Some scenarios write their requests by hand.
const { request } = http;
http.request = (...args) => {
  const made = request(...args);
  if (!made.headersSent && !made.hasHeader("authorization")) made.setHeader("authorization", bearer);
  return made;
};
syncBuiltinESMExports();
