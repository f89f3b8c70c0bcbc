import { expect, test } from "vitest";
import { csv } from "./csv";

test("fields are quoted and formulas disarmed", () => {
  expect(csv([["a", 1, null], ['say "x"', "=1+1", -5], ["a,b", "line\nbreak", "-x"]])).toBe(
    'a,1,\r\n"say ""x""",\'=1+1,-5\r\n"a,b","line\nbreak",\'-x\r\n',
  );
});
