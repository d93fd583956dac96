// Licensed under the Apache License, Version 2.0; see the LICENSE file.
// @ts-check
/** The page Sites: asks every ten seconds, while it is seen, how the deployments are, and checks one at a click. */

import { get, post } from "../common/api.js";
import { byId, el, fill } from "../common/dom.js";
import { count, counted, moment } from "../common/format.js";
import { followTheme } from "../common/theme.js";
import { Checking } from "./checking.js";
import { deploymentCard } from "./deployment.js";

const EVERY_MS = 10_000;
/** @type {number | undefined} */
let timer;
/** @type {any} */
let shown = null;
let isAsking = false;

const checking = new Checking((route) => post(route), draw);

function draw() {
  if (shown === null) return;
  const deployments = shown.sites.flatMap((/** @type {any} */ site) => site.deployments);
  showHead(deployments);
  fill(byId("sites"), shown.sites.length ? shown.sites.flatMap(siteSection) : nothing());
  const foot = byId("foot");
  foot.hidden = !deployments.length;
  fill(foot, deployments.length ? footNotes() : null);
}

/** @param {any[]} deployments */
function showHead(deployments) {
  const batches = deployments.flatMap((deployment) => deployment.batches);
  const sum = (/** @type {string} */ name) => batches.reduce((total, batch) => total + batch[name], 0);
  const of = (/** @type {string} */ level) => deployments.filter((d) => d.health.level === level).length;
  const troubled = of("bad") + of("warn");
  fill(
    byId("head"),
    el("h1", {}, "Sites"),
    el("dl", { class: "figures" }, [
      figure("Sites", count(shown.sites.length)),
      figure("Deployments", count(deployments.length)),
      figure("To look at", count(troubled), troubled ? "bad" : ""),
      figure("Jobs running", count(sum("running"))),
      figure("Jobs waiting", count(sum("pending"))),
    ]),
    shown.notes.map((/** @type {string} */ note) => el("p", { class: "note" }, note)),
  );
}

/** @param {string} name @param {string} value @param {string} [look] */
function figure(name, value, look) {
  return el("div", {}, el("dt", {}, name), el("dd", { class: look }, value));
}

/** A site: its deployments; those of several are in one frame. @param {any} site */
function siteSection(site) {
  const cards = site.deployments.map((/** @type {any} */ d) => deploymentCard(d, shown.at, checking));
  if (cards.length === 1) return cards;
  const label = `site ${site.name}`;
  const title = `Deployments with the files of ${site.name}`;
  return el("section", { class: "site", "aria-label": label }, el("p", { class: "quiet" }, title), el("div", { class: "cards" }, cards));
}

function nothing() {
  return el(
    "section",
    {},
    el("p", {}, "There are no sites to show: none of the DAGs that you may see is made of a CWL document."),
  );
}

function footNotes() {
  return [
    el(
      "p",
      {},
      `From ${counted(shown.runs, "run")} of the last 24 hours or not over, as they have told by ${moment(shown.at)}. `,
      "The page asks Airflow's database. Only a check asks a site, from the machine of Airflow's API server.",
    ),
    el(
      "p",
      {},
      "A check counts the whole queue of a site, and the SSH connections that are open there as its user. Those of each triggerer and worker are the metrics ",
      el("code", {}, "hybrid.ssh.connections"),
      " and ",
      el("code", {}, "hybrid.ssh.sessions"),
      ", by deployment and host, which Airflow sends to its StatsD, Datadog or OpenTelemetry server.",
    ),
  ];
}

async function update() {
  if (isAsking) return;
  isAsking = true;
  try {
    shown = (await get("sites/list")).value;
    draw();
    showProblem(null);
  } catch (error) {
    showProblem(error);
  } finally {
    isAsking = false;
  }
}

/** @param {unknown} error */
function showProblem(error) {
  const box = byId("problem");
  box.hidden = error === null;
  box.className = "note";
  fill(box, error === null ? null : error instanceof Error ? error.message : String(error));
}

/** Ask now and from then on, or, while nobody looks, not at all. */
function follow() {
  clearInterval(timer);
  if (document.hidden) return;
  timer = setInterval(update, EVERY_MS);
  void update();
}

followTheme();
document.addEventListener("visibilitychange", follow);
follow();
