// Licensed under the Apache License, Version 2.0; see the LICENSE file.
// @ts-check
/** What a job has written: its end, all of it, or what it writes just now. */

import { get } from "../common/api.js";
import { el, fill } from "../common/dom.js";
import { size } from "../common/format.js";

const FOLLOW_MS = 3000;
const MOST_SHOWN = 8_000_000;

export class LogView {
  /**
   * @param {(stream: string) => [string, Record<string, unknown>]} route of a stream, and its query
   * @param {boolean} mayWrite whether the job may still run
   */
  constructor(route, mayWrite) {
    this.route = route;
    this.mayWrite = mayWrite;
    this.stream = "";
    this.isFollowing = false;
    this.asked = 0;
    this.piece = { start: 0, end: 0, size: 0 };
    this.text = el("pre", { class: "log", tabindex: "0", role: "log", "aria-label": "what the job has written", hidden: true });
    this.about = el("span", { class: "quiet", role: "status" });
    this.bar = el("div", { class: "bar log-bar" });
    this.element = el("div", { class: "logs" }, this.bar, this.text);
    this.showBar();
  }

  showBar() {
    const button = (label, act, isOn = true) => el("button", { onclick: act, disabled: !isOn, data: { focus: label } }, label);
    const choice = (name) => el("button", { "aria-pressed": String(this.stream === name), data: { focus: name }, onclick: () => this.open(name) }, name);
    const isOpen = this.stream !== "";
    const follow = el("label", { class: "follow" }, el("input", { type: "checkbox", checked: this.isFollowing, data: { focus: "follow" }, onchange: () => this.follow() }), " follow");
    fill(
      this.bar,
      choice("stdout"),
      choice("stderr"),
      isOpen && this.piece.start > 0 ? button("whole", () => this.whole(), this.piece.size <= MOST_SHOWN) : null,
      isOpen && this.mayWrite ? follow : null,
      this.about,
    );
  }

  /** Show the end of a stream. @param {string} stream */
  async open(stream) {
    this.stream = stream;
    this.text.hidden = false;
    this.asked += 1;
    fill(this.text, "asking the site ...");
    fill(this.about);
    this.showBar();
    await this.load({}, false);
    this.text.scrollTop = this.text.scrollHeight;
  }

  /** All of it, piece by piece. */
  async whole() {
    const end = this.piece.end;
    let isFirst = true;
    for (let from = 0; from < end; from = this.piece.end) {
      const before = from;
      if (!(await this.load({ from }, !isFirst)) || this.piece.end <= before) return;
      isFirst = false;
      this.piece.start = 0;
    }
    this.showBar();
  }

  async follow() {
    this.isFollowing = !this.isFollowing;
    const asked = this.asked;
    while (this.isFollowing && asked === this.asked && this.element.isConnected) {
      if (!document.hidden && (await this.load({ from: this.piece.end }, true))) this.text.scrollTop = this.text.scrollHeight;
      await new Promise((resolve) => setTimeout(resolve, FOLLOW_MS));
    }
  }

  /**
   * @param {Record<string, unknown>} query @param {boolean} isMore it goes below what is shown
   * @returns {Promise<boolean>} whether there was something
   */
  async load(query, isMore) {
    const asked = this.asked;
    const [route, more] = this.route(this.stream);
    try {
      const { value } = await get(route, { ...more, ...query });
      if (asked !== this.asked) return false;
      const start = isMore ? this.piece.start : value.start;
      this.piece = { ...value, start };
      if (isMore) this.text.append(document.createTextNode(value.text));
      else fill(this.text, value.text || "(nothing)");
      fill(this.about, start > 0 ? `the last ${size(value.end - start)} of ${size(value.size)}` : size(value.size));
      this.mayWrite = this.mayWrite && !value.is_over;
      this.showBar();
      return value.text !== "";
    } catch (error) {
      if (asked !== this.asked) return false;
      const words = error instanceof Error ? error.message : String(error);
      if (isMore) fill(this.about, words);
      else fill(this.text, words);
      return false;
    }
  }
}
