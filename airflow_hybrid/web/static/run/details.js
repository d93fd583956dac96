// Licensed under the Apache License, Version 2.0; see the LICENSE file.
// @ts-check
/** All that is known of a job. */

import { el } from "../common/dom.js";
import { duration, figure, memory, moment, size } from "../common/format.js";
import { airflowLink } from "../common/links.js";

/** @param {any} job @param {any} run */
export function jobDetails(job, run) {
  const place = job.service ? `${job.deployment}/${job.service}` : job.deployment;
  const task = job.map_index < 0 ? job.task_id : `${job.task_id}[${job.map_index}]`;
  const cores = job.cpu_s !== null && job.seconds ? job.cpu_s / job.seconds : null;
  /** @type {[string, any][]} */
  const facts = [
    ["reason", job.reason_and_rule && el("span", { class: "bad" }, job.reason_and_rule)],
    ["place", place === job.location ? place : `${place}, location ${job.location}`],
    ["node", job.node],
    ["scheduler's id", job.scheduler_id && el("code", {}, job.scheduler_id)],
    ["exit code", job.exit_code === null ? "" : String(job.exit_code)],
    ["attempt", job.attempt_name + (job.is_last ? "" : ", a later one is known")],
    ["staging began", moment(job.staging_began)],
    ["submitted", moment(job.submitted)],
    ["began", moment(job.began) + (job.waited_s === null ? "" : `, after ${duration(job.waited_s)} in the queue`)],
    ["ended", moment(job.ended) + (job.seconds === null ? "" : `, after ${duration(job.seconds)}`)],
    ["outputs known", moment(job.collected)],
    ["cores", used(cores, job.cores, figure)],
    ["memory", used(job.memory_used_mib, job.memory_mib, memory)],
    ["processor time", duration(job.cpu_s)],
    ["input and output", [size(job.bytes_in), size(job.bytes_out)].filter(Boolean).join(" and ")],
    ["directory", job.directory && el("code", {}, job.directory)],
    ["Airflow's task", airflowLink(taskLink(run, job), task)],
  ];
  const shown = facts.filter(([, value]) => value);
  return el("dl", { class: "facts" }, shown.map(([name, value]) => [el("dt", {}, name), el("dd", {}, value)]).flat());
}

/** @param {number | null} most @param {number | null} asked @param {(value: number) => string} format */
function used(most, asked, format) {
  const parts = [most === null ? "" : `${format(most)} used`, asked === null ? "" : `${format(asked)} asked for`];
  return parts.filter(Boolean).join(", ");
}

/** Airflow's own page of a task instance. @param {any} run @param {any} job */
function taskLink(run, job) {
  const root = location.pathname.slice(0, location.pathname.indexOf("/airflow_hybrid/"));
  const path = [root, "dags", encodeURIComponent(run.dag_id), "runs", encodeURIComponent(run.run_id), "tasks", encodeURIComponent(job.task_id)];
  if (job.map_index >= 0) path.push("mapped", String(job.map_index));
  return path.join("/");
}
