// Licensed under the Apache License, Version 2.0; see the LICENSE file.
// @ts-check
/** Drawing of the timeline: only what is seen, and as counts per pixel where jobs are many. */

import { colour } from "../common/theme.js";
import { duration } from "../common/format.js";

const PHASES = ["staging", "waiting", "running", "collecting"];
const BOUNDS = { staging: ["staging", "submitted"], waiting: ["submitted", "began"], running: ["began", "ended"], collecting: ["ended", "collected"] };
const STEPS_S = [0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 28800, 43200, 86400, 172800, 604800];
const MOST_LINES = 12;

/**
 * @typedef {{pen: CanvasRenderingContext2D, width: number, view: {from: number, to: number}, paint: any}} Space
 */

export function colours() {
  const names = [...PHASES, "failed", "reused", "grid", "quiet", "line", "card"];
  return Object.fromEntries(names.map((name) => [name, colour(name)]));
}

/** @param {Space} space @param {number} time */
function xOf({ width, view }, time) {
  return ((time - view.from) / (view.to - view.from)) * width;
}

/** @param {Space} space @param {number} height @param {number} top */
export function drawAxis(space, height, top) {
  const { pen, width, view, paint } = space;
  const rough = ((view.to - view.from) * 90) / width;
  const step = STEPS_S.find((seconds) => seconds >= rough) ?? STEPS_S[STEPS_S.length - 1];
  pen.fillStyle = paint.card;
  pen.fillRect(0, 0, width, top);
  pen.font = "12px system-ui, sans-serif";
  for (let time = Math.max(0, Math.ceil(view.from / step) * step); time <= view.to; time += step) {
    const x = xOf(space, time);
    pen.fillStyle = paint.grid;
    pen.fillRect(x, top, 1, height);
    pen.fillStyle = paint.quiet;
    const words = duration(time).replace(/ 00 (s|min|h)$/, "");
    if (x + 3 + pen.measureText(words).width < width) pen.fillText(words, x + 3, top - 8);
  }
  pen.fillStyle = paint.line;
  pen.fillRect(0, top - 1, width, 1);
}

/**
 * A light bar: a task, or a batch that has not ended.
 * @param {Space} space @param {number} from @param {number} to @param {number} y @param {number} height
 * @param {string} [phase]
 */
export function drawSpan(space, from, to, y, height, phase) {
  const { pen, paint } = space;
  const x = Math.max(-1, xOf(space, from));
  const end = Math.min(space.width + 1, xOf(space, to));
  if (end < 0 || x > space.width) return;
  pen.globalAlpha = phase ? 0.35 : 1;
  pen.fillStyle = phase ? paint[phase] : paint.grid;
  const thin = phase ? 5 : 3;
  pen.fillRect(x, y + height - thin - 2, Math.max(1.5, end - x), thin);
  pen.globalAlpha = 1;
}

/** The numbers of which jobs are seen, in their order. @param {any} columns @param {{from: number, to: number}} view */
function seen(columns, view) {
  const found = [];
  for (let job = 0; job < columns.key.length; job += 1) {
    const first = columns.staging[job] ?? columns.submitted[job] ?? columns.began[job] ?? columns.collected[job];
    const last = columns.collected[job] ?? columns.ended[job] ?? columns.began[job] ?? columns.submitted[job];
    if (first !== null && last !== null && first <= view.to && last >= view.from) found.push(job);
  }
  return found;
}

/** How high a job is, and how many share a line. @param {number} jobs @param {number} height */
function lines(jobs, height) {
  const most = Math.max(1, Math.floor(height));
  const stride = Math.ceil(jobs / most);
  return { stride, each: Math.min(MOST_LINES, height / Math.max(1, Math.ceil(jobs / stride))) };
}

/** @param {any} columns @param {{from: number, to: number}} view @param {number} y below the row's top @param {number} height */
export function jobAt(columns, view, y, height) {
  const jobs = seen(columns, view);
  const { stride, each } = lines(jobs.length, height);
  return jobs[Math.floor(y / each) * stride];
}

/**
 * A line for each job; of those that share one, the first, or one that failed.
 * @param {Space} space @param {any} columns @param {number} y @param {number} height
 */
export function drawJobs(space, columns, y, height) {
  const jobs = seen(columns, space.view);
  const { stride, each } = lines(jobs.length, height);
  for (let line = 0; line * stride < jobs.length; line += 1) {
    const group = jobs.slice(line * stride, (line + 1) * stride);
    const job = group.find((one) => columns.outcome[one] === "failed") ?? group[0];
    drawJob(space, columns, job, y + line * each, Math.max(0.8, each - (each > 3 ? 1 : 0)));
  }
}

