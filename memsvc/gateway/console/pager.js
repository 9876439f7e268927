// From page to page: forward by the server's tokens, back by those that were seen.

import { complain, el } from "./dom.js";
import { newest } from "./newest.js";

export class Pager {
  /** `load` takes a page's token, empty for the first, and resolves to `next`, its next token, empty on the last, and to `draw`, which shows it. */
  constructor(load) {
    this.loaded = newest(load);
    this.seen = [""];
    this.back = el("button", { type: "button", click: () => this.move(-1) }, "Previous page");
    this.on = el("button", { type: "button", click: () => this.move(1) }, "Next page");
    this.buttons = el("p", { class: "row" }, this.back, this.on);
  }

  first() {
    return this.turn([""]);
  }

  async move(by) {
    try {
      await this.turn(by > 0 ? [...this.seen, this.next] : this.seen.slice(0, -1));
    } catch (error) {
      complain(error);
    }
  }

  async turn(seen) {
    const page = await this.loaded(seen.at(-1));
    if (page === null) return;
    page.draw();
    this.next = page.next;
    this.seen = seen;
    // A button that goes dead would take the focus with it.
    const had = [this.back, this.on].includes(document.activeElement) ? document.activeElement : null;
    this.back.disabled = seen.length === 1;
    this.on.disabled = !this.next;
    if (had?.disabled) [this.back, this.on].find((button) => !button.disabled)?.focus();
  }
}
