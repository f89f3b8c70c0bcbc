#!/usr/bin/env node
// Writes contracts/artifacts/<Name>.json from forge's output, or checks that they are byte for byte what it would write.
//   script/artifacts.mjs            check; differing, missing and surplus files are named, and the exit is 1
//   script/artifacts.mjs --write    write
// Never: compiles. scripts/contracts runs `forge build` first.
import { mkdirSync, readFileSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const CONTRACTS = ["Channels", "Court", "CreditToken", "Faucet", "Providers"];
const root = join(dirname(fileURLToPath(import.meta.url)), "..");
const directory = join(root, "artifacts");

// Keys in alphabetical order at every depth, so that a change shows as a change.
function sorted(value) {
  if (Array.isArray(value)) return value.map(sorted);
  if (value === null || typeof value !== "object") return value;
  return Object.fromEntries(Object.keys(value).sort().map((key) => [key, sorted(value[key])]));
}

function byKindAndName(a, b) {
  const [left, right] = [a, b].map((item) => `${item.type} ${item.name ?? ""} ${(item.inputs ?? []).map((input) => input.type)}`);
  return left < right ? -1 : left > right ? 1 : 0;
}

function artifact(name) {
  const built = JSON.parse(readFileSync(join(root, "out", `${name}.sol`, `${name}.json`), "utf8"));
  const { compiler, settings } = built.metadata ?? JSON.parse(built.rawMetadata);
  for (const code of [built.bytecode, built.deployedBytecode]) {
    if (Object.keys(code.linkReferences ?? {}).length !== 0) throw new Error(`${name} has unlinked libraries`);
  }
  const content = sorted({
    abi: [...built.abi].sort(byKindAndName),
    bytecode: built.bytecode.object,
    compiler: compiler.version,
    contractName: name,
    deployedBytecode: built.deployedBytecode.object,
    evmVersion: settings.evmVersion,
    optimizerRuns: settings.optimizer.runs,
  });
  return `${JSON.stringify(content, null, 1)}\n`;
}

const wanted = new Map(CONTRACTS.map((name) => [`${name}.json`, artifact(name)]));
mkdirSync(directory, { recursive: true });
const present = readdirSync(directory);
if (process.argv.includes("--write")) {
  for (const file of present) if (!wanted.has(file)) rmSync(join(directory, file));
  for (const [file, content] of wanted) writeFileSync(join(directory, file), content);
} else {
  const wrong = [...new Set([...wanted.keys(), ...present])].filter(
    (file) => !present.includes(file) || readFileSync(join(directory, file), "utf8") !== wanted.get(file),
  );
  if (wrong.length !== 0) {
    console.error(`contracts/artifacts: not what the source compiles to: ${wrong.join(", ")}\nrun scripts/contracts --write`);
    process.exit(1);
  }
  console.log(`${wanted.size} artefacts are what the source compiles to`);
}
