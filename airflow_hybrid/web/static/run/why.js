// Licensed under the Apache License, Version 2.0; see the LICENSE file.
// @ts-check
/** Why jobs are where they are, and what was reused or made again. */

import { el, fill, scrolled } from "../common/dom.js";
import { counted, size } from "../common/format.js";

export class WhyHere {
  /** @param {HTMLElement} section */
  constructor(section) {
    this.section = section;
  }

  /** @param {any} overview @param {string | null} taskId */
  async update(overview, taskId) {
    const isAbout = (place) => !taskId || place.task_id === taskId;
    const placements = overview.placements.filter(isAbout);
    const steps = overview.steps.filter((step) => !taskId || step.task_id === taskId);
    const reused = steps.filter((step) => step.reused > 0);
    const tasks = overview.tasks ?? [];
    const again = tasks.filter((task) => task.tries > 1 && isAbout(task));
    const replays = taskId ? [] : (overview.replays ?? []);
    this.section.hidden = placements.length + reused.length + again.length + replays.length === 0;
    if (this.section.hidden) return;
    fill(
      this.section,
      el("h2", { id: "why-title" }, "Why here"),
      placements.length ? this.placements(placements) : null,
      el(
        "ul",
        {},
        reused.map((step) => el("li", {}, el("strong", {}, step.path), `: ${counted(step.reused, "job")} did not run: an earlier job had the same tool and inputs, and its outputs were reused`)),
        again.map((task) => el("li", {}, el("strong", {}, task.label), `: tried again, try ${task.tries}`)),
        replays.map((replay) => el("li", {}, el("strong", {}, replay.task), `: ${replay.reason}`)),
      ),
    );
  }

  /** @param {any[]} placements */
  placements(placements) {
    const titles = [["task"], ["jobs"], ["place"], ["why"], ["to be moved there", "number"]];
    const head = el("tr", {}, titles.map(([title, kind]) => el("th", { scope: "col", class: kind }, title)));
    const rows = placements.map((place) =>
      el("tr", {}, el("td", {}, place.task_id), el("td", {}, place.jobs), el("td", {}, place.place), el("td", {}, place.reason), el("td", { class: "number" }, size(place.bytes))),
    );
    return scrolled("Placements", el("table", {}, el("thead", {}, head), el("tbody", {}, rows)));
  }
}
