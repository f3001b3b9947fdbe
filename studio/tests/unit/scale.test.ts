import assert from "node:assert/strict";
import { test } from "node:test";
import { atPlace, parseCount, placeOf, short } from "../../src/domain/scale";

test("sizes are read and written as people do", () => {
  for (const [text, value] of [["600B", 6e11], ["1.3b", 1.3e9], ["2T", 2e12], [" 137,000,000 ", 1.37e8], ["64k", 64e3], ["90", 90]] as const) assert.equal(parseCount(text), value, text);
  for (const text of ["", "-1", "B", "1.2.3B", "10 parsec", "0"]) assert.equal(parseCount(text), null, text);
  assert.deepEqual([6e11, 1.3e9, 2e12, 999_999, 90, 0].map(short), ["600B", "1.3B", "2T", "1M", "90", "0"]);
});

test("a slider goes evenly through the powers of ten", () => {
  assert.deepEqual([0, 0.5, 1].map((place) => atPlace(place, 1e8, 1e12)), [1e8, 1e10, 1e12]);
  for (const value of [1e8, 6e8, 8.2e10, 6e11]) assert.equal(atPlace(placeOf(value, 1e8, 2e12), 1e8, 2e12), value);
});
