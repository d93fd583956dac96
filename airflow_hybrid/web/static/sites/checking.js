// Licensed under the Apache License, Version 2.0; see the LICENSE file.
// @ts-check
/** Checks of deployments: which ones are running, and what they have found. */

/** @typedef {{at: number, seconds: number, ok: boolean, findings: any[]}} Result */

export class Checking {
  /**
   * @param {(route: string) => Promise<Result>} ask
   * @param {() => void} changed
   */
  constructor(ask, changed) {
    this.ask = ask;
    this.changed = changed;
    /** @type {Set<string>} */
    this.running = new Set();
    /** @type {Map<string, Result>} */
    this.results = new Map();
    /** @type {Map<string, string>} */
    this.problems = new Map();
    /** @type {Map<string, boolean>} whether the reader has opened or closed a list */
    this.opened = new Map();
  }

  /** What tells a deployment from others on the page. @param {any} deployment */
  static keyOf(deployment) {
    return JSON.stringify([deployment.name, deployment.type, deployment.where, deployment.dag_ids[0]]);
  }

  /** The last result, of this page or of others. @param {any} deployment @returns {Result | null} */
  resultOf(deployment) {
    const own = this.results.get(Checking.keyOf(deployment)) ?? null;
    const told = deployment.checked;
    if (own === null || told === null) return own ?? told;
    return told.at > own.at ? told : own;
  }

  /** @param {any} deployment */
  async start(deployment) {
    const key = Checking.keyOf(deployment);
    if (this.running.has(key)) return;
    this.running.add(key);
    this.problems.delete(key);
    this.changed();
    try {
      const [dag, name] = [deployment.check_dag, deployment.name].map(encodeURIComponent);
      this.results.set(key, await this.ask(`sites/${dag}/${name}/check`));
      this.opened.set(key, true);
    } catch (error) {
      this.problems.set(key, error instanceof Error ? error.message : String(error));
    } finally {
      this.running.delete(key);
      this.changed();
    }
  }
}
