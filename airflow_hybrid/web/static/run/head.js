// Licensed under the Apache License, Version 2.0; see the LICENSE file.
// @ts-check
/** The head line: what a reader wants to know first. */

import { el, fill } from "../common/dom.js";
import { coreHours, count, counted, duration, leaf, moment, size, stateInWords } from "../common/format.js";

const TONES = { success: "good", failed: "bad", running: "busy", queued: "wait", upstream_failed: "bad", deferred: "busy" };

/** A state as a chip. @param {string} state */
export function chip(state) {
  return el("span", { class: `chip ${TONES[state] ?? "quiet"}` }, stateInWords(state));
}

/** Bytes that went from one site to another. @param {any} overview */
export function movedBytes(overview) {
  const between = overview.transfers.filter((transfer) => transfer.source !== transfer.target);
  return between.reduce((sum, transfer) => sum + transfer.bytes, 0);
}

/**
 * @param {Element} head @param {any} overview @param {{task_id: string | null, map_index: string | null}} task
 * @param {[string, string][]} results names and values of outputs that are no files
 */
export function showHead(head, overview, task, results) {
  const { run, steps, sites } = overview;
  const ended = sum(steps, "ended");
  const total = steps.reduce((all, step) => all + (step.total ?? step.ended), 0);
  const failed = sum(steps, "failed");
  const reused = sum(steps, "reused");
  const seconds = run.began ? (run.ended ?? Date.now() / 1000) - run.began : null;
  document.title = `${run.dag_id} · ${run.state}`;
  const ofTask = task.task_id ? `, task ${task.task_id}${Number(task.map_index ?? -1) >= 0 ? `[${task.map_index}]` : ""}` : "";
  const working = sites.filter((site) => site.jobs).length;
  const about = [working ? `at ${counted(working, "site")}` : "", reused ? `${count(reused)} reused` : ""].filter(Boolean);
  const started = [run.began && `began ${moment(run.began)}`, run.user && `by ${run.user}`, leaf(overview.document)];
  fill(
    head,
    el("div", { class: "title" }, el("h1", {}, run.dag_id, el("span", { class: "quiet" }, ` ${run.run_id}${ofTask}`)), chip(run.state)),
    el("p", { class: "quiet", title: overview.document }, started.filter(Boolean).join(" · ")),
    el(
      "dl",
      { class: "figures" },
      pair("Duration", duration(seconds)),
      pair("Jobs", total === ended ? count(ended) : `${count(ended)} of ${count(total)}`, about.join(", ")),
      pair("Failed", count(failed), "", failed ? "bad" : ""),
      pair("Moved between sites", size(movedBytes(overview))),
      pair("Core-hours", coreHours(sum(sites, "core_s") / 3600)),
    ),
    results.length ? el("dl", { class: "results" }, results.map(([name, value]) => [el("dt", {}, name), el("dd", {}, value)]).flat()) : null,
  );
}

/** @param {any[]} values @param {string} name */
function sum(values, name) {
  return values.reduce((all, value) => all + value[name], 0);
}

/** @param {string} name @param {string} value @param {string} [more] @param {string} [tone] */
function pair(name, value, more = "", tone = "") {
  const small = more && el("span", { class: "more" }, more);
  return el("div", {}, el("dt", {}, name), el("dd", { class: tone }, value || "–", small));
}
