// Runs a limit on the clock of JavaScript: node web_time.mjs web_time.wasm
import { readFile } from "node:fs/promises";

// Users run `wasm-bindgen`, which writes the functions below. It takes minutes to build, so here are the few that the clock needs. The module knows a
// value of JavaScript by a number.
const values = [globalThis, performance];
const FIRST = 5000;
const asNumber = (value) => FIRST + values.indexOf(value);
const value = (number) => values[number - FIRST];
let readings = 0;
const functions = {
  static_accessor_SELF: () => 0, // none
  static_accessor_WINDOW: () => 0,
  static_accessor_GLOBAL_THIS: () => asNumber(globalThis),
  performance: (global) => asNumber(value(global).performance),
  is_undefined: (number) => Number(value(number) === undefined),
  now: (clock) => {
    readings += 1;
    return value(clock).now();
  },
  externref_statics_end: () => FIRST,
  object_clone_ref: (number) => number,
  object_drop_ref: () => {},
};
const module = await WebAssembly.compile(await readFile(process.argv[2]));
const imports = {};
for (const { module: from, name } of WebAssembly.Module.imports(module)) {
  const plain = name.replace(/^__wbg_/, "").replace(/^__wbindgen_/, "").replace(/_[0-9a-f]{16}$/, "");
  const missing = () => {
    throw new Error(`called ${name}`);
  };
  (imports[from] ??= {})[name] = functions[plain] ?? missing;
}
const { check } = (await WebAssembly.instantiate(module, imports)).exports;

// The burst, and then a request at the instant of each denial.
const start = performance.now();
let admitted = 0;
while (performance.now() < start + 1000) {
  const wait = check();
  if (wait === 0) {
    admitted += 1;
    continue;
  }
  if (!(wait > 0 && wait <= 10)) throw new Error(`a wait of ${wait} ms at 100/s`);
  const earliest = performance.now() + wait;
  while (performance.now() < earliest);
  if (check() !== 0) throw new Error(`denied after a wait of ${wait} ms`);
  admitted += 1;
}
const most = 10 + (performance.now() - start) / 10;
if (admitted > most || admitted < 11) throw new Error(`${admitted} admitted instead of ${most}`);
if (readings === 0) throw new Error("the clock of JavaScript was not read");
console.log(`${admitted} admitted in a second, by ${readings} readings of performance.now()`);
