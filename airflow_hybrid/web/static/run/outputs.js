// Licensed under the Apache License, Version 2.0; see the LICENSE file.
// @ts-check
/** The outputs of the run, with downloads and a look into them. */

import { get } from "../common/api.js";
import { el, fill, scrolled } from "../common/dom.js";
import { count, size } from "../common/format.js";

const MOST_RESULTS = 4;
const LONGEST_RESULT = 200;

export class OutputsList {
  /** @param {HTMLElement} section */
  constructor(section) {
    this.section = section;
    this.opened = "";
    /** @type {any} */
    this.listed = null;
    this.isAskedFor = location.hash === `#${section.id}`;
  }

  /** @param {any} overview */
  async update(overview) {
    if (overview.run.state !== "success" && overview.run.state !== "failed") {
      this.listed = null; // those of an earlier end, when the run was cleared
      this.section.hidden = true;
      return;
    }
    this.listed = (await get("outputs/list")).value;
    this.show();
    // the link of task `outputs` leads here, where nothing was when the browser looked for it
    if (this.isAskedFor) this.section.scrollIntoView();
    this.isAskedFor = false;
  }

  /** Names and values of outputs that are a word or a figure. @returns {[string, string][]} */
  results() {
    const values = (this.listed?.outputs ?? []).filter(({ count, value }) => count === 0 && value.length <= LONGEST_RESULT && /^[^[{]/.test(value) && value !== "null");
    return values.slice(0, MOST_RESULTS).map(({ name, value }) => [name, value]);
  }

  show() {
    const { outputs, outdir, problem } = this.listed;
    this.section.hidden = false;
    const canOpen = !problem;
    const files = outputs.some((output) => output.count > 0);
    const all = canOpen && files ? el("a", { href: "outputs/archive" }, "all as one tar file") : null;
    const rows = outputs.flatMap((output) => this.rows(output, canOpen));
    const titles = [["output"], ["file or value"], ["size", "number"], ["checksum"], [""]];
    const head = el("tr", {}, titles.map(([title, kind]) => (title ? el("th", { scope: "col", class: kind }, title) : el("td", {}))));
    fill(
      this.section,
      el("h2", { id: "outputs-title" }, "Outputs"),
      problem ? el("p", { class: "note" }, problem) : null,
      outdir ? el("p", {}, el("code", {}, outdir), " ", all) : null,
      outputs.length ? scrolled("Outputs", el("table", {}, el("thead", {}, head), el("tbody", {}, rows))) : null,
    );
  }

  /** @param {any} output @param {boolean} canOpen */
  rows(output, canOpen) {
    if (output.count === 0) {
      return [el("tr", {}, el("td", {}, output.name), el("td", { colspan: 4 }, output.value))];
    }
    const rows = output.files.flatMap((file) => {
      const own = this.row(output.name, file, canOpen);
      if (file.key !== this.opened) return [own];
      const box = el("div", { class: "preview" }, el("p", { class: "quiet" }, "loading ..."));
      showPreview(box, file);
      return [own, el("tr", { class: "opened" }, el("td", { colspan: 5 }, box))];
    });
    const more = output.count - output.files.length;
    if (more > 0) rows.push(el("tr", {}, el("td", { colspan: 5, class: "quiet" }, `and ${count(more)} more, which the tar file has`)));
    return rows;
  }

  /** @param {string} name @param {any} file @param {boolean} canOpen */
  row(name, file, canOpen) {
    const isOpen = file.key === this.opened;
    const toggle = () => {
      this.opened = isOpen ? "" : file.key;
      this.show();
    };
    const path = file.is_folder ? `${file.path}/` : file.path;
    const link = canOpen ? el("a", { href: `outputs/${file.key}`, title: "download", download: true }, path) : path;
    const look = el("button", { "aria-expanded": String(isOpen), "aria-label": `look at ${path}`, data: { focus: file.key }, onclick: toggle }, isOpen ? "close" : "look");
    return el(
      "tr",
      {},
      el("td", {}, name),
      el("td", {}, link),
      el("td", { class: "number" }, size(file.size)),
      el("td", {}, el("code", { class: "sum", title: file.checksum }, file.checksum ? `${file.checksum.slice(0, 14)}…` : "")),
      el("td", {}, canOpen && !file.is_folder ? look : null),
    );
  }
}

/** @param {HTMLElement} box @param {any} file */
async function showPreview(box, file) {
  try {
    const { value } = await get(`outputs/${file.key}/preview`);
    const cut = value.is_cut ? el("p", { class: "quiet" }, `only the beginning of ${size(value.size)} is shown`) : null;
    fill(box, content(value, file), cut);
  } catch (error) {
    fill(box, el("p", { class: "note" }, error instanceof Error ? error.message : String(error)));
  }
}

/** @param {any} value @param {any} file */
function content(value, file) {
  if (value.kind === "picture") return el("img", { src: `outputs/${file.key}/picture`, alt: `the picture ${file.path}` });
  if (value.kind === "table") return table(value);
  if (value.kind === "markdown") return el("div", { class: "markdown" }, value.elements.map(element));
  if (value.kind === "text") return el("pre", { tabindex: "0", "aria-label": `text of ${file.path}`, role: "region" }, value.text);
  return el("p", { class: "quiet" }, `${value.why}; download it to look at it`);
}

/** @param {any} value */
function table(value) {
  const head = el("tr", {}, value.header.map((cell) => el("th", { scope: "col" }, cell)));
  const rows = value.rows.map((row) => el("tr", {}, row.map((cell) => el("td", {}, cell))));
  return scrolled("Table", el("table", {}, el("thead", {}, head), el("tbody", {}, rows)));
}

const TAGS = new Set("h1 h2 h3 h4 h5 h6 p ul ol li strong em s code pre blockquote hr br table thead tbody tr th td span a".split(" "));

/** An element of Markdown; headings go below those of the page. @param {any} item @returns {any} */
function element(item) {
  if (typeof item === "string") return item;
  if (!TAGS.has(item.tag)) return null;
  const heading = /^h([1-6])$/.exec(item.tag);
  const tag = heading ? `h${Math.min(6, Number(heading[1]) + 2)}` : item.tag;
  const link = item.tag === "a" ? { href: item.href, rel: "noopener noreferrer nofollow", target: "_blank" } : {};
  return el(tag, link, (item.children ?? []).map(element));
}
