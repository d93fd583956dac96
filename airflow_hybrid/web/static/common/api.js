// Licensed under the Apache License, Version 2.0; see the LICENSE file.
// @ts-check
/** Answers of the server. What the page has already is not sent again. */

export class Problem extends Error {
  /** @param {number} status @param {string} message */
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

/** @type {Map<string, {tag: string, value: any}>} */
const kept = new Map();
const MOST_KEPT = 40;

/**
 * The address of a route beside the page.
 * @param {string} route @param {Record<string, unknown>} [query] empty values are left out
 */
export function address(route, query = {}) {
  const wanted = Object.entries(query).filter(([, value]) => value !== null && value !== undefined && value !== "");
  const text = new URLSearchParams(wanted.map(([name, value]) => [name, String(value)])).toString();
  return text ? `${route}?${text}` : route;
}

/** @type {Map<string, Promise<{value: any, isNew: boolean}>>} questions that somebody will ask soon */
const ahead = new Map();

/**
 * Ask for JSON now that `get` will be asked for soon.
 * @param {string} route @param {Record<string, unknown>} [query]
 */
export function askAhead(route, query) {
  const url = address(route, query);
  const answer = get(route, query);
  ahead.set(url, answer);
  answer.catch(() => ahead.delete(url)); // unless somebody waits for it already, it is asked for anew
}

/**
 * Ask for JSON.
 * @param {string} route @param {Record<string, unknown>} [query]
 * @returns {Promise<{value: any, isNew: boolean}>}
 */
export async function get(route, query) {
  const url = address(route, query);
  const asked = ahead.get(url);
  if (asked && ahead.delete(url)) return asked;
  const known = kept.get(url);
  const headers = known ? { "If-None-Match": known.tag } : {};
  const answer = await reached(fetch(url, { headers: /** @type {any} */ (headers), cache: "no-store" }));
  if (answer.status === 304 && known) return { value: known.value, isNew: false };
  const value = await body(answer);
  const tag = answer.headers.get("etag");
  kept.delete(url);
  if (tag) kept.set(url, { tag, value });
  if (kept.size > MOST_KEPT) kept.delete(/** @type {string} */ (kept.keys().next().value));
  return { value, isNew: true };
}

/** Ask for something to be done. @param {string} route @returns {Promise<any>} */
export async function post(route) {
  return body(await reached(fetch(route, { method: "POST", cache: "no-store" })));
}

/** Ask for a text. @param {string} url @returns {Promise<Response>} */
export async function text(url) {
  const answer = await reached(fetch(url, { cache: "no-store" }));
  if (!answer.ok) await body(answer);
  return answer;
}

/** @param {Promise<Response>} request */
async function reached(request) {
  try {
    return await request;
  } catch {
    throw new Problem(0, "Airflow's API server does not answer; the page asks again");
  }
}

/** @param {Response} answer */
async function body(answer) {
  /** @type {any} */
  let value = null;
  try {
    value = await answer.json();
  } catch {
    // a proxy's page: the status says enough
  }
  if (answer.ok && value !== null) return value;
  throw new Problem(answer.status, told(answer.status, value));
}

/** @param {number} status @param {any} value */
function told(status, value) {
  if (status === 401) return "your login has ended; load the page again to log in";
  if (status === 403) return "you may not do or see this";
  const detail = value?.detail ?? value?.problem;
  return typeof detail === "string" ? detail : `the server's answer is an error (HTTP ${status})`;
}
