// Which moment of a tenant is looked at: now, or the one after a record.

import { el } from "./dom.js";

export class Past {
  constructor(tenant, uid) {
    this.tenant = tenant;
    this.uid = uid;
    /** The record; null is now. */
    this.seq = null;
  }

  learn({ headSeq, restorePending }) {
    this.head = Number(headSeq);
    this.restorePending = restorePending;
    if (this.seq !== null && this.seq > this.head) this.seq = null;
  }

  get words() {
    return this.seq === null ? "now" : `as of record ${this.seq}`;
  }

  /** Return a slider over the records; its right end is now. `changed` is called once it rests. */
  slider(changed) {
    const input = el("input", {
      type: "range",
      min: "1",
      max: String(Math.max(1, this.head)),
      disabled: this.head < 2,
      input: () => this.move(input, shown),
      change: changed,
    });
    input.value = String(this.seq ?? this.head);
    const shown = el("span");
    this.move(input, shown);
    return el("p", { class: "row" }, el("label", { class: "wide" }, el("span", {}, "Moment"), input), shown);
  }

  move(input, shown) {
    const seq = Number(input.value);
    this.seq = seq >= this.head ? null : seq;
    shown.textContent = this.seq === null ? `now, record ${this.head} of ${this.head}` : `record ${seq} of ${this.head}`;
    input.setAttribute("aria-valuetext", shown.textContent);
  }
}
