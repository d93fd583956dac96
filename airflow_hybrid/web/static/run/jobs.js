// Licensed under the Apache License, Version 2.0; see the LICENSE file.
// @ts-check
/** The table of jobs: filtered, sorted and cut into pages by the server. */

import { get } from "../common/api.js";
import { el, fill, scrolled as inBox } from "../common/dom.js";
import { count, counted, duration, memory, size } from "../common/format.js";
import { jobDetails } from "./details.js";
import { FIRST, PAGE } from "./first.js";
import { LogView } from "./logs.js";

/** @type {[string, string, (job: any) => any, string?][]} name of the column, title, value, class */
const COLUMNS = [
  ["step", "step", (job) => job.step],
  ["index", "job", (job) => job.index || "–"],
  ["state", "state", (job) => state(job)],
  ["site", "site", (job) => job.site],
  ["node", "node", (job) => job.node],
  ["waited_s", "queue", (job) => duration(job.waited_s), "number"],
  ["seconds", "ran", (job) => duration(job.seconds), "number"],
  ["cpu_s", "CPU", (job) => duration(job.cpu_s), "number"],
  ["memory_used_mib", "memory", (job) => memory(job.memory_used_mib), "number"],
  ["bytes_in", "in", (job) => size(job.bytes_in), "number"],
  ["bytes_out", "out", (job) => size(job.bytes_out), "number"],
];

/** @param {any} job */
function state(job) {
  const word = job.reused ? "reused" : job.state.toLowerCase().replaceAll("_", " ");
  const isPlain = job.exit_code === null || (job.exit_code === 0 && job.is_success);
  const code = isPlain ? "" : ` (${job.exit_code})`;
  const tone = job.is_success ? "good" : "bad";
  const tries = job.attempt_name !== "1" || !job.is_last ? el("span", { class: "tag" }, `try ${job.attempt_name}`) : null;
  return [el("span", { class: tone }, word + code), tries];
}

export class JobsTable {
  /** @param {HTMLElement} section @param {{task_id: string | null, map_index: string | null}} task */
  constructor(section, task) {
    this.section = section;
    this.task = task;
    this.wanted = { ...FIRST };
    this.opened = "";
    /** @type {any} */
    this.page = null;
    this.asked = 0;
    this.list = el("div", {});
    this.filters = el("div", { class: "bar" });
    this.running = el("div", { hidden: true });
    /** @type {{key: string, logs: LogView} | null} of the job that is opened */
    this.view = null;
  }

  /** @param {any} overview */
  async update(overview) {
    this.run = overview.run;
    this.showRunning(overview.batches);
    await this.load();
  }

  /** Only the jobs of a step. @param {string} path */
  async showStep(path) {
    await this.change({ step: path, offset: 0 });
    this.section.scrollIntoView({ block: "start" });
  }

  /** Find a job in the table and show its details. @param {string} key */
  async open(key) {
    this.opened = key;
    this.wanted = { ...this.wanted, step: "", site: "", shown: "all", text: "", offset: 0 };
    await this.load(key);
    this.section.querySelector(".opened")?.scrollIntoView({ block: "center" });
  }

  /** @param {Record<string, unknown>} changes */
  async change(changes) {
    Object.assign(this.wanted, changes);
    await this.load();
  }

  /** @param {string} [key] begin with the page that has this job */
  async load(key) {
    this.asked += 1;
    const asked = this.asked;
    const { value } = await get("jobs", { ...this.wanted, ...this.task, limit: PAGE, key });
    if (asked !== this.asked) return; // a later question has been asked meanwhile
    if (value === this.page && key === undefined) return;
    this.page = value;
    this.wanted.offset = value.offset;
    this.show();
  }

  show() {
    this.section.hidden = this.page.total === 0 && this.running.hidden;
    if (!this.section.contains(this.list)) {
      fill(this.section, el("h2", { id: "jobs-title" }, "Jobs"), this.running, this.filters, this.list);
    }
    const scrolled = this.view?.logs.text.scrollTop ?? 0;
    const hasSome = this.page.total > 0;
    this.filters.hidden = !hasSome;
    if (!this.filters.contains(document.activeElement)) fill(this.filters, this.choices());
    fill(this.list, hasSome ? [this.pager(), inBox("Jobs", this.table())] : el("p", { class: "quiet" }, "no job has ended yet"));
    if (this.view) this.view.logs.text.scrollTop = scrolled;
  }