/** @param {Space} space @param {any} columns @param {number} job @param {number} y @param {number} height */
function drawJob(space, columns, job, y, height) {
  const { pen, paint, width } = space;
  const outcome = columns.outcome[job];
  for (const phase of PHASES) {
    const [from, to] = BOUNDS[phase].map((name) => columns[name][job]);
    if (from === null || to === null || to < from) continue;
    const x = Math.max(-2, xOf(space, from));
    const end = Math.min(width + 2, xOf(space, to));
    if (end < 0 || x > width) continue;
    pen.fillStyle = phase === "running" && outcome === "failed" ? paint.failed : paint[phase];
    pen.fillRect(x, y, Math.max(1, end - x), height);
  }
  if (outcome === "reused" && columns.collected[job] !== null) {
    pen.fillStyle = paint.reused;
    pen.fillRect(xOf(space, columns.collected[job]) - 2, y, 4, height);
  }
}

/**
 * How many jobs were in each phase, stacked, for each two pixels.
 * @param {Space} space @param {any} columns @param {any} bins @param {number} total seconds that the bins cover
 * @param {number} y @param {number} height
 */
export function drawCounts(space, columns, bins, total, y, height) {
  const cells = Math.ceil(space.width / 2);
  const counts = columns ? countsOf(columns, space.view, cells) : resampled(bins, total, space.view, cells);
  const { pen, paint } = space;
  let most = 1;
  for (let cell = 0; cell < cells; cell += 1) {
    most = Math.max(most, counts.staging[cell] + counts.waiting[cell] + counts.running[cell] + counts.collecting[cell]);
  }
  for (let cell = 0; cell < cells; cell += 1) {
    let bottom = y + height;
    for (const phase of ["running", "collecting", "staging", "waiting"]) {
      const part = (counts[phase][cell] / most) * height;
      if (part <= 0) continue;
      pen.fillStyle = paint[phase];
      pen.fillRect(cell * 2, bottom - part, 2, part);
      bottom -= part;
    }
    if (counts.failed[cell]) {
      pen.fillStyle = paint.failed;
      pen.fillRect(cell * 2 - 1, y, 4, height);
    }
    if (counts.reused[cell]) {
      pen.fillStyle = paint.reused;
      pen.fillRect(cell * 2 - 1, y + height / 2, 3, height / 2);
    }
  }
}

/** @param {number} cells @returns {Record<string, Float32Array>} */
function empty(cells) {
  return Object.fromEntries([...PHASES, "failed", "reused"].map((name) => [name, new Float32Array(cells + 1)]));
}

/** @param {any} columns @param {{from: number, to: number}} view @param {number} cells */
function countsOf(columns, view, cells) {
  const counts = empty(cells);
  const scale = cells / (view.to - view.from);
  const cell = (time) => Math.min(cells, Math.max(0, Math.floor((time - view.from) * scale)));
  for (const phase of PHASES) {
    const [from, to] = BOUNDS[phase].map((name) => columns[name]);
    const own = counts[phase];
    const least = phase === "running" ? 1 : 0; // a job that was short is seen
    for (let job = 0; job < from.length; job += 1) {
      if (from[job] === null || to[job] === null || to[job] <= from[job]) continue;
      if (to[job] < view.from || from[job] > view.to) continue;
      own[cell(from[job])] += 1;
      own[Math.min(cells, Math.max(cell(to[job]), cell(from[job]) + least))] -= 1;
    }
    for (let at = 1; at <= cells; at += 1) own[at] += own[at - 1];
  }
  for (let job = 0; job < columns.key.length; job += 1) {
    const end = columns.ended[job] ?? columns.collected[job];
    const outcome = columns.outcome[job];
    if (end !== null && outcome !== "succeeded" && end >= view.from && end <= view.to) counts[outcome][cell(end)] += 1;
  }
  return counts;
}

/** @param {any} bins @param {number} total @param {{from: number, to: number}} view @param {number} cells */
function resampled(bins, total, view, cells) {
  const counts = empty(cells);
  const number = bins.running.length;
  for (let cell = 0; cell < cells; cell += 1) {
    const time = view.from + ((cell + 0.5) / cells) * (view.to - view.from);
    const bin = Math.floor((time / total) * number);
    if (bin < 0 || bin >= number) continue;
    for (const name of [...PHASES, "failed"]) counts[name][cell] = bins[name][bin];
  }
  return counts;
}
