// Licensed under the Apache License, Version 2.0; see the LICENSE file.
// @ts-check
/** What the page is about, and what it shows first: asked for before its other modules are there. */

import { askAhead } from "../common/api.js";

const query = new URLSearchParams(location.search);
/** Which task instance the page is about; without one, the whole run. */
export const task = { task_id: query.get("task_id"), map_index: query.get("map_index") };

/** How many jobs a page of the table has. */
export const PAGE = 20;
/** The page of the table that is shown first. */
export const FIRST = { step: "", site: "", shown: "all", text: "", sort: "", order: "up", offset: 0 };

askAhead("overview");
askAhead("jobs", { ...FIRST, ...task, limit: PAGE });
