import { describe, expect, test } from "vitest";
import { baseUnitsOf, bytes, count, credits, creditsExact, duration, perTib, relative, shortId, sum, utc } from "./format";

describe("numbers are shown as the command line shows them", () => {
  test.each([
    [0, "0 B"],
    [1023, "1023 B"],
    [1024, "1.0 KiB"],
    [1536 * 1024 * 1024, "1.5 GiB"],
    [2 ** 50 * 1.99, "1.9 PiB"],
    [null, "–"],
  ])("bytes %s", (len, text) => expect(bytes(len)).toBe(text));

  test.each([
    ["0", "0 CRD", "0 CRD"],
    ["1000000000000000000", "1 CRD", "1 CRD"],
    ["1500000000000000000", "1.5 CRD", "1.5 CRD"],
    ["1", "0.000000000000000001 CRD", "< 0.000001 CRD"],
    ["1234567890123456789012345", "1234567.890123456789012345 CRD", "1\u202f234\u202f567.890123 CRD"],
    ["999999999999999999", "0.999999999999999999 CRD", "0.999999 CRD"],
    ["-1", "–", "–"],
    ["1e3", "–", "–"],
    [null, "–", "–"],
  ])("credits %s", (base, exact, short) => {
    expect(creditsExact(base)).toBe(exact);
    expect(credits(base)).toBe(short);
  });

  test.each([
    ["12.5", "12500000000000000000"],
    ["0", "0"],
    ["0.000000000000000001", "1"],
    ["1.", null],
    ["-1", null],
    ["1e3", null],
    ["0.0000000000000000001", null],
  ])("credits are read: %s", (text, base) => expect(baseUnitsOf(text)).toBe(base));

  test("moments and spans", () => {
    expect(utc(951_782_400_000)).toBe("2000-02-29 00:00:00Z");
    expect(utc(Number.MAX_SAFE_INTEGER)).toBe("–");
    expect(relative(1000, 61_000)).toBe("1 min ago");
    expect(relative(7_261_000, 61_000)).toBe("in 2 h");
    expect(duration(999)).toBe("999 ms");
    expect(duration(86_400_000 * 3)).toBe("3 d");
  });

  test("others", () => {
    expect(count(1234567)).toBe("1\u202f234\u202f567");
    expect(shortId("12D3KooWAbCdEfGhIjKlMnOpQ")).toBe("12D3KooW…lMnOpQ");
    expect(perTib("2")).toBe("2048");
    expect(sum(["1", null, "2", "x"])).toBe("3");
  });
});
