// Licensed under the Apache License, Version 2.0; see the LICENSE file.
// @ts-check
/** Figures for people; sizes and core-hours as `amounts.py` says them in commands and reports. */

const SIZES = ["B", "kB", "MB", "GB", "TB", "PB"];

/** `12.3 MB`. @param {number | null | undefined} bytes */
export function size(bytes) {
  if (bytes === null || bytes === undefined) return "";
  let value = bytes;
  let unit = 0;
  while (value >= (unit === 0 ? 999.5 : 999.95) && unit < SIZES.length - 1) {
    value /= 1000;
    unit += 1;
  }
  return `${value.toFixed(unit === 0 ? 0 : 1)} ${SIZES[unit]}`;
}

/** `0.4 s`, `3 min 05 s`, `2 h 03 min`, `3 d 04 h`. @param {number | null | undefined} seconds */
export function duration(seconds) {
  if (seconds === null || seconds === undefined) return "";
  const value = Math.max(0, seconds);
  if (value < 9.95) return `${Number(value.toFixed(value < 1 ? 2 : 1))} s`;
  const whole = Math.round(value);
  if (whole < 60) return `${whole} s`;
  if (whole < 3600) return `${Math.floor(whole / 60)} min ${two(whole % 60)} s`;
  if (whole < 86400) return `${Math.floor(whole / 3600)} h ${two(Math.floor((whole % 3600) / 60))} min`;
  return `${Math.floor(whole / 86400)} d ${two(Math.floor((whole % 86400) / 3600))} h`;
}

/** @param {number} value */
function two(value) {
  return String(value).padStart(2, "0");
}

/** Date and time, in the reader's zone. @param {number | null | undefined} seconds since the epoch */
export function moment(seconds) {
  if (!seconds) return "";
  return new Date(seconds * 1000).toLocaleString(undefined, { dateStyle: "medium", timeStyle: "medium" });
}

/** `1,234`. @param {number | null | undefined} value */
export function count(value) {
  return value === null || value === undefined ? "" : value.toLocaleString("en");
}

/** `1 job`, `12 jobs`. @param {number} value @param {string} noun @param {(value: number) => string} [format] */
export function counted(value, noun, format = count) {
  const number = format(value);
  return `${number} ${noun}${number === "1" ? "" : "s"}`;
}

/** Not more digits than one reads. @param {number | null | undefined} value */
export function figure(value) {
  if (value === null || value === undefined) return "";
  if (value === 0 || Math.abs(value) >= 100) return count(Math.round(value));
  return String(Number(value.toPrecision(value < 1 ? 2 : 3)));
}

/** `8.5`, `1,235`; for less than one sees, `< 0.01`. @param {number} hours */
export function coreHours(hours) {
  return hours > 0 && hours < 0.01 ? "< 0.01" : figure(hours);
}

/** `512 MiB`, `4 GiB`. @param {number | null | undefined} mebibytes */
export function memory(mebibytes) {
  if (mebibytes === null || mebibytes === undefined) return "";
  return Math.round(mebibytes) < 1024 ? `${figure(mebibytes)} MiB` : `${figure(mebibytes / 1024)} GiB`;
}

/** `/align[3]`, `/count: iteration 2`, `/each/size[1][0]`, as commands and reports name jobs. @param {string} step @param {string} index */
export function jobName(step, index) {
  return step + index.replaceAll("] [", "][");
}

const STATES = { upstream_failed: "not run", up_for_retry: "between two tries", up_for_reschedule: "waiting", deferred: "running" };

/** A state of a task, a step or a run, as commands and reports name it. @param {string} state */
export function stateInWords(state) {
  return STATES[state] ?? state.replaceAll("_", " ");
}

/** The last part of a path. @param {string} path */
export function leaf(path) {
  return path.slice(path.lastIndexOf("/") + 1) || path;
}
