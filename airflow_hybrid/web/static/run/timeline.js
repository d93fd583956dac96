// Licensed under the Apache License, Version 2.0; see the LICENSE file.
// @ts-check
/** The timeline: a row per step, or per job of a step that is opened; zoomed and moved by wheel, drag, pinch and keys. */

import { get } from "../common/api.js";
import { el, fill, visible } from "../common/dom.js";
import { counted, duration, jobName, leaf } from "../common/format.js";
import { colours, drawAxis, drawCounts, drawJobs, drawSpan, jobAt } from "./drawing.js";
import { marks } from "./steps.js";

const AXIS = 24;
const ROW = 30;
const GROUP = 24;
const OPEN = 260;
const MOST_HEIGHT = 560;

export class Timeline {
  /**
   * @param {HTMLElement} section @param {{task_id: string | null, map_index: string | null}} task
   * @param {(key: string) => void} openJob
   */
  constructor(section, task, openJob) {
    this.section = section;
    this.task = task;
    this.openJob = openJob;
    /** @type {any} */ this.times = null;
    /** @type {any[]} */ this.rows = [];
    /** @type {Set<string>} */ this.opened = new Set();
    /** @type {Map<string, any>} columns of steps that were asked for */ this.columns = new Map();
    this.view = { from: 0, to: 1 };
    this.isFitted = true;
    this.frame = 0;
    /** @type {Map<number, number>} pointers that are down, and where */ this.pointers = new Map();
  }

  /** @param {any} overview @param {any[]} steps */
  async update(overview, steps) {
    const { value, isNew } = await get("timeline", this.task);
    if (isNew || this.times === null) {
      this.times = value;
      this.columns.clear();
    }
    this.overview = overview;
    this.steps = steps;
    if (overview.run.ended === null) this.times.to = Math.max(this.times.to, Date.now() / 1000 - this.times.from);
    if (this.isFitted) this.view = { from: 0, to: this.times.to };
    this.section.hidden = steps.length === 0 || !overview.run.began;
    if (this.section.hidden) return;
    if (!this.canvas) this.build();
    this.arrange();
    await this.load();
    this.redraw();
  }

  build() {
    const button = (label, title, act) => el("button", { "aria-label": title, title, onclick: act }, label);
    this.canvas = el("canvas", {
      tabindex: "0",
      role: "application",
      "aria-label": "Timeline of the jobs; plus and minus zoom, arrows move, 0 shows all",
      onkeydown: (event) => this.key(event),
      onpointerdown: (event) => this.down(event),
      onpointermove: (event) => this.move(event),
      onpointerup: (event) => this.up(event),
      onpointercancel: (event) => this.up(event),
      onpointerleave: () => (this.tip.hidden = true),
      ondblclick: (event) => this.zoom(0.5, event.offsetX),
    });
    this.canvas.addEventListener("wheel", (event) => this.wheel(event), { passive: false });
    this.labels = el("div", { class: "labels" });
    this.tip = el("div", { class: "tip", hidden: true, role: "status" });
    this.plot = el("div", { class: "plot-box" }, this.canvas, this.tip);
    this.scroller = el("div", { class: "timeline-rows", onscroll: () => this.redraw() }, this.labels, this.plot);
    const keys = ["staging", "waiting", "running", "collecting", "failed", "reused"];
    fill(
      this.section,
      el("h2", { id: "timeline-title" }, "Timeline"),
      el(
        "div",
        { class: "bar" },
        button("+", "zoom in", () => this.zoom(0.5)),
        button("−", "zoom out", () => this.zoom(2)),
        button("all", "show the whole run", () => this.fit()),
        el("ul", { class: "legend" }, keys.map((key) => el("li", {}, el("span", { class: `swatch ${key}` }), key))),
        el("span", { class: "quiet hint" }, "drag to move, Ctrl and wheel or pinch to zoom; click a step for its jobs"),
      ),
      this.scroller,
    );
    new ResizeObserver(() => this.redraw()).observe(this.scroller);
  }

  /** Rows, and their labels beside the canvas. */
  arrange() {
    const known = new Map(this.times.steps.map((step) => [step.path, step]));
    let top = AXIS;
    this.rows = this.steps.map((step) => {
      const times = known.get(step.path);
      const isOpen = this.opened.has(step.path) && times !== undefined;
      const height = step.kind === "workflow" ? GROUP : isOpen ? Math.min(OPEN, ROW + 8 * times.count) : ROW;
      const row = { step, times, top, height, isOpen };
      top += height;
      return row;
    });
    this.height = top + 4;
    this.labels.style.height = `${this.height}px`;
    this.scroller.style.height = `${Math.min(MOST_HEIGHT, this.height)}px`;
    fill(this.labels, this.rows.map((row) => this.label(row)));
  }

