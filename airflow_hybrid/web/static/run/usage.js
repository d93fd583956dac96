// Licensed under the Apache License, Version 2.0; see the LICENSE file.
// @ts-check
/** What steps used of what they asked for, as box plots, and what would have been enough. */

import { el, fill, scrolled, svg } from "../common/dom.js";
import { count, counted, duration, figure, leaf, memory } from "../common/format.js";

const WIDTH = 210;
const HEIGHT = 44;

/** @param {HTMLElement} section @param {any[]} steps */
export function showUsage(section, steps) {
  const known = steps.filter((step) => step.usage && step.usage.jobs > 0 && step.proposal);
  section.hidden = known.length === 0;
  if (section.hidden) return;
  const titles = ["step", "time", "cores", "memory", "would have been enough"];
  const less = known.flatMap(couldAskForLess);
  const head = el("tr", {}, titles.map((title) => el("th", { scope: "col" }, title)));
  fill(
    section,
    el("h2", { id: "usage-title" }, "Used against asked"),
    less.length ? el("p", {}, "Could ask for less: ", less.map((words, number) => [number ? "; " : "", el("strong", {}, words)]).flat()) : null,
    el("p", { class: "quiet" }, "Box: the middle half of the jobs, with their median; whiskers: least and most; dashed: what was asked for. Enough: what 95 % of the jobs used that succeeded and a fifth more (time: two fifths), and never less than any of them used; in steps of 64 MiB, whole cores and minutes. Bold: what airflow hybrid tune would propose by this run alone; it looks at several runs, and proposes nothing by fewer than three jobs that succeeded."),
    scrolled("Used against asked", el("table", { class: "usage" }, el("thead", {}, head), el("tbody", {}, known.map(row)))),
  );
}

/** @param {any} step @returns {string[]} `train: memory 192 MiB instead of 512 MiB` */
function couldAskForLess({ path, enough: needed, proposal }) {
  const each = needed.cores_each === needed.cores ? "" : " for each process";
  const parts = [
    isLess(proposal.ram_mib, proposal.ram_asked_mib) && `memory ${memory(proposal.ram_mib)} instead of ${memory(proposal.ram_asked_mib)}`,
    isLess(proposal.cores, proposal.cores_asked) && `cores ${count(proposal.cores)} instead of ${figure(proposal.cores_asked)}${each}`,
  ].filter(Boolean);
  return parts.length ? [`${leaf(path)}: ${parts.join(", ")}`] : [];
}

/** @param {number | null} proposed null: no change @param {number | null} asked */
function isLess(proposed, asked) {
  return proposed !== null && asked !== null && proposed < asked;
}

/** @param {any} step */
function row(step) {
  const usage = step.usage;
  return el(
    "tr",
    {},
    el("td", {}, el("strong", { title: step.path }, leaf(step.path)), el("div", { class: "quiet" }, counted(usage.jobs, "job"))),
    el("td", {}, plot("time", usage.seconds, null, duration)),
    el("td", {}, plot("cores", usage.cores, usage.cores_asked, figure)),
    el("td", {}, plot("memory", usage.memory_mib, usage.memory_asked_mib, memory)),
    el("td", {}, enough(step)),
  );
}

/** @param {any} step */
function enough({ usage, enough: needed, proposal }) {
  const parts = [];
  if (needed.memory_mib !== null) parts.push(compared("memory", needed.memory_mib, usage.memory_asked_mib, memory, isLess(proposal.ram_mib, proposal.ram_asked_mib)));
  if (needed.cores !== null) parts.push(compared("cores", needed.cores, usage.cores_asked, count, isLess(proposal.cores, proposal.cores_asked)));
  if (needed.seconds !== null) parts.push(el("li", {}, `time: ${duration(needed.seconds)}`));
  for (const note of proposal.notes) parts.push(el("li", { class: "quiet" }, note));
  return el("ul", { class: "enough" }, parts);
}

/** @param {string} name @param {number} needed @param {number | null} asked @param {(value: number) => string} format @param {boolean} isProposed to ask for less */
function compared(name, needed, asked, format, isProposed) {
  const text = `${name}: ${format(needed)}`;
  if (asked === null) return el("li", {}, `${text} (nothing was asked for)`);
  if (isProposed) return el("li", {}, el("strong", {}, text), ` instead of ${format(asked)}`);
  return el("li", {}, `${text} (${format(asked)} asked for)`);
}

/**
 * @param {string} name @param {any} spread @param {number | null} asked @param {(value: number) => string} format
 */
function plot(name, spread, asked, format) {
  if (!spread) return el("span", { class: "quiet" }, "not known");
  const top = Math.max(spread.most, asked ?? 0) * 1.05 || 1;
  const at = (value) => 4 + ((WIDTH - 8) * value) / top;
  const middle = 13;
  const words = `${name}: least ${format(spread.least)}, median ${format(spread.median)}, most ${format(spread.most)}${asked === null ? "" : `, asked for ${format(asked)}`}`;
  const line = (x1, x2, y1, y2, kind) => svg("line", { x1, x2, y1, y2, class: kind });
  const most = at(spread.most);
  const isRight = most > WIDTH * 0.6;
  return svg(
    "svg",
    { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, class: "plot", role: "img", "aria-label": words },
    svg("title", {}, words),
    line(4, WIDTH - 4, 26, 26, "axis"),
    line(at(spread.least), most, middle, middle, "whisker"),
    line(at(spread.least), at(spread.least), middle - 5, middle + 5, "whisker"),
    line(most, most, middle - 5, middle + 5, "whisker"),
    svg("rect", { x: at(spread.quarter), y: middle - 8, width: Math.max(2, at(spread.three_quarters) - at(spread.quarter)), height: 16, rx: 2, class: "box" }),
    line(at(spread.median), at(spread.median), middle - 8, middle + 8, "median"),
    asked === null ? null : line(at(asked), at(asked), 2, 26, "asked"),
    svg("text", { x: isRight ? most : at(spread.least), y: 40, "text-anchor": isRight ? "end" : "start" }, `${format(spread.median)}, most ${format(spread.most)}`),
  );
}
