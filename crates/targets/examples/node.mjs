// Decides 1000 requests a second for ten seconds: node node.mjs node.wasm
import { readFile } from "node:fs/promises";

const { instance } = await WebAssembly.instantiate(await readFile(process.argv[2]));
const { check } = instance.exports;

let admitted = 0;
for (let now = 0; now < 10_000; now += 1) {
  const wait = check(now);
  if (wait === 0) admitted += 1;
  else if (!(wait > 0 && wait <= 10)) throw new Error(`a wait of ${wait} ms at 100/s`);
}
// The burst of 10, and 100 each second.
if (admitted !== 1009) throw new Error(`${admitted} admitted instead of 1009`);

// The same on the clock of JavaScript.
const waits = Array.from({ length: 20 }, () => check(10_000 + performance.now()));
console.log(`${admitted} of 10,000 admitted; now: ${waits.filter((wait) => wait === 0).length} of 20`);
