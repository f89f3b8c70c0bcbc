import { expect, test } from "vitest";
import { partLength } from "./upload";

test.each([
  [0, 16 * 2 ** 20],
  [100 * 2 ** 20, 16 * 2 ** 20],
  [5 * 2 ** 40, Math.ceil((5 * 2 ** 40) / 10_000 / 1024) * 1024],
])("a file of %s bytes has at most 10,000 parts", (size, length) => {
  expect(partLength(size)).toBe(length);
  expect(Math.ceil(size / partLength(size))).toBeLessThanOrEqual(10_000);
});
