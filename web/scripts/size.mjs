// Fails when what a browser has to load is more than the budget, gzipped.
import { readFileSync, readdirSync } from "node:fs";
import { gzipSync } from "node:zlib";

const BUDGET_KIB = 300;
const dir = new URL("../dist/assets/", import.meta.url);
const sizes = readdirSync(dir).map((name) => [name, gzipSync(readFileSync(new URL(name, dir))).length]);
const total = sizes.reduce((sum, [, size]) => sum + size, 0);
for (const [name, size] of sizes) console.log(`${(size / 1024).toFixed(1).padStart(7)} KiB  ${name}`);
console.log(`${(total / 1024).toFixed(1).padStart(7)} KiB  gzipped in all, of ${BUDGET_KIB}`);
if (total > BUDGET_KIB * 1024) process.exit(1);
