// The tenants, page by page.

import { get } from "./api.js";
import { complain, el, field, say, table } from "./dom.js";
import { Pager } from "./pager.js";

export async function showTenants(place, signal) {
  const open = (event) => {
    event.preventDefault();
    location.hash = `#/${encodeURIComponent(event.target.elements.tenant.value)}`;
  };
  const list = el("div");
  place.append(
    el("form", { submit: open, class: "row" }, field("Open a tenant by its id", { name: "tenant", required: true }), el("button", {}, "Open")),
    list,
  );
  const pager = new Pager(async (pageToken) => {
    const { tenants, nextPageToken } = await get("/v1/tenants", { pageSize: 50, pageToken }, signal);
    const draw = () => {
      list.replaceChildren(table("Tenants", ["Tenant", "Created"], tenants.map(row)));
      say(tenants.length ? `${tenants.length} tenants on this page` : "There are no tenants that you may see");
    };
    return { next: nextPageToken, draw };
  });
  place.append(pager.buttons);
  try {
    await pager.first();
  } catch (error) {
    if (error.status !== 403) throw error;
    complain(error); // one may still be opened by its id
  }
}

function row({ tenant, createTime }) {
  return [el("a", { href: `#/${encodeURIComponent(tenant)}/entries` }, tenant), createTime];
}
