// Licensed under the Apache License, Version 2.0; see the LICENSE file.
// @ts-check
/** Sites as nodes, and what moved between them as ribbons. */

import { el, fill, scrolled, svg } from "../common/dom.js";
import { counted, duration, size } from "../common/format.js";
import { curves, pathOf, placeWords } from "./ribbons.js";

const WIDE = { width: 1000, node: 190, height: 76 };
const NARROW = { width: 360, node: 150, height: 76 };
const ROUTES = {
  direct: "direct: from site to site",
  relay: "relayed: through Airflow's machine",
  fetch: "fetched: from the web or a store",
  copy: "copied",
};

/**
 * @param {HTMLElement} section @param {any} overview @param {string | null} taskId only what this task has moved
 */
export function showMap(section, overview, taskId) {
  const transfers = taskId ? overview.transfers.filter((t) => t.task_ids.includes(taskId)) : overview.transfers;
  section.hidden = overview.sites.length === 0;
  if (section.hidden) return;
  const between = transfers.filter((transfer) => transfer.source !== transfer.target);
  const named = new Set(between.flatMap((transfer) => [transfer.source, transfer.target]));
  const sites = overview.sites.filter((site) => site.jobs || site.running || site.pending || named.has(site.name));
  fill(
    section,
    el("h2", { id: "map-title" }, "Sites and transfers"),
    drawing(sites, between, section.clientWidth < 620 ? NARROW : WIDE),
    legend(between),
    transfers.length ? table(transfers) : el("p", { class: "quiet" }, "No files were moved."),
  );
}

/** @param {any[]} sites @param {any[]} transfers @param {typeof WIDE} space */
function drawing(sites, transfers, space) {
  const places = layout(sites, transfers, space);
  const height = Math.max(...[...places.values()].map((place) => place.y)) + space.height + 24;
  const most = Math.max(1, ...transfers.map((transfer) => transfer.bytes));
  const drawn = transfers.filter((transfer) => places.has(transfer.source) && places.has(transfer.target));
  const lines = curves(drawn.map((transfer) => [places.get(transfer.source), places.get(transfer.target)]), space);
  const nodes = [...places.values()].map((place) => ({ ...place, width: space.node, height: space.height }));
  const ribbons = drawn.map((transfer, number) => ({
    transfer,
    line: lines[number],
    width: 2 + 16 * Math.sqrt(transfer.bytes / most),
    words: space === NARROW ? size(transfer.bytes) : amount(transfer),
  }));
  const spots = placeWords(ribbons, nodes, { width: space.width, height });
  const title = `${counted(sites.length, "site")}, ${counted(transfers.length, "transfer")} between them`;
  return svg(
    "svg",
    { viewBox: `0 0 ${space.width} ${height}`, class: "map", role: "img", "aria-label": title },
    arrows(),
    ribbons.map(({ transfer, line, width }) => ribbon(transfer, pathOf(line), width)),
    // words above all ribbons
    ribbons.map(({ words }, number) => svg("text", { ...spots[number], class: "words", "text-anchor": "middle" }, words)),
    sites.map((site) => node(site, places.get(site.name), space)),
  );
}

/**
 * Sites in columns: senders left of receivers.
 * @param {any[]} sites @param {any[]} transfers @param {typeof WIDE} space
 */
function layout(sites, transfers, space) {
  const isNarrow = space === NARROW;
  const sent = new Map(sites.map((site) => [site.name, 0]));
  for (const { source, target, bytes } of transfers) {
    sent.set(source, (sent.get(source) ?? 0) + bytes);
    sent.set(target, (sent.get(target) ?? 0) - bytes);
  }
  const order = [...sites].sort((a, b) => (sent.get(b.name) ?? 0) - (sent.get(a.name) ?? 0));
  const rows = isNarrow ? order.length : Math.ceil(order.length / 3);
  const columns = Math.ceil(order.length / rows);
  const places = new Map();
  order.forEach((site, number) => {
    const column = Math.floor(number / rows);
    const row = number % rows;
    const free = space.width - space.node - 40;
    const x = columns === 1 ? (space.width - space.node) / 2 : 20 + (free * column) / (columns - 1);
    // the middle one stands lower: ribbons pass it by
    const y = 34 + row * (space.height + (isNarrow ? 64 : 70)) + (columns === 3 && column === 1 ? 105 : 0);
    places.set(site.name, { x, y });
  });
  return places;
}