  /** @param {any} row */
  label(row) {
    const { step, times, isOpen } = row;
    const tags = marks(step).filter(([word]) => word !== "sub-workflow").map(([word, meaning]) => el("span", { class: "tag", title: meaning }, word));
    const depth = step.path.split("/").length - 2;
    const toggle = () => this.toggle(step.path);
    const name = times
      ? el("button", { class: "plain", "aria-expanded": String(isOpen), title: step.path, data: { focus: step.path }, onclick: toggle }, `${isOpen ? "▾" : "▸"} ${leaf(step.path)}`)
      : el("span", { title: step.path, class: step.kind === "workflow" ? "group" : "quiet" }, leaf(step.path));
    const label = el("div", { class: "label" }, name, tags);
    label.style.top = `${row.top}px`;
    label.style.height = `${row.height}px`;
    label.style.paddingLeft = `${6 + 14 * depth}px`;
    return label;
  }

  /** @param {string} path */
  async toggle(path) {
    if (!this.opened.delete(path)) this.opened.add(path);
    this.arrange();
    await this.load();
    this.redraw();
  }

  /** All jobs of steps that are opened, or looked at so closely that counts are not enough. */
  async load() {
    const isClose = this.view.to - this.view.from < this.times.to / 4;
    const wanted = this.rows.filter((row) => row.times?.bins && (row.isOpen || isClose) && !this.columns.has(row.step.path));
    for (const row of wanted) {
      const { value } = await get("timeline", { ...this.task, step: row.step.path });
      if (value.steps[0]?.columns) this.columns.set(row.step.path, value.steps[0].columns);
    }
    if (wanted.length) this.redraw();
  }

  redraw() {
    if (!this.canvas || this.frame) return;
    this.frame = requestAnimationFrame(() => {
      this.frame = 0;
      this.draw();
    });
  }

  draw() {
    const width = this.plot.clientWidth;
    const height = this.scroller.clientHeight;
    if (!width || !height) return;
    const ratio = window.devicePixelRatio || 1;
    if (this.canvas.width !== Math.round(width * ratio) || this.canvas.height !== Math.round(height * ratio)) {
      this.canvas.width = Math.round(width * ratio);
      this.canvas.height = Math.round(height * ratio);
      this.canvas.style.height = `${height}px`;
    }
    const pen = this.canvas.getContext("2d");
    pen.setTransform(ratio, 0, 0, ratio, 0, 0);
    pen.clearRect(0, 0, width, height);
    const space = { pen, width, view: this.view, paint: colours() };
    const scrolled = this.scroller.scrollTop;
    for (const row of this.rows) {
      const y = row.top - scrolled;
      if (y + row.height < AXIS || y > height) continue;
      this.drawRow(space, row, y);
    }
    drawAxis(space, height, AXIS);
  }

  /** @param {any} space @param {any} row @param {number} y */
  drawRow(space, row, y) {
    const { step, times, height } = row;
    space.pen.fillStyle = space.paint.grid;
    space.pen.fillRect(0, y + height - 1, space.width, 1);
    const start = this.times.from;
    const end = step.task_ended ?? (step.task_began ? this.overview.run.ended ?? start + this.times.to : null);
    if (step.task_began) drawSpan(space, step.task_began - start, end - start, y, height);
    for (const batch of this.overview.batches.filter((one) => one.step.split(": ")[0] === step.path)) {
      drawSpan(space, batch.since - start, this.times.to, y, height, batch.running ? "running" : "waiting");
    }
    if (!times) return;
    const columns = times.columns ?? this.columns.get(step.path);
    if (row.isOpen && columns) drawJobs(space, columns, y + 3, height - 6);
    else drawCounts(space, columns, times.bins, this.times.to, y + 4, height - 8);
  }

  /** @param {number} factor @param {number} [at] where in the plot stays where it is */
  zoom(factor, at) {
    const width = this.plot.clientWidth || 1;
    const span = this.view.to - this.view.from;
    const share = (at ?? width / 2) / width;
    const wanted = Math.min(Math.max(span * factor, 0.5), this.times.to * 1.2);
    const from = this.view.from + (span - wanted) * share;
    this.look(from, from + wanted);
    clearTimeout(this.loading);
    this.loading = setTimeout(() => this.load(), 200);
  }

