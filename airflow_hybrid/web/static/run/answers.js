// Licensed under the Apache License, Version 2.0; see the LICENSE file.
// @ts-check
/** Why steps wait or failed: sentences with remedies, from the server. */

import { get } from "../common/api.js";
import { el, fill } from "../common/dom.js";
import { count, counted } from "../common/format.js";
import { LogView } from "./logs.js";

const NOT_RUN = "not run";
/** steps that are named of those that were not run for the same reason */
const MOST_NAMES = 10;

export class Answers {
  /** @param {HTMLElement} section */
  constructor(section) {
    this.section = section;
    /** @type {Map<string, LogView>} that are open, by the names of their jobs */
    this.logs = new Map();
  }

  /** @param {any} overview @param {any[]} steps @param {boolean} ofTask */
  async update(overview, steps, ofTask) {
    if (overview.run.state === "success") {
      this.section.hidden = true;
      return;
    }
    const { value } = await get("why");
    const paths = new Set(steps.map((step) => step.path));
    const shown = value.answers.filter((answer) => !ofTask || !answer.step || paths.has(answer.step.split(": ")[0]));
    this.section.hidden = shown.length === 0;
    if (this.section.hidden) return;
    const scrolled = [...this.logs.values()].map((logs) => ({ logs, top: logs.text.scrollTop }));
    fill(
      this.section,
      el("h2", { id: "answers-title" }, "Waits and failures"),
      el("ul", { class: "answers" }, blocks(shown).map((block) => (block[0].state === NOT_RUN ? notRun(block) : this.item(block)))),
      value.more > 0 ? el("p", { class: "quiet" }, `and ${value.more} more: airflow hybrid why`) : null,
    );
    for (const { logs, top } of scrolled) logs.text.scrollTop = top;
  }

  /** All that is said about a step. @param {any[]} answers */
  item(answers) {
    const title = el("strong", {}, answers[0].title);
    if (answers.length === 1) return el("li", {}, title, this.said(answers[0]));
    return el("li", {}, title, el("ul", {}, answers.map((answer) => el("li", {}, this.said(answer)))));
  }

  /** An answer without the name of its step. @param {any} answer */
  said(answer) {
    const about = [jobs(answer), answer.place ? `at ${answer.place}` : ""].filter(Boolean).join(", ");
    return [
      ` ${answer.state}`,
      about ? el("span", { class: "quiet" }, ` (${about})`) : null,
      `: ${answer.sentence}`,
      remedy(answer),
      answer.job ? el("div", { class: "remedy" }, this.log(answer.job)) : null,
    ];
  }

  /** A button that a job's log takes the place of. @param {string} job */
  log(job) {
    const opened = this.logs.get(job);
    if (opened) return opened.element;
    const button = el("button", { data: { focus: `log of ${job}` } }, `log of ${job}`);
    button.addEventListener("click", () => {
      const logs = new LogView((stream) => [`logs/${stream}`, { job }], false);
      this.logs.set(job, logs);
      button.replaceWith(logs.element);
      void logs.open("stderr");
      logs.text.focus();
    });
    return button;
  }
}

/** Answers about the same step together; what was not run, by the reason. @param {any[]} answers @returns {any[][]} */
function blocks(answers) {
  const found = new Map();
  for (const answer of answers) {
    const key = JSON.stringify(answer.state === NOT_RUN ? [NOT_RUN, answer.sentence] : ["", answer.step]);
    found.set(key, [...(found.get(key) ?? []), answer]);
  }
  return [...found.values()];
}

/** Steps that were not run for the same reason. @param {any[]} answers */
function notRun(answers) {
  const names = answers.slice(0, MOST_NAMES).flatMap(({ title }, number) => [number ? ", " : "", el("strong", {}, title)]);
  const more = answers.length > MOST_NAMES ? ` and ${count(answers.length - MOST_NAMES)} more` : "";
  const verb = answers.length > 1 ? "were" : "was";
  return el("li", {}, names, `${more} ${verb} not run ${answers[0].sentence}`, remedy(answers[0]));
}

/** @param {any} answer */
function remedy(answer) {
  return answer.remedy ? el("div", { class: "remedy" }, "→ ", withCode(answer.remedy)) : null;
}

/** Commands and names, which stand between backticks. @param {string} text */
function withCode(text) {
  return text.split("`").map((part, number) => (number % 2 ? el("code", {}, part) : part));
}

/** @param {any} answer @returns {string} `312 of 10,000 jobs, first: [17]` */
function jobs(answer) {
  if (!answer.jobs) return "";
  const words = answer.total > answer.jobs ? `${answer.jobs} of ${counted(answer.total, "job")}` : counted(answer.jobs, "job");
  if (!answer.first) return words;
  return answer.jobs > 1 ? `${words}, first: ${answer.first}` : `${words}: ${answer.first}`;
}
