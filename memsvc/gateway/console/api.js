// Calls of the HTTP gateway that serves this page. The key is kept here alone, and is gone with the page.

let key = "";

/** A refusal, in the server's words. */
export class Problem extends Error {
  constructor(status, problem) {
    super(problem.detail ?? `the server answered ${status}`);
    this.name = "Problem";
    this.status = status;
    this.reason = problem.reason ?? "";
  }
}

export function useKey(given) {
  key = given;
}

/** Return the path of a tenant, or of what is below it. */
export function tenantPath(tenant, ...below) {
  // Every browser takes these for the folder that they stand in, percent-encoded too, and would ask for something else.
  if (tenant === "." || tenant === "..") throw new Error(`No browser can ask for a tenant called “${tenant}”: use the command line.`);
  return ["/v1/tenants", ...[tenant, ...below].map(encodeURIComponent)].join("/");
}

/** Return the answer to GET; of the query, what is null or empty is left out. */
export async function get(path, query = {}, signal = undefined) {
  const set = Object.entries(query).filter(([, value]) => value !== null && value !== "");
  const asked = set.length ? `${path}?${new URLSearchParams(set)}` : path;
  return (await send(asked, { signal })).json();
}

/** Return the answer to POST. */
export async function post(path, body, signal = undefined) {
  const headers = { "content-type": "application/json" };
  return (await send(path, { method: "POST", headers, body: JSON.stringify(body), signal })).json();
}

/** Return a new id that makes a retry safe. */
export function requestId() {
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** Yield the data of server-sent events. EventSource would do, if it sent a key. */
export async function* events(path, signal) {
  const reader = (await send(path, { signal })).body.pipeThrough(new TextDecoderStream()).getReader();
  let text = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    const blocks = (text + value).split("\n\n");
    text = blocks.pop();
    for (const block of blocks) {
      const lines = block.split("\n");
      const data = lines.find((line) => line.startsWith("data: "));
      if (data === undefined) continue;
      const found = JSON.parse(data.slice(6));
      if (lines.includes("event: error")) throw new Problem(found.status, found);
      yield found;
    }
  }
}

async function send(path, options) {
  const headers = { ...options.headers, ...(key ? { authorization: `Bearer ${key}` } : {}) };
  const answer = await fetch(path, { ...options, headers, redirect: "error" });
  if (answer.ok) return answer;
  throw new Problem(answer.status, await answer.json().catch(() => ({})));
}
