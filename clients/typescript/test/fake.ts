/** A server in this process that answers as it is told to, over real connections. */

import { createServer, type Http2Server, type ServerHttp2Session } from "node:http2";
import { type AddressInfo, createConnection, createServer as createTcpServer, type Socket } from "node:net";
import type { TestContext } from "node:test";

import { Code, ConnectError, type ConnectRouter } from "@connectrpc/connect";
import { connectNodeAdapter } from "@connectrpc/connect-node";

import { ErrorInfoSchema, RetryInfoSchema } from "../src/gen/google/rpc/error_details_pb.js";
import { type ClientOptions, MemoryClient } from "../src/index.js";

export interface Fake {
  readonly address: string;
  close(): Promise<void>;
}

/** Serve these routes on a free port of loopback. */
export async function serve(routes: (router: ConnectRouter) => void): Promise<Fake> {
  const server: Http2Server = createServer(connectNodeAdapter({ routes }));
  const sessions = new Set<ServerHttp2Session>();
  server.on("session", (session) => sessions.add(session));
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return {
    address: `127.0.0.1:${(server.address() as AddressInfo).port}`,
    close: () =>
      new Promise((resolve) => {
        for (const session of sessions) session.destroy();
        server.close(() => resolve());
      }),
  };
}

/** Serve these routes for one test; return the address. */
export async function fake(t: TestContext, routes: (router: ConnectRouter) => void): Promise<string> {
  const server = await serve(routes);
  t.after(() => server.close());
  return server.address;
}

/** Pass the connections of one test on to a server; those that are open when it is silenced carry nothing any more. */
export async function relay(t: TestContext, address: string): Promise<{ target: string; silence: () => void }> {
  const [host, port] = address.split(":");
  const open = new Set<Socket>();
  const server = createTcpServer((here) => {
    const there = createConnection(Number(port), host);
    for (const [one, other] of [[here, there], [there, here]] as const) {
      open.add(one.on("error", () => undefined));
      one.pipe(other);
    }
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  t.after(() => {
    for (const socket of open) socket.destroy();
    server.close();
  });
  const silence = () => open.forEach((socket) => socket.unpipe().pause());
  return { target: `127.0.0.1:${(server.address() as AddressInfo).port}`, silence };
}

/** Accept the connections of one test, and say nothing; with how many there were. */
export async function mute(t: TestContext): Promise<{ target: string; accepted: () => number }> {
  const open: Socket[] = [];
  const server = createTcpServer((socket) => void open.push(socket.on("error", () => undefined).resume()));
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  t.after(() => {
    for (const socket of open) socket.destroy();
    server.close();
  });
  return { target: `127.0.0.1:${(server.address() as AddressInfo).port}`, accepted: () => open.length };
}

/** Return a client for one test. */
export function connect(t: TestContext, target: string | string[], options?: ClientOptions): MemoryClient {
  const client = new MemoryClient(target, options);
  t.after(() => client.close());
  return client;
}

/** Return an error as the service sends it. */
export function refusal(
  code: Code,
  reason: string,
  facts: { metadata?: Record<string, string>; retryMs?: number } = {},
): ConnectError {
  const { metadata = {}, retryMs } = facts;
  const delay = { desc: RetryInfoSchema, value: { retryDelay: { seconds: 0n, nanos: (retryMs ?? 0) * 1e6 } } };
  return new ConnectError(reason, code, undefined, [
    { desc: ErrorInfoSchema, value: { reason, metadata } },
    ...(retryMs === undefined ? [] : [delay]),
  ]);
}
