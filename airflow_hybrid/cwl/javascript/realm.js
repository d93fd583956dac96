// Licensed under the Apache License, Version 2.0; see the LICENSE file.
// The body of a function of `settings`: evaluates the expressions that come, one JSON string a line, on stdin.
//
// Each one has a realm of its own. An object of this, the outer, realm would be a way out of it: its prototypes are
// those that Node's own code works with. So none is handed in, neither by us nor by the engine (import() and
// Error.stack call into Node), and if one should be, there is nothing behind it: the intrinsics are frozen
// (--frozen-intrinsics), and what `process` and the global object could do is taken away first.

const vm = require("vm");
const { internalBinding } = require("internal/test/binding");
const modules = internalBinding("module_wrap");
const errors = internalBinding("errors");
const tasks = internalBinding("task_queue");

const host = process;
const leave = process.reallyExit.bind(process);
const input = process.stdin;
const output = process.stdout;
const complaints = process.stderr;

const INNER = `"use strict";
(function (Refusal) {
  // their callbacks would be Node's, or run after the answer
  delete globalThis.WebAssembly;
  delete globalThis.FinalizationRegistry;
  return {
    __proto__: null,
    stringify: JSON.stringify,
    refuse: function () { throw new Refusal("import() is not available in expressions"); },
    stack: function (realm, error) { try { return \`\${error}\`; } catch (other) { return ""; } },
  };
})(TypeError)`;

// once one realm was made, Node has loaded all that it needs of itself
const standard = new Set(vm.runInNewContext("Object.getOwnPropertyNames(globalThis)", Object.create(null)));

/** A realm for one expression, and the functions in it that Node calls while the expression runs. */
function newRealm(names) {
  // what the expression has put off (promises) is done before there is an answer: nothing goes on after it
  const realm = vm.createContext(names, { microtaskMode: "afterEvaluate" });
  const inner = vm.runInContext(INNER, realm);
  modules.setImportModuleDynamicallyCallback(inner.refuse);
  errors.setPrepareStackTraceCallback(inner.stack);
  return { realm, stringify: inner.stringify };
}

function takeAway() {
  const kept = new Set(["version", "versions", "arch", "platform", "release", "features", "nextTick", "emitWarning",
    "exitCode", "domain", "noDeprecation"]);
  for (const name of Object.getOwnPropertyNames(process)) {
    if (kept.has(name) || /^_(events|eventsCount|maxListeners|exiting|tickCallback|fatalException)$/.test(name)) continue;
    const { configurable, writable } = Object.getOwnPropertyDescriptor(process, name);
    if (configurable) Object.defineProperty(process, name, { value: undefined });
    else if (writable && name !== "title") process[name] = undefined;
  }
  process.title = "node: expressions of a CWL document"; // what ps says
  for (const name of Object.getOwnPropertyNames(globalThis))
    if (!standard.has(name)) Reflect.deleteProperty(globalThis, name);
  Object.freeze(globalThis);
  if (!Object.isFrozen(Object.prototype) || !Object.isFrozen(Error.prototype) || !Object.isFrozen(Promise.prototype))
    throw new Error("this Node.js does not freeze its intrinsics (--frozen-intrinsics)");
}

/** What is wrong, in one text. Getters and toString of the author's may run: they are called with what is theirs. */
function described(error) {
  try {
    const kind = error instanceof SyntaxError ? "SyntaxError" : String((error && error.name) || "Error");
    const message = error && error.message !== undefined ? error.message : error;
    return (kind === "Error" ? "" : kind + ": ") + String(message) || "Error";
  } catch (other) {
    return "the expression failed";
  }
}

let names = null; // the globals that expressions have: made by the first line, if it is a context's
let incoming = "";

function evaluate(line) {
  const code = JSON.parse(line);
  if (settings.withContext && names === null) {
    names = vm.runInContext(code, newRealm(Object.create(null)).realm);
    return;
  }
  try {
    const { realm, stringify } = newRealm(names || Object.create(null));
    output.write(stringify(vm.runInContext(code, realm)) + "\n");
  } catch (error) {
    complaints.write(described(error) + "\n");
  }
  output.write(settings.end);
  complaints.write(settings.end);
}

function begin() {
  takeAway();
  // what is thrown where nobody waits for it is not looked at: to show it would run it
  host.on("uncaughtException", () => leave(70));
  tasks.setPromiseRejectCallback(() => {});
  input.setEncoding("utf8");
  input.on("data", function (chunk) {
    incoming += chunk;
    for (let i = incoming.indexOf("\n"); i >= 0; i = incoming.indexOf("\n")) {
      const line = incoming.substring(0, i);
      incoming = incoming.substring(i + 1);
      evaluate(line);
    }
  });
  input.on("end", () => leave(0));
}

// when Node has done with this text: until then it writes to the global object
host.nextTick(begin);
