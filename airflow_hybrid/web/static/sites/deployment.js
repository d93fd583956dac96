// Licensed under the Apache License, Version 2.0; see the LICENSE file.
// @ts-check
/** A deployment as a card: how it is, what is there now, and its check. */

import { el, svg } from "../common/dom.js";
import { count, counted, duration, jobName, moment } from "../common/format.js";
import { airflowLink } from "../common/links.js";
import { Checking } from "./checking.js";

const LEVELS = { bad: "state unknown", warn: "look at it", good: "good", idle: "nothing lately" };
const LOOKS = { bad: "bad", warn: "wait", good: "good", idle: "quiet" };
const MARKS = { ok: "✓", warn: "!", FAIL: "✗", skip: "–" };
const WORDS = { ok: "ok", warn: "warning", FAIL: "failed", skip: "not tried" };
const RESULT_LOOKS = { ok: "good", warn: "wait", FAIL: "bad", skip: "quiet" };

/**
 * @param {any} deployment
 * @param {number} now in seconds since the epoch, by the server's clock
 * @param {Checking} checking
 */
export function deploymentCard(deployment, now, checking) {
  return el(
    "article",
    { class: `card level-${deployment.health.level}`, "aria-label": deployment.name },
    head(deployment, checking),
    el("p", { class: "health" }, deployment.health.text),
    facts(deployment, now),
    seenByCheck(checking.resultOf(deployment), now),
    deployment.batches.length ? batches(deployment, now) : null,
    checkPart(deployment, now, checking),
  );
}

/** @param {any} deployment @param {Checking} checking */
function head(deployment, checking) {
  const level = /** @type {keyof typeof LEVELS} */ (deployment.health.level);
  const key = Checking.keyOf(deployment);
  const isRunning = checking.running.has(key);
  const label = `check ${deployment.name}`;
  return el(
    "div",
    { class: "title" },
    el(
      "h2",
      {},
      deployment.name,
      el("span", { class: "tag" }, deployment.type),
      deployment.is_of_users ? el("span", { class: "tag" }, "each user's own account") : null,
      deployment.is_for_runs ? el("span", { class: "tag" }, "made for each run") : null,
      " ",
      el("span", { class: `chip ${LOOKS[level]}` }, LEVELS[level]),
    ),
    deployment.check_dag === null
      ? null
      : el(
          "button",
          {
            type: "button",
            "aria-disabled": isRunning ? "true" : null,
            "aria-label": label,
            data: { focus: key },
            onclick: () => checking.start(deployment),
          },
          isRunning ? "checking ..." : "check",
        ),
  );
}

/** @param {any} deployment @param {number} now */
function facts(deployment, now) {
  const jobs = [count(deployment.jobs), deployment.failed ? el("span", { class: "bad" }, `, ${count(deployment.failed)} failed`) : null];
  return el(
    "dl",
    { class: "facts" },
    fact("where", place(deployment)),
    deployment.workdir ? fact("work directory", el("code", {}, deployment.workdir)) : null,
    fact("DAGs", deployment.dag_ids.join(", ")),
    fact("last contact", deployment.contact === null ? "not in the last 24 h" : ago(deployment.contact, now)),
    fact("jobs in 24 h", ...jobs),
    deployment.waited_s === null ? null : fact("wait in the queue", `${duration(deployment.waited_s)} (median)`),
    deployment.last !== null && !deployment.last.success ? fact("last job", lastJob(deployment.last)) : null,
  );
}

/**
 * The figures that the last check has seen, of each location.
 * @param {import("./checking.js").Result | null} result
 * @param {number} now
 */
function seenByCheck(result, now) {
  const told = result === null ? [] : result.findings.filter((finding) => Object.keys(finding.figures ?? {}).length);
  if (result === null || !told.length) return null;
  const locations = new Set(told.map((finding) => finding.location));
  const rows = told.flatMap((finding) =>
    Object.entries(finding.figures).flatMap(([name, value]) =>
      fact(name, String(value), locations.size > 1 ? el("span", { class: "quiet" }, ` at ${finding.location}`) : null),
    ),
  );
  return el(
    "section",
    { class: "seen-by-check", "aria-label": "seen by the last check" },
    el("p", { class: "quiet" }, "Seen by the check ", ago(result.at, Math.max(now, result.at)), ":"),
    el("dl", { class: "facts" }, rows),
  );
}

/** @param {any} deployment */
function place(deployment) {
  const through = deployment.wraps ? `through ${deployment.wraps}` : "";
  return [deployment.where, through].filter(Boolean).join(", ") || "not said in the hybrid file";
}

/** @param {any} last */
function lastJob(last) {
  const why = last.reason || (last.exit_code === null ? last.state : `exit code ${last.exit_code}`);
  return `${jobName(last.step, last.index)} failed: ${why}`;
}

