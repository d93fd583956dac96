// Licensed under the Apache License, Version 2.0; see the LICENSE file.
// @ts-check
/** Links from a page to Airflow's own pages. */

import { el } from "./dom.js";

/**
 * A link to a page of Airflow. Airflow shows pages of plugins in a frame that may not leave its page: there, Airflow's own
 * router is told to go on, as it is by the browser's Back button.
 * @param {string} href relative to this page
 * @param {...(string | Node)} children
 */
export function airflowLink(href, ...children) {
  return el("a", { href, target: "_top", onclick: (/** @type {MouseEvent} */ event) => follow(event, href) }, ...children);
}

/** @param {MouseEvent} event @param {string} href */
function follow(event, href) {
  const outer = /** @type {any} */ (window.parent);
  if (outer === window || event.ctrlKey || event.metaKey || event.shiftKey) return;
  try {
    outer.history.pushState(null, "", new URL(href, location.href).href);
    outer.dispatchEvent(new outer.PopStateEvent("popstate", { state: null }));
    event.preventDefault();
  } catch {
    // the frame of another page: the browser follows the link if that page allows it
  }
}
