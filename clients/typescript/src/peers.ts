/** The servers that a client talks to: a connection to each, opened when it is first needed. */

import type { ClientHttp2Stream } from "node:http2";
import { connect, isIP, type Socket } from "node:net";
import { connect as connectTls, type ConnectionOptions } from "node:tls";

import { type Client, createClient, type Interceptor } from "@connectrpc/connect";
import { createGrpcTransport, Http2SessionManager } from "@connectrpc/connect-node";

import { isLoopback } from "./addresses.js";
import { MemsvcError, wrong } from "./errors.js";
import { AuthService } from "./gen/memsvc/v1/auth_pb.js";
import { GenerateService } from "./gen/memsvc/v1/generate_pb.js";
import { MemoryService } from "./gen/memsvc/v1/memory_pb.js";
import { TenantService } from "./gen/memsvc/v1/tenants_pb.js";

/** Whose certificates count, and the client's own; all PEM. */
export interface TLS {
  /** The authorities to trust, in place of the world's. */
  ca?: string | Buffer;
  /** The client's certificate, for servers that ask for one. */
  cert?: string | Buffer;
  /** Its key. */
  key?: string | Buffer;
  /** The name to look for in the server's certificate, in place of the address's host. */
  serverName?: string;
}

/** What a client shows to servers, and on what connections. */
export interface Access {
  /** The API key, or what returns it, asked anew for every call. */
  apiKey?: string | (() => string | Promise<string>);
  /** Whether connections are encrypted: true for the world's authorities. */
  tls?: boolean | TLS;
  /** Let the key leave this machine without TLS, for whoever listens on the way to read. */
  allowPlaintextKey?: boolean;
}

/** A session whose late errors end no process: a GOAWAY that arrives as the client closes leaves one that nobody hears. */
class Session extends Http2SessionManager {
  override async request(...args: Parameters<Http2SessionManager["request"]>): Promise<ClientHttp2Stream> {
    const stream = await super.request(...args);
    if (stream.session && !stream.session.listeners("error").includes(ignore)) stream.session.on("error", ignore);
    return stream;
  }
}

function ignore(): void {}

export interface Peer {
  readonly memory: Client<typeof MemoryService>;
  readonly tenants: Client<typeof TenantService>;
  readonly generate: Client<typeof GenerateService>;
  readonly auth: Client<typeof AuthService>;
  readonly session: Http2SessionManager;
}

/** Connections stay open until the client is closed; a server that names owners without end gets no more than these. */
const MOST_OPEN = 64;

/**
 * How a connection is seen to live while a call waits, as by the Python client; tests shorten it. Without it a server that
 * is frozen, or gone without a word, would never be left by a watch, which has no deadline. A server of ours takes a ping
 * every five seconds. Before there is a connection there are no pings, and it has its own time.
 */
export const PINGS = { pingIntervalMs: 10_000, pingTimeoutMs: 5_000, connectTimeoutMs: 5_000 };

export class Peers {
  readonly #access: Access;
  readonly #open = new Map<string, Peer>();
  #closed = false;

  constructor(access: Access) {
    if (typeof access.apiKey === "string") checkKey(access.apiKey);
    this.#access = access;
  }

  /** Return the server at an address; throws where the key must not go there, or the client is closed. */
  at(address: string): Peer {
    if (this.#closed) throw new MemsvcError("the client is closed", { code: "CANCELLED", reason: "CLOSED" });
    this.check(address);
    const known = this.#open.get(address);
    if (known) return known;
    const [oldest] = this.#open;
    if (oldest && this.#open.size >= MOST_OPEN) {
      this.#open.delete(oldest[0]);
      oldest[1].session.abort();
    }
    const peer = this.#connect(address);
    this.#open.set(address, peer);
    return peer;
  }

  /** See that the key goes to no address where others could read it on the way. */
  check(address: string): void {
    const { apiKey, tls, allowPlaintextKey } = this.#access;
    if (apiKey !== undefined && !tls && !allowPlaintextKey && !isLoopback(address)) {
      throw wrong("apiKey", `would go to ${address} unencrypted; set tls, or allowPlaintextKey if the network is safe`);
    }
  }

  /** Close all connections. Calls under way fail. */
  close(): void {
    this.#closed = true;
    for (const peer of this.#open.values()) peer.session.abort();
    this.#open.clear();
  }

  #connect(address: string): Peer {
    const { tls } = this.#access;
    const baseUrl = `${tls ? "https" : "http"}://${address}`;
    const { serverName, ...pem } = typeof tls === "object" ? tls : {};
    const tlsOptions = tls ? { ...pem, ...(serverName && { servername: serverName }) } : undefined;
    const session = new Session(baseUrl, PINGS, { createConnection: (url) => dial(url, tlsOptions) });
    const transport = createGrpcTransport({ baseUrl, sessionManager: session, interceptors: [this.#keyed] });
    return {
      memory: createClient(MemoryService, transport),
      tenants: createClient(TenantService, transport),
      generate: createClient(GenerateService, transport),
      auth: createClient(AuthService, transport),
      session,
    };
  }

  #keyed: Interceptor = (next) => async (request) => {
    const { apiKey } = this.#access;
    if (apiKey !== undefined) {
      const key = typeof apiKey === "string" ? apiKey : checkKey(await apiKey());
      request.header.set("authorization", `Bearer ${key}`);
    }
    return next(request);
  };
}

/** Connect, as `http2.connect` does, but no longer than the time for it: nothing else ends a handshake without an answer. */
function dial({ hostname, port }: URL, tls: ConnectionOptions | undefined): Socket {
  const host = hostname.replace(/^\[|\]$/g, "");
  const socket = tls
    ? connectTls(Number(port || 443), host, { ALPNProtocols: ["h2"], ...(!isIP(host) && { servername: host }), ...tls })
    : connect(Number(port || 80), host);
  const timer = setTimeout(() => {
    socket.destroy(Object.assign(new Error("it was not answered in time"), { code: "ETIMEDOUT" }));
  }, PINGS.connectTimeoutMs);
  for (const event of [tls ? "secureConnect" : "connect", "close"]) socket.once(event, () => clearTimeout(timer));
  return socket;
}

function checkKey(key: string): string {
  if (!/^[\x21-\x7e]+$/.test(key)) throw wrong("apiKey", "must be of visible ASCII characters, without spaces");
  return key;
}
