// Licensed under the Apache License, Version 2.0; see the LICENSE file.
// @ts-check
/** Steps and how far they are, and the batches that run. */

import { el, fill, scrolled } from "../common/dom.js";
import { count, counted, duration, figure, leaf, size } from "../common/format.js";
import { chip } from "./head.js";

/**
 * @param {HTMLElement} section @param {any} overview @param {any[]} steps @param {(path: string) => void} showJobs
 */
export function showSteps(section, overview, steps, showJobs) {
  section.hidden = steps.length === 0;
  if (section.hidden) return;
  const titles = [["step"], ["state"], ["jobs"], ["sites"], ["queue, median", "number"], ["ran, median", "number"], ["in", "number"], ["out", "number"]];
  const head = el("tr", {}, titles.map(([title, name]) => el("th", { scope: "col", class: name }, title)));
  const outer = Math.min(...steps.map((step) => depth(step.path)));
  const rows = steps.map((step) => row(step, depth(step.path) - outer, showJobs));
  const paths = new Set(steps.map((step) => step.path));
  const batches = overview.batches.filter((batch) => paths.has(batch.step.split(": ")[0]));
  fill(
    section,
    el("h2", { id: "steps-title" }, "Steps"),
    scrolled("Steps", el("table", {}, el("thead", {}, head), el("tbody", {}, rows))),
    batches.length ? [el("h3", {}, "Batches that run"), el("ul", { class: "batches" }, batches.map((b) => batch(b, steps)))] : null,
    overview.problems.map((problem) => el("p", { class: "note" }, problem)),
  );
}

/** @param {string} path */
function depth(path) {
  return path.split("/").length;
}

/** What a step is, beside a plain one. @param {any} step @returns {[string, string][]} word, and what it means */
export function marks(step) {
  /** @type {[string, string | false][]} */
  const all = [
    ["sub-workflow", step.kind === "workflow" && "a group of steps"],
    ["expression", step.kind === "expression" && "evaluated by Airflow, without a job"],
    ["scatter", step.scatter.length > 0 && `a job for each item of ${step.scatter.join(", ")}`],
    ["loop", step.loop && "repeated until its condition is false"],
    ["when", step.conditional && "run only if its condition is true"],
    ["shares a task", step.shares_task && `runs with other steps in Airflow's task ${step.task_id}`],
  ];
  return /** @type {[string, string][]} */ (all.filter(([, meaning]) => meaning));
}

/** @param {any} step @param {number} inner @param {(path: string) => void} showJobs */
function row(step, inner, showJobs) {
  const name = step.ended
    ? el("button", { class: "plain", title: `show the jobs of ${step.path}`, data: { focus: step.path }, onclick: () => showJobs(step.path) }, leaf(step.path))
    : el("span", { title: step.path }, leaf(step.path));
  const tags = marks(step).map(([word, meaning]) => el("span", { class: "tag", title: meaning }, word));
  const cell = el("td", { class: "step" }, name, tags);
  cell.style.paddingLeft = `${inner * 20}px`;
  return el(
    "tr",
    {},
    cell,
    el("td", {}, chip(step.state)),
    el("td", { class: "jobs" }, progress(step)),
    el("td", {}, step.sites.length ? step.sites.join(", ") : el("span", { class: "quiet" }, step.targets.join(", "))),
    el("td", { class: "number" }, duration(step.usage?.waited_s?.median)),
    el("td", { class: "number" }, duration(step.usage?.seconds?.median)),
    el("td", { class: "number" }, step.ended ? size(step.bytes_in) : ""),
    el("td", { class: "number" }, step.ended ? size(step.bytes_out) : ""),
  );
}

/** @param {any} step */
function progress(step) {
  if (step.total === null) return null;
  const share = (jobs) => `${(100 * jobs) / step.total}%`;
  const part = (name, jobs) => {
    const made = el("span", { class: name });
    made.style.width = share(jobs);
    return made;
  };
  const words = [
    step.ended === step.total ? count(step.total) : `${count(step.ended)} of ${count(step.total)}`,
    step.failed && `${count(step.failed)} failed`,
    step.reused && `${count(step.reused)} reused`,
    step.running && `${count(step.running)} running`,
    step.pending && `${count(step.pending)} waiting`,
  ].filter(Boolean);
  const meter = el("span", { class: "meter", "aria-hidden": "true" }, part("good", step.succeeded - step.reused), part("reused", step.reused), part("bad", step.failed), part("busy", step.running));
  return [meter, el("span", { class: step.failed ? "bad" : "" }, words.join(" · "))];
}

/** @param {any} batch @param {any[]} steps */
function batch(batch, steps) {
  const step = steps.find((one) => one.path === batch.step.split(": ")[0]);
  const rate = step?.per_minute ? `${counted(step.per_minute, "job", figure)} a minute` : "";
  const left = step?.left_s ? `about ${duration(step.left_s)} left` : "";
  const failed = batch.failed ? `${count(batch.failed)} failed` : "";
  const state = `${count(batch.ended)} of ${counted(batch.total, "job")} ended, ${count(batch.running)} running, ${count(batch.pending)} waiting`;
  const line = [state, failed, rate, left, batch.scheduler_ids.length ? `id ${batch.scheduler_ids.join(", ")}` : ""];
  return el(
    "li",
    {},
    el("strong", {}, `${batch.step} at ${batch.place}: `),
    line.filter(Boolean).join(" · "),
    batch.reasons.length ? el("div", { class: "wait" }, `waiting: ${batch.reasons.join("; ")}`) : null,
    batch.unknown ? el("div", { class: "bad" }, `the state is not known: ${batch.unknown}`) : null,
  );
}
