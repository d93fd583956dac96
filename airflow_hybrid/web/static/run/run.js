// Licensed under the Apache License, Version 2.0; see the LICENSE file.
// @ts-check
/** The run page: asks for the run every few seconds while it is not over, and hands it to the sections. */

import { get, Problem } from "../common/api.js";
import { byId, el, fill } from "../common/dom.js";
import { followTheme } from "../common/theme.js";
import { Answers } from "./answers.js";
import { task } from "./first.js";
import { showHead } from "./head.js";
import { JobsTable } from "./jobs.js";
import { showMap } from "./map.js";
import { OutputsList } from "./outputs.js";
import { showSteps } from "./steps.js";
import { Timeline } from "./timeline.js";
import { showUsage } from "./usage.js";
import { WhyHere } from "./why.js";

const EVERY_MS = 4000;
/** How often a run that is over is asked for: somebody may clear it. */
const OVER_MS = 20_000;
const OVER = ["success", "failed"];
const SECTIONS = [
  ["answers", "Waits and failures"],
  ["map", "Sites"],
  ["steps", "Steps"],
  ["timeline", "Timeline"],
  ["jobs", "Jobs"],
  ["usage", "Used"],
  ["outputs", "Outputs"],
  ["why", "Why here"],
];

const jobs = new JobsTable(byId("jobs"), task);
const timeline = new Timeline(byId("timeline"), task, (key) => jobs.open(key));
const outputs = new OutputsList(byId("outputs"));
const answers = new Answers(byId("answers"));
const why = new WhyHere(byId("why"));

/** @param {any} overview @returns {any[]} the steps that the page is about */
function stepsOf(overview) {
  if (!task.task_id) return overview.steps;
  return overview.steps.filter((step) => step.task_id === task.task_id || step.plan_id === task.task_id);
}

/** @param {any} overview */
async function show(overview) {
  const steps = stepsOf(overview);
  showHead(byId("head"), overview, task, outputs.results());
  showMap(byId("map"), overview, task.task_id);
  showSteps(byId("steps"), overview, steps, (path) => jobs.showStep(path));
  showUsage(byId("usage"), steps);
  showContents();
  await Promise.all([
    timeline.update(overview, steps),
    jobs.update(overview),
    outputs.update(overview),
    answers.update(overview, steps, task.task_id !== null),
    why.update(overview, task.task_id),
  ]);
  showHead(byId("head"), overview, task, outputs.results());
  showContents();
}

function showContents() {
  const shown = SECTIONS.filter(([id]) => !byId(id).hidden);
  const nav = byId("contents");
  if (nav.dataset.shown === String(shown)) return;
  nav.dataset.shown = String(shown);
  fill(nav, shown.map(([id, title]) => el("a", { href: `#${id}`, data: { focus: id } }, title)));
}

/** @param {unknown} error */
function showProblem(error) {
  const box = byId("problem");
  box.hidden = error === null;
  if (error === null) return;
  box.className = "note";
  fill(box, error instanceof Error ? error.message : String(error));
  if (error instanceof Problem && error.status === 404 && byId("map").hidden) {
    fill(byId("head"), el("h1", {}, "Run page"), el("p", { class: "quiet" }, "There is nothing to show of this run."));
  }
}

let isOver = false;
/** @type {number | undefined} */
let timer;

async function refresh() {
  clearTimeout(timer);
  try {
    const { value, isNew } = await get("overview");
    isOver = OVER.includes(value.run.state);
    if (isNew) await show(value);
    else showHead(byId("head"), value, task, outputs.results());
    showProblem(null);
  } catch (error) {
    showProblem(error);
    if (error instanceof Problem && [401, 403, 404].includes(error.status)) return;
  }
  if (!document.hidden) timer = setTimeout(refresh, isOver ? OVER_MS : EVERY_MS);
}

followTheme(() => timeline.redraw());
document.addEventListener("visibilitychange", () => {
  if (!document.hidden) refresh();
});
refresh();
