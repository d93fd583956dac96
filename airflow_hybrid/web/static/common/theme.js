// Licensed under the Apache License, Version 2.0; see the LICENSE file.
// @ts-check
/** Light or dark: as Airflow around this page is, else as the reader's system. */

const query = window.matchMedia("(prefers-color-scheme: dark)");

/** @returns {Element | null} the root of Airflow's own page, if this one is inside of it */
function airflow() {
  try {
    return window.parent === window ? null : window.parent.document.documentElement;
  } catch {
    return null; // another site's frame
  }
}

/** Follow the theme. @param {() => void} [changed] called after each change */
export function followTheme(changed = () => {}) {
  const root = airflow();
  const apply = () => {
    const isTold = root !== null && (root.classList.contains("dark") || root.classList.contains("light"));
    const isDark = isTold ? root.classList.contains("dark") : query.matches;
    document.documentElement.dataset.theme = isDark ? "dark" : "light";
    changed();
  };
  if (root) new MutationObserver(apply).observe(root, { attributes: true, attributeFilter: ["class"] });
  query.addEventListener("change", apply);
  apply();
}

/** The value of a colour of the style sheet. @param {string} name */
export function colour(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
}