  /** Logs of jobs that have no row yet: they are asked for by name. @param {any[]} batches */
  showRunning(batches) {
    // a log that somebody reads stays when its job ends
    this.running.hidden = batches.length === 0 && this.running.querySelector(".logs") === null;
    if (batches.length === 0 || this.running.childElementCount) return;
    const [{ step, total }] = batches;
    const name = el("input", { value: total > 1 && !step.includes(": ") ? `${step}[0]` : step, "aria-label": "name of a running job" });
    const place = el("div", {});
    const show = () => fill(place, new LogView((stream) => [`logs/${stream}`, { job: name.value }], true).element);
    fill(this.running, el("div", { class: "bar" }, el("label", {}, "log of a job that runs", name), el("button", { onclick: show }, "show")), place);
  }

  choices() {
    const choice = (label, name, options) =>
      el("label", {}, label, el("select", { data: { focus: name }, onchange: (event) => this.change({ [name]: event.target.value, offset: 0 }) }, options.map(([value, text]) => el("option", { value, selected: this.wanted[name] === value }, text))));
    const ends = [["all", "all"], ["succeeded", "succeeded"], ["failed", "failed"], ["reused", "reused"]];
    let timer = 0;
    const typed = (event) => {
      clearTimeout(timer);
      timer = setTimeout(() => this.change({ text: event.target.value, offset: 0 }), 250);
    };
    return [
      choice("step", "step", [["", "all"], ...this.page.steps.map((path) => [path, path])]),
      choice("site", "site", [["", "all"], ...this.page.sites.map((name) => [name, name])]),
      choice("ended", "shown", ends),
      el("label", {}, "find", el("input", { type: "search", value: this.wanted.text, placeholder: "index, node, id, reason", data: { focus: "text" }, oninput: typed })),
    ];
  }

  pager() {
    const { matched, total, offset } = this.page;
    const last = Math.min(offset + PAGE, matched);
    const words = matched ? `${count(offset + 1)} to ${count(last)} of ${counted(matched, "job")}` : "no job is like that";
    const of = matched === total ? "" : ` (${count(total)} in all)`;
    const step = (label, to, isOn) => el("button", { disabled: !isOn, data: { focus: label }, onclick: () => this.change({ offset: to }) }, label);
    return el(
      "div",
      { class: "pager" },
      el("span", { class: "quiet", role: "status" }, words + of),
      matched > PAGE ? [step("previous", Math.max(0, offset - PAGE), offset > 0), step("next", offset + PAGE, last < matched)] : null,
    );
  }

  table() {
    const head = el("tr", {}, COLUMNS.map(([name, title, , kind]) => this.title(name, title, kind)));
    const rows = this.page.jobs.flatMap((job) => (job.key === this.opened ? [this.row(job), this.details(job)] : [this.row(job)]));
    return el("table", { class: "jobs-table" }, el("thead", {}, head), el("tbody", {}, rows));
  }

  /** @param {string} name @param {string} title @param {string} [kind] */
  title(name, title, kind) {
    const isSorted = this.wanted.sort === name;
    const direction = this.wanted.order === "up" ? "ascending" : "descending";
    const order = isSorted && this.wanted.order === "up" ? "down" : "up";
    const arrow = isSorted ? (this.wanted.order === "up" ? " ▲" : " ▼") : "";
    return el("th", { scope: "col", class: kind, "aria-sort": isSorted ? direction : null }, el("button", { class: "plain", data: { focus: `sort ${name}` }, onclick: () => this.change({ sort: name, order, offset: 0 }) }, title + arrow));
  }

  /** @param {any} job */
  row(job) {
    const isOpen = job.key === this.opened;
    const toggle = () => {
      this.opened = isOpen ? "" : job.key;
      this.show();
    };
    const button = el("button", { class: "plain", "aria-expanded": String(isOpen), data: { focus: job.key }, onclick: toggle }, `${isOpen ? "▾" : "▸"} ${job.step}`);
    const cells = COLUMNS.slice(1).map(([, , value, kind]) => el("td", { class: kind }, value(job)));
    return el("tr", { class: job.is_last ? null : "earlier" }, el("td", {}, button), cells);
  }

  /** @param {any} job */
  details(job) {
    return el("tr", { class: "opened" }, el("td", { colspan: COLUMNS.length }, jobDetails(job, this.run), this.logs(job)));
  }
  /** What the job has written; the same element as long as it is opened. @param {any} job */
  logs(job) {
    if (job.reused || !job.directory) return null;
    if (this.view?.key !== job.key) {
      this.view = { key: job.key, logs: new LogView((stream) => [`jobs/${job.key}/${stream}`, {}], false) };
    }
    return this.view.logs.element;
  }
}
