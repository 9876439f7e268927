// The page: which view is shown, and the key where the server asks for one.

import { Problem, get, tenantPath, useKey } from "./api.js";
import { complain, el, field, say } from "./dom.js";
import { showEntries } from "./entries.js";
import { showLive } from "./live.js";
import { Past } from "./past.js";
import { showRecall } from "./recall.js";
import { showTenants } from "./tenants.js";

const VIEWS = { entries: ["Entries", showEntries], recall: ["Recall", showRecall], live: ["Live", showLive] };
const main = document.getElementById("main");
const signOut = document.getElementById("sign-out");
let leave = new AbortController();
let past = null;

window.addEventListener("hashchange", () => location.hash !== "#main" && route());
signOut.addEventListener("click", () => {
  useKey("");
  location.replace("#/");
  location.reload();
});
route();

/** Show the view that the address names; what the last one had under way ends. */
async function route() {
  leave.abort();
  leave = new AbortController();
  const { signal } = leave;
  say("");
  try {
    const [tenant, view = "entries"] = location.hash.replace(/^#\/?/, "").split("/").map(decodeURIComponent);
    if (tenant) await showTenant(tenant, Object.hasOwn(VIEWS, view) ? view : "entries", signal);
    else await enter("Tenants", showTenants, signal);
  } catch (error) {
    if (error instanceof Problem && error.status === 401) askForKey();
    else complain(error);
  }
}

async function showTenant(tenant, view, signal) {
  const found = await get(tenantPath(tenant), { readMask: "tenant,uid,stats.headSeq,stats.restorePending" }, signal);
  if (past?.tenant !== tenant || past.uid !== found.uid) past = new Past(tenant, found.uid);
  past.learn(found.stats);
  const links = Object.entries(VIEWS).map(([name, [title]]) =>
    el("a", { href: `#/${encodeURIComponent(tenant)}/${name}`, "aria-current": name === view ? "page" : null }, title),
  );
  const [title, show] = VIEWS[view];
  const nav = el("nav", { "aria-label": `Tenant ${tenant}` }, el("a", { href: "#/" }, "Tenants"), el("b", {}, tenant), ...links);
  await enter(`${title} of ${tenant}`, (place) => show(place, past, signal, route), signal, nav);
}

async function enter(title, show, signal, ...above) {
  const heading = el("h1", { tabindex: "-1" }, title);
  const place = el("div");
  main.replaceChildren(...above, heading, place);
  document.title = `${title} – memsvc console`;
  heading.focus();
  await show(place, signal);
}

function askForKey() {
  const submit = async (event) => {
    event.preventDefault();
    const input = event.target.elements.key;
    useKey(input.value.trim());
    try {
      await get("/v1/tenants", { pageSize: 1 });
    } catch (error) {
      // A key of one tenant may not list them all, and is a good key.
      if (error.status !== 403) {
        useKey("");
        complain(error);
        input.select();
        return;
      }
    }
    signOut.hidden = false;
    route();
  };
  const key = { name: "key", type: "password", required: true, autocomplete: "off", spellcheck: "false" };
  main.replaceChildren(
    el("h1", {}, "Sign in"),
    el("p", {}, "This server asks for an API key. It stays in this page’s memory, until the page is closed or loaded again."),
    el("form", { submit, class: "row" }, field("API key", key), el("button", {}, "Sign in")),
  );
  document.title = "Sign in – memsvc console";
  main.querySelector("input").focus();
}
