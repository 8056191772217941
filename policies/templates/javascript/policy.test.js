import assert from "node:assert/strict";
import test from "node:test";

import { picker } from "./policy.js";

const overlap = [0, 0, 20, 0];

function pick(running, seed = 1n << 40n) {
  const { columns } = picker.configure({ model: "m", blockSize: 16 }, "{}");
  assert.equal(columns.length, 2);
  return picker.pick({ seed }, { rows: 4, columns: Uint32Array.of(...overlap, ...running) });
}

test("the warmest rank wins", () => {
  assert.deepEqual(pick([0, 0, 0, 0]), { tag: "rank", val: 2 });
});

test("unless too much is running there", () => {
  assert.notEqual(pick([0, 0, 3, 0]).val, 2);
});

test("equal ranks share", () => {
  const rows = new Set();
  for (let seed = 0n; seed < 64n; seed++) {
    rows.add(pick([0, 0, 3, 0], seed << 32n).val);
  }
  assert.deepEqual([...rows].sort(), [0, 1, 3]);
});

test("settings that make no sense are refused", () => {
  assert.throws(() => picker.configure({}, '{"running_cost":-1}'), /running_cost/);
});
