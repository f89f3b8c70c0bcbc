// A real local network for the browser: started and ended through the binary, as a user would.
import { execFile, spawn } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { promisify } from "node:util";

const run = promisify(execFile);
const READY_MS_MAX = 100_000;

/** The binary: CAIRN_BIN, or where cargo builds it. */
export function binary() {
  const target = process.env.CARGO_TARGET_DIR ?? new URL("../../target", import.meta.url).pathname;
  return process.env.CAIRN_BIN ?? join(target, "release", "cairn");
}

export class Localnet {
  static async start(...flags) {
    const net = new Localnet();
    net.dir = mkdtempSync(join(tmpdir(), "cairn-web-"));
    net.child = spawn(binary(), ["localnet", "--dir", net.dir, "--json", ...flags], { stdio: ["ignore", "pipe", "inherit"] });
    const lines = createInterface({ input: net.child.stdout });
    net.ready = await new Promise((resolve, reject) => {
      const late = setTimeout(() => reject(new Error("the network is not ready in time")), READY_MS_MAX);
      lines.once("line", (line) => { clearTimeout(late); resolve(JSON.parse(line)); });
      net.child.once("exit", (code) => reject(new Error(`the network ended with ${code}`)));
    });
    return net;
  }

  /** What a command prints, as JSON lines. */
  async cli(...args) {
    const { stdout } = await run(binary(), [...args, "--dir", this.dir, "--json"], { maxBuffer: 64 << 20 });
    return stdout.split("\n").filter((line) => line !== "").map((line) => JSON.parse(line));
  }

  /** What a command says of one node, as one JSON value or as text. */
  async node(name, ...args) {
    const { stdout } = await run(binary(), [...args, "--dir", join(this.dir, name)], { maxBuffer: 64 << 20 });
    return args.includes("--json") ? JSON.parse(stdout) : stdout;
  }

  /** What a command prints for people. */
  async text(...args) {
    return (await run(binary(), [...args, "--dir", this.dir], { maxBuffer: 64 << 20 })).stdout;
  }

  async stop() {
    const ended = new Promise((resolve) => this.child.once("exit", resolve));
    if (this.child.exitCode === null) {
      this.child.kill("SIGTERM");
      await ended;
    }
    rmSync(this.dir, { recursive: true, force: true });
  }
}