function arrows() {
  const head = (route) =>
    svg(
      "marker",
      { id: `arrow-${route}`, viewBox: "0 0 10 10", refX: 8, refY: 5, markerWidth: 14, markerHeight: 14, markerUnits: "userSpaceOnUse", orient: "auto" },
      svg("path", { d: "M0 0L10 5L0 10z", class: `head ${route}` }),
    );
  return svg("defs", {}, Object.keys(ROUTES).map(head));
}

/** @param {any} transfer @param {string} path @param {number} width */
function ribbon(transfer, path, width) {
  const title = `${transfer.source} to ${transfer.target}, ${transfer.route}: ${amount(transfer)}, ${counted(transfer.files, "file")}`;
  return svg(
    "g",
    { class: `ribbon ${transfer.route}` },
    svg("title", {}, title),
    svg("path", { d: path, "stroke-width": width.toFixed(1), class: "band" }),
    svg("path", { d: path, class: "line", "marker-end": `url(#arrow-${transfer.route})` }),
  );
}

/** @param {any} transfer */
function amount(transfer) {
  return [size(transfer.bytes), rate(transfer)].filter(Boolean).join(" · ");
}

/** @param {any} site @param {{x: number, y: number}} place @param {typeof WIDE} space */
function node(site, place, space) {
  const kinds = site.kinds.filter(Boolean).join(", ");
  const busy = [site.running && `${site.running} running`, site.pending && `${site.pending} waiting`].filter(Boolean);
  const work = workOf(site);
  const spent = [site.failed && `${site.failed} failed`, ...busy, site.core_s && `${duration(site.core_s)} of a core`];
  const line = (text, row, name) =>
    svg("text", { x: place.x + 14, y: place.y + 23 + 19 * row, class: name }, shortened(text, space === NARROW ? 20 : 26));
  return svg(
    "g",
    { class: `site${site.failed ? " has-failed" : ""}` },
    svg("title", {}, [site.name, ...site.deployments].join("\n")),
    svg("rect", { x: place.x, y: place.y, width: space.node, height: space.height, rx: 10 }),
    line(kinds ? `${site.name} (${kinds})` : site.name, 0, "name"),
    line(work, 1, ""),
    line(spent.filter(Boolean).join(", "), 2, "more"),
  );
}

/** @param {any} site */
function workOf(site) {
  if (!site.jobs) return site.running || site.pending ? "no job has ended" : "no jobs";
  const nodes = site.nodes > 1 ? `, ${counted(site.nodes, "node")}` : "";
  return counted(site.jobs, "job") + nodes;
}

/** @param {string} text @param {number} most */
function shortened(text, most) {
  return text.length > most ? `${text.slice(0, most - 1)}…` : text;
}

/** Bytes a second: of files that were moved at the same time, the mean. @param {any} transfer */
function rate(transfer) {
  return transfer.seconds > 0 ? `${size(transfer.bytes / transfer.seconds)}/s` : "";
}

/** @param {any[]} transfers */
function legend(transfers) {
  const used = Object.keys(ROUTES).filter((route) => transfers.some((transfer) => transfer.route === route));
  if (!used.length) return null;
  const entry = (route) =>
    el(
      "li",
      {},
      svg("svg", { viewBox: "0 0 40 10", class: "key", "aria-hidden": "true" }, svg("path", { d: "M0 5H40", class: `line ${route}` })),
      ROUTES[route],
    );
  return el("ul", { class: "legend" }, used.map(entry), el("li", { class: "quiet" }, "width: bytes"));
}

/** @param {any[]} transfers */
function table(transfers) {
  const row = (transfer) =>
    el(
      "tr",
      {},
      el("td", {}, transfer.source),
      el("td", {}, transfer.source === transfer.target ? "the same" : transfer.target),
      el("td", {}, transfer.route),
      el("td", { class: "number" }, transfer.files),
      el("td", { class: "number" }, size(transfer.bytes)),
      el("td", { class: "number" }, rate(transfer)),
      el("td", {}, transfer.task_ids.slice(0, 5).join(", ") + (transfer.task_ids.length > 5 ? ", ..." : "")),
    );
  const titles = [["from"], ["to"], ["route"], ["files", "number"], ["bytes", "number"], ["rate", "number"], ["for tasks"]];
  const head = el("tr", {}, titles.map(([title, name]) => el("th", { scope: "col", class: name }, title)));
  const body = el("tbody", {}, transfers.map(row));
  return el("details", {}, el("summary", {}, "as a table"), scrolled("Transfers", el("table", {}, el("thead", {}, head), body)));
}
