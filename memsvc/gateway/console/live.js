// What happens to a tenant's memory: figures asked for every second, events as the server tells them.

import { Problem, events, get, tenantPath } from "./api.js";
import { chart } from "./chart.js";
import { complain, el, say, table } from "./dom.js";

const POLL_MS = 1000;
const SPAN_MS = 120_000;
const MOST_EVENTS = 100;
const MARKED = new Set(["drift", "restart", "restart_ended"]);

export async function showLive(place, { tenant, head }, signal) {
  const samples = [];
  const told = [];
  let heard = null;
  const [drawn, figures, happened] = [el("div"), el("div"), el("div")];
  place.append(
    el("p", {}, "Surprise is the mean over the last 4,096 tokens stepped; gate share is that of all tokens stepped."),
    drawn,
    el("details", {}, el("summary", {}, "The figures as a table"), figures),
    el("h2", {}, "Events"),
    happened,
  );

  function draw() {
    const from = Date.now() - SPAN_MS;
    while (samples.length && samples[0].at < from) samples.shift();
    drawn.replaceChildren(chart(samples, told.filter(({ at, kind }) => at !== null && at >= from && MARKED.has(kind)), SPAN_MS));
    const rows = samples.map(({ at, surprise, gateShare }) => [clock(at), surprise.toFixed(4), gateShare.toFixed(4)]);
    figures.replaceChildren(table("Figures of the last two minutes", ["Time", "Surprise", "Gate share"], rows.reverse()));
  }

  function list() {
    const rows = told.toReversed().map(({ at, seq, kind, figures }) => [at === null ? "earlier" : clock(at), seq, kind, inWords(figures)]);
    happened.replaceChildren(table("Events, newest first", ["Arrived", "Record", "Kind", "Figures"], rows));
  }

  async function poll() {
    const asked = { readMask: "stats.surpriseRecent,stats.gateShare" };
    const { stats } = await get(tenantPath(tenant), asked, signal);
    samples.push({ at: Date.now(), surprise: Number(stats.surpriseRecent), gateShare: Number(stats.gateShare) });
    draw();
  }

  async function listen() {
    const asked = heard === null ? "" : `?fromSeq=${heard}`;
    for await (const event of events(tenantPath(tenant, "events") + asked, signal)) {
      heard = event.seq;
      // The stream begins with what is past; nobody knows when that was.
      told.push({ at: Number(event.seq) > head ? Date.now() : null, ...event });
      if (told.length > MOST_EVENTS) told.shift();
      list();
      say(`Event: ${event.kind} at record ${event.seq}`);
    }
  }

  list();
  draw();
  again(poll, signal).catch(complain);
  again(listen, signal).catch(complain);
}

/** Do something every second; a server that is away for a while may come back, one that refuses will do so again. */
async function again(act, signal) {
  let failed = false;
  while (!signal.aborted) {
    try {
      await act();
      if (failed) say("The server answers again");
      failed = false;
    } catch (error) {
      if (signal.aborted || (error instanceof Problem && error.status < 500 && error.status !== 429)) throw error;
      complain(error);
      failed = true;
    }
    await new Promise((resolve) => setTimeout(resolve, POLL_MS));
  }
}

function clock(at) {
  return new Date(at).toLocaleTimeString();
}

function inWords(figures) {
  return Object.entries(figures).map(([name, value]) => `${name} ${value}`).join(", ");
}