/** @param {string} name @param {...any} value */
function fact(name, ...value) {
  return [el("dt", {}, name), el("dd", {}, ...value)];
}

/** @param {number} time @param {number} now */
function ago(time, now) {
  const seconds = Math.max(0, now - time);
  return el("span", { title: moment(time) }, seconds < 1 ? "just now" : `${duration(seconds)} ago`);
}

/** @param {any} deployment @param {number} now */
function batches(deployment, now) {
  return [
    el("h3", {}, "Batches there now"),
    el("ul", { class: "batches" }, deployment.batches.map((/** @type {any} */ batch) => batchItem(batch, now))),
    deployment.more_batches ? el("p", { class: "quiet" }, `and ${count(deployment.more_batches)} more`) : null,
  ];
}

/** @param {any} batch @param {number} now */
function batchItem(batch, now) {
  const run = `../dags/${encodeURIComponent(batch.dag_id)}/runs/${encodeURIComponent(batch.run_id)}`;
  return el(
    "li",
    {},
    el("div", {}, el("b", {}, batch.step), " of ", airflowLink(run, `${batch.dag_id}, ${batch.run_id}`)),
    meter(batch),
    el(
      "div",
      {},
      `${count(batch.ended)} of ${counted(batch.total, "job")} ended`,
      batch.failed ? el("span", { class: "bad" }, ` (${count(batch.failed)} failed)`) : null,
      `, ${count(batch.running)} running, ${count(batch.pending)} waiting`,
      batch.since ? el("span", { class: "quiet" }, `, there for ${duration(now - batch.since)}`) : null,
    ),
    batch.unknown ? el("div", { class: "bad" }, `state unknown: ${batch.unknown}`) : null,
    batch.reasons.length ? el("div", { class: "quiet" }, `waits: ${batch.reasons.slice(0, 5).join("; ")}`) : null,
  );
}

/** The parts of a batch as a bar; the text below says the same. @param {any} batch */
function meter(batch) {
  const parts = [
    ["ended", batch.ended - batch.failed],
    ["failed", batch.failed],
    ["running", batch.running],
  ];
  let start = 0;
  const bars = parts.map(([name, jobs]) => {
    const width = batch.total > 0 ? (100 * Math.max(0, Number(jobs))) / batch.total : 0;
    start += width;
    return svg("rect", { class: String(name), x: start - width, y: 0, width, height: 6 });
  });
  return svg("svg", { class: "meter", viewBox: "0 0 100 6", preserveAspectRatio: "none", "aria-hidden": "true" }, bars);
}

/** @param {any} deployment @param {number} now @param {Checking} checking */
function checkPart(deployment, now, checking) {
  const key = Checking.keyOf(deployment);
  const problem = checking.problems.get(key);
  const result = checking.resultOf(deployment);
  const parts = [];
  if (problem) parts.push(el("p", { class: "note", role: "status" }, problem));
  if (result !== null) parts.push(resultList(key, result, now, checking));
  return parts;
}

/** @param {string} key @param {import("./checking.js").Result} result @param {number} now @param {Checking} checking */
function resultList(key, result, now, checking) {
  const failed = result.findings.filter((finding) => finding.result === "FAIL").length;
  const words = result.ok ? "all is well" : `${counted(failed, "test")} failed`;
  const isOpen = checking.opened.get(key) ?? !result.ok;
  return el(
    "details",
    {
      class: "check",
      open: isOpen,
      ontoggle: (/** @type {any} */ event) => checking.opened.set(key, event.target.open),
    },
    el(
      "summary",
      { data: { focus: `${key} result` } },
      el("span", { class: result.ok ? "good" : "bad" }, `check: ${words}`),
      el("span", { class: "quiet" }, " ", ago(result.at, Math.max(now, result.at)), `, in ${duration(result.seconds)}`),
    ),
    el("ul", { class: "findings" }, result.findings.map(finding)),
  );
}

/** @param {any} found */
function finding(found) {
  const result = /** @type {keyof typeof MARKS} */ (found.result);
  return el(
    "li",
    {},
    el("span", { class: `mark ${RESULT_LOOKS[result]}`, "aria-hidden": "true" }, MARKS[result]),
    el(
      "div",
      {},
      el("b", {}, found.what),
      " ",
      el("span", { class: result === "ok" ? "seen" : RESULT_LOOKS[result] }, `${WORDS[result]}`),
      found.location ? el("span", { class: "quiet" }, ` at ${found.location}`) : null,
      el("div", { class: "detail" }, found.detail),
      found.hint && result !== "ok" ? el("div", { class: "hint" }, found.hint) : null,
    ),
  );
}