  /** @param {number} from @param {number} to */
  look(from, to) {
    const span = to - from;
    const start = Math.min(Math.max(from, -0.1 * span), this.times.to - 0.9 * span);
    this.view = { from: start, to: start + span };
    this.isFitted = false;
    this.redraw();
  }

  fit() {
    this.isFitted = true;
    this.view = { from: 0, to: this.times.to };
    this.redraw();
  }

  /** @param {number} share of what is seen */
  shift(share) {
    const by = share * (this.view.to - this.view.from);
    this.look(this.view.from + by, this.view.to + by);
  }

  /** @param {KeyboardEvent} event */
  key(event) {
    const acts = { "+": () => this.zoom(0.5), "=": () => this.zoom(0.5), "-": () => this.zoom(2), 0: () => this.fit(), ArrowLeft: () => this.shift(-0.2), ArrowRight: () => this.shift(0.2) };
    const act = acts[event.key];
    if (!act || event.ctrlKey || event.metaKey) return;
    event.preventDefault();
    act();
  }

  /** @param {WheelEvent} event */
  wheel(event) {
    if (event.ctrlKey || event.metaKey) this.zoom(Math.exp(event.deltaY / 300), event.offsetX);
    else if (event.shiftKey || Math.abs(event.deltaX) > Math.abs(event.deltaY)) this.shift((event.deltaX || event.deltaY) / 1000);
    else return;
    event.preventDefault();
  }

  /** @param {PointerEvent} event */
  down(event) {
    this.canvas.setPointerCapture(event.pointerId);
    this.pointers.set(event.pointerId, event.offsetX);
    this.moved = 0;
  }

  /** @param {PointerEvent} event */
  move(event) {
    const before = this.pointers.get(event.pointerId);
    if (before === undefined) return this.point(event);
    const width = this.plot.clientWidth || 1;
    const others = [...this.pointers].filter(([id]) => id !== event.pointerId).map(([, x]) => x);
    if (others.length) {
      const was = Math.abs(before - others[0]);
      const is = Math.abs(event.offsetX - others[0]);
      if (was > 10 && is > 10) this.zoom(was / is, (event.offsetX + others[0]) / 2);
    } else {
      this.shift((before - event.offsetX) / width);
    }
    this.moved += Math.abs(event.offsetX - before);
    this.pointers.set(event.pointerId, event.offsetX);
  }

  /** @param {PointerEvent} event */
  up(event) {
    if (!this.pointers.delete(event.pointerId) || this.moved > 4) return;
    const found = this.find(event);
    if (found?.job !== undefined) this.openJob(found.columns.key[found.job]);
    else if (found?.row.times && event.type === "pointerup") this.toggle(found.row.step.path);
  }

  /** What is below the pointer. @param {PointerEvent} event */
  find(event) {
    const y = event.offsetY + this.scroller.scrollTop;
    const row = event.offsetY > AXIS ? this.rows.find((one) => y >= one.top && y < one.top + one.height) : undefined;
    if (!row?.times) return row && { row };
    const columns = row.times.columns ?? this.columns.get(row.step.path);
    if (!row.isOpen || !columns) return { row };
    return { row, columns, job: jobAt(columns, this.view, y - row.top - 3, row.height - 6) };
  }

  /** @param {PointerEvent} event */
  point(event) {
    const found = this.find(event);
    this.tip.hidden = !found?.row.times;
    if (this.tip.hidden) return;
    this.tip.textContent = visible(this.words(found));
    this.tip.style.left = `${Math.min(event.offsetX + 14, this.plot.clientWidth - 230)}px`;
    this.tip.style.top = `${event.offsetY + 14}px`;
  }

  /** @param {any} found */
  words({ row, columns, job }) {
    if (job === undefined) return `${row.step.path}: ${counted(row.times.count, "job")}`;
    const took = (name, from, to) => (columns[from][job] === null || columns[to][job] === null ? "" : `${name} ${duration(columns[to][job] - columns[from][job])}`);
    const parts = [took("staged", "staging", "submitted"), took("waited", "submitted", "began"), took("ran", "began", "ended"), took("collected after", "ended", "collected")];
    return [`${jobName(row.step.path, columns.index[job])} at ${columns.site[job]}, ${columns.outcome[job]}`, ...parts].filter(Boolean).join("\n");
  }
}
