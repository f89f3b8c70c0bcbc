// The dashboard in a real browser over a real local network: what the issue promises, step by step.
//
//   CARGO_TARGET_DIR=… node --test test/browser.mjs
//
// Pictures of every page in both themes go to shots/, which is ignored.
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { randomBytes } from "node:crypto";
import { mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync, statSync, truncateSync, writeFileSync } from "node:fs";
import { request } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { chromium } from "playwright-core";
import { Localnet } from "./localnet.mjs";
import { film } from "./video.mjs";

const PASSWORD = "correct horse battery staple";
const SHOTS = new URL("../shots/", import.meta.url).pathname;
const PAGES = ["", "alerts", "network", "earnings", "disks", "clients", "buckets", "buckets/films", "keys", "spending", "providers", "audits", "ledger", "settings"];
const axe = readFileSync(new URL("../node_modules/axe-core/axe.min.js", import.meta.url), "utf8");

let net, browser, context, page, files;

before(async () => {
  net = await Localnet.start("--providers", "6", "--epoch", "10s", "--repair-after", "5m");
  browser = await chromium.launch({
    executablePath: process.env.CAIRN_CHROMIUM ?? "/usr/bin/chromium",
    args: ["--headless", "--no-sandbox", "--disable-background-networking", "--autoplay-policy=no-user-gesture-required"],
  });
  context = await browser.newContext({ acceptDownloads: true });
  page = await context.newPage();
  page.setDefaultTimeout(30_000);
  page.on("dialog", (dialog) => (dialog.type() === "confirm" ? dialog.accept() : assert.fail(`a script ran: ${dialog.message()}`)));
  page.on("pageerror", (error) => { throw error; });
  files = mkdtempSync(join(tmpdir(), "cairn-files-"));
  mkdirSync(SHOTS, { recursive: true });
});

after(async () => {
  await browser?.close();
  await net?.stop();
  rmSync(files, { recursive: true, force: true });
});

const url = (path) => `${net.ready.dashboard}/${path}`;
const base = (id) => page.locator(`#${id} [data-base]`).getAttribute("data-base").then((text) => BigInt(text === "" || text === null ? 0 : text));

/** Waits until `look` gives something true. */
async function until(what, ms, look) {
  const end = Date.now() + ms;
  for (;;) {
    const found = await look();
    if (found) return found;
    assert.ok(Date.now() < end, `${what} did not happen within ${ms} ms`);
    await new Promise((resolve) => setTimeout(resolve, 250));
  }
}

/** An answer to a request as no browser would send it. */
function raw(method, path, headers, body = "") {
  const { hostname, port } = new URL(net.ready.dashboard);
  return new Promise((resolve, reject) => {
    const asked = request({ host: hostname, port, method, path, headers: { "content-length": body.length, ...headers } }, (answer) => {
      let text = "";
      answer.on("data", (some) => (text += some));
      answer.on("end", () => resolve({ status: answer.statusCode, headers: answer.headers, text }));
    });
    asked.on("error", reject);
    asked.end(body);
  });
}

async function put(path, shown) {
  await page.locator("#files").setInputFiles(path);
  await page.locator(`[data-upload="${shown}"][data-state="done"]`).waitFor({ timeout: 120_000 });
}

test("the first token opens the page where the password is chosen, and the first paint is fast", async () => {
  assert.match(net.ready.dashboard_invitation, /#token=[0-9a-f]{32}$/);
  assert.equal((await raw("GET", "/api/nodes", {})).status, 401);
  await page.goto(net.ready.dashboard_invitation);
  await page.getByLabel("Password", { exact: true }).fill(PASSWORD);
  await page.getByLabel("The same again").fill(PASSWORD);
  await page.getByRole("button", { name: "Open the dashboard" }).click();
  await page.getByRole("heading", { name: "Overview" }).waitFor();
  assert.equal(new URL(page.url()).hash, "", "the token does not stay in the address");
  await page.goto(url(""));
  await page.getByRole("heading", { name: "Overview" }).waitFor();
  const paint = await page.evaluate(() => performance.getEntriesByName("first-contentful-paint")[0].startTime);
  console.log(`first contentful paint: ${Math.round(paint)} ms`);
  assert.ok(paint <= 1000, `${paint} ms`);
  await page.getByText("Nothing is stored yet").waitFor();
});

test("a key is made, and an S3 client uses it", async () => {
  await page.goto(url("keys"));
  await page.getByRole("button", { name: "Make a key" }).click();
  await page.getByLabel("Label").fill("browser test");
  await page.getByRole("button", { name: "Make it" }).click();
  const access = await page.locator("#access-key").textContent();
  const secret = await page.locator("#secret-key").textContent();
  const aws = (...args) =>
    execFileSync(join(process.env.CAIRN_TOOLS ?? "", "bin", "aws"), ["--endpoint-url", net.ready.endpoint, ...args], {
      env: { ...process.env, AWS_ACCESS_KEY_ID: access, AWS_SECRET_ACCESS_KEY: secret, AWS_DEFAULT_REGION: net.ready.region },
      encoding: "utf8",
    });
  aws("s3", "mb", "s3://by-aws");
  assert.match(aws("s3", "ls"), /by-aws/);
  await page.getByRole("button", { name: "Close" }).click();
  await page.getByText("browser test").waitFor();
});

test("a bucket is made, and 100 MB go up with visible progress", async () => {
  await page.goto(url("buckets"));
  await page.getByLabel("New bucket").fill("films");
  await page.getByRole("button", { name: "Make it" }).click();
  await page.getByRole("link", { name: "films" }).click();
  const large = join(files, "large.bin");
  writeFileSync(large, randomBytes(100_000_000));
  // What each frame shows, as an eye would see it: an upload on a fast machine is over between two questions from here.
  await page.evaluate(() => {
    window.seenProgress = new Set();
    const look = () => {
      const bar = document.querySelector('[data-upload="large.bin"] progress');
      if (bar !== null) window.seenProgress.add(bar.value);
      requestAnimationFrame(look);
    };
    look();
  });
  await page.locator("#files").setInputFiles(large);
  const upload = page.locator('[data-upload="large.bin"]');
  await until("the upload's end", 180_000, async () => (await upload.getAttribute("data-state")) === "done");
  const seen = await page.evaluate(() => [...window.seenProgress]);
  const between = seen.filter((value) => value > 0 && value < 100_000_000);
  assert.ok(between.length >= 3, `progress was seen at ${seen}`);
  const [stat] = await net.cli("stat", "films/large.bin");
  assert.equal(stat.len, 100_000_000);
  await net.text("get", "films/large.bin", join(files, "back.bin"));
  assert.ok(readFileSync(join(files, "back.bin")).equals(readFileSync(large)), "what comes back is what went up");
});

test("an upload that was stopped goes on where it was", async () => {
  const path = join(files, "again.bin");
  writeFileSync(path, randomBytes(90_000_000));
  await page.locator("#files").setInputFiles(path);
  const upload = page.locator('[data-upload="again.bin"]');
  await until("the end of a part of three at once", 60_000, async () => (await upload.locator("progress").evaluate((bar) => bar.value)) > 55_000_000);
  await upload.getByRole("button", { name: "Stop" }).click();
  await page.locator('[data-upload="again.bin"][data-state="failed"]').waitFor();
  await page.reload();
  const parts = [];
  page.on("request", (asked) => asked.method() === "PUT" && asked.url().includes("/parts/") && parts.push(asked.url()));
  await put(path, "again.bin");
  assert.ok(parts.length > 0 && parts.length < 6, `${parts.length} of 6 parts were sent again`);
  await net.text("get", "films/again.bin", join(files, "again.back"));
  assert.ok(readFileSync(join(files, "again.back")).equals(readFileSync(path)));
});

test("a film is played and sought by range reads", async () => {
  const path = join(files, "film.webm");
  writeFileSync(path, await film(browser, 20));
  console.log(`the film: ${(statSync(path).size / 1e6).toFixed(1)} MB`);
  await put(path, "film.webm");
  const ranges = [];
  page.on("response", (answer) => answer.url().includes("film.webm") && answer.status() === 206 && ranges.push(answer.headers()["content-range"]));
  await page.getByRole("button", { name: "film.webm", exact: true }).click();
  const video = page.locator("video");
  await video.waitFor();
  const reached = await video.evaluate(async (shown) => {
    await shown.play();
    await new Promise((resolve, reject) => {
      shown.addEventListener("seeked", resolve, { once: true });
      shown.addEventListener("error", () => reject(new Error("the film broke")), { once: true });
      shown.currentTime = 17;
    });
    return shown.currentTime;
  });
  assert.ok(reached >= 17, `${reached}`);
  assert.ok(ranges.some((range) => !range.startsWith("bytes 0-")), `ranges: ${ranges}`);
  await page.keyboard.press("Escape");
});

test("an object shows what is known of it, its versions and its shards", async () => {
  await page.goto(url("buckets/films"));
  await page.getByRole("button", { name: "large.bin", exact: true }).click();
  await page.getByRole("tab", { name: "About" }).click();
  await page.getByText("100000000 bytes").waitFor();
  await page.getByRole("tab", { name: "Versions" }).click();
  await page.getByText("latest").waitFor();
  await page.getByRole("tab", { name: "Shards" }).click();
  await page.getByText(/there, \d+ needed/).first().waitFor();
  await page.keyboard.press("Escape");
});

test("a shared link works for a stranger, and stops", async () => {
  const path = join(files, "note.txt");
  writeFileSync(path, "for your eyes");
  await put(path, "note.txt");
  await page.getByRole("button", { name: "note.txt", exact: true }).click();
  await page.locator("pre", { hasText: "for your eyes" }).waitFor();
  await page.getByRole("tab", { name: "Share" }).click();
  await page.getByLabel("Good for").selectOption("10");
  await page.getByRole("button", { name: "Make a link" }).click();
  const link = await page.locator("#shared").getAttribute("href");
  const stranger = await browser.newContext();
  const there = await stranger.request.get(link);
  assert.deepEqual([there.status(), await there.text()], [200, "for your eyes"]);
  assert.equal((await stranger.request.get(link.replace("note.txt", "large.bin"))).status(), 403);
  await until("the link's end", 20_000, async () => (await stranger.request.get(link)).status() === 403);
  await stranger.close();
  await page.keyboard.press("Escape");
});

test("a script in the name of an object, or in its content, does not run", async () => {
  const name = '<img src=x onerror=alert(1)><script>alert(2)<\u2215script>.html';
  const path = join(files, name);
  writeFileSync(path, "<script>alert(document.domain)</script>");
  await put(path, name);
  await page.getByRole("button", { name, exact: true }).click();
  await page.locator("pre", { hasText: "alert(document.domain)" }).waitFor();
  await page.keyboard.press("Escape");
  const direct = await context.newPage();
  direct.on("dialog", () => assert.fail("a stored script ran"));
  const source = `/api/nodes/gateway/v1/object?bucket=films&key=${encodeURIComponent(name)}&preview`;
  const answer = await direct.goto(url(source.slice(1)));
  assert.equal(answer.headers()["content-type"], "text/plain; charset=utf-8");
  assert.match(answer.headers()["content-security-policy"], /^sandbox/);
  await direct.close();
});

test("earnings rise after an epoch, and redeeming shows in the ledger", async () => {
  await page.goto(url("earnings"));
  await page.locator("#potential").waitFor();
  await until("something accrued", 60_000, async () => (await base("accrued")) > 0n);
  const [was, redeemed] = [await base("accrued"), await base("redeemed")];
  await until("more accrued or paid out", 60_000, async () => (await base("accrued")) > was || (await base("redeemed")) > redeemed);
  await page.getByRole("button", { name: "Redeem all now" }).click();
  await until("something redeemed", 60_000, async () => (await base("redeemed")) > redeemed);
  await page.goto(url("ledger"));
  await page.getByLabel("Node").selectOption("p1");
  await page.getByLabel("Account").selectOption("wallet");
  await page.getByRole("row").nth(1).waitFor();
  const shown = await page.getByRole("row").nth(1).getByRole("cell").last().textContent();
  // Wallet entries of the journal, as the command line has them; a payout may come between.
  await until("the same balance on the command line", 30_000, async () => {
    const lines = (await net.node("p1", "ledger", "--csv")).split("\n");
    return lines.some((line) => line.includes('"wallet"') && line.endsWith(`,${shown}`));
  });
});

test("the numbers of the pages are those of the command line", async () => {
  /** Looks until two looks at the command line, one before and one after the page's, agree: then the page had that moment. */
  const same = async (what, cli, shown) =>
    until(`${what}: page and command line agree`, 60_000, async () => {
      const [one, there, other] = [JSON.stringify(await cli()), JSON.stringify(await shown()), JSON.stringify(await cli())];
      if (one !== other) return false;
      if (there !== one) console.log(`${what}: the page has ${there}, the command line ${one}`);
      return there === one;
    });
  await page.goto(url("earnings"));
  await page.locator("#potential").waitFor();
  const earnings = async () => (await net.cli("earnings")).find((line) => line.name === "p1");
  await same("redeemed and credits", async () => { const found = await earnings(); return [found.redeemed, found.credits]; }, async () => [String(await base("redeemed")), String(await base("credits"))]);
  // Potential grows by the millisecond: the page's is between two of the command line.
  await until("potential between two of the command line", 60_000, async () => {
    const one = await earnings();
    await page.reload();
    await page.locator("#potential").waitFor();
    const [there, accrued] = [await base("potential"), await base("accrued")];
    const other = await earnings();
    return String(accrued) === one.accrued && one.accrued === other.accrued && BigInt(one.potential) <= there && there <= BigInt(other.potential);
  });
  await page.goto(url("disks"));
  const size = (len) => {
    const units = [["GiB", 2 ** 30], ["MiB", 2 ** 20], ["KiB", 2 ** 10]];
    const [unit, factor] = units.find(([, factor]) => len >= factor) ?? ["B", 1];
    return factor === 1 ? `${len} B` : `${Math.floor(len / factor)}.${Math.floor(((len % factor) * 10) / factor)} ${unit}`;
  };
  await same("used space", async () => size((await net.node("p1", "status", "--json")).store.used_len), async () => (await page.locator(".stat", { hasText: "Used" }).locator(".value").textContent()));
  await page.goto(url("spending"));
  await page.locator("#redeemed").waitFor();
  await same("the gateway's credits", async () => (await net.node("gateway", "wallet", "balance", "--json")).credits, async () => String(await base("credits")));
  await page.goto(url("buckets"));
  await same("what a bucket holds", async () => { const [found] = await net.cli("bucket", "films"); return size(found.len); }, async () =>
    page.getByRole("row", { name: /films/ }).getByRole("cell").nth(4).textContent());
});

test("the picture of the README", async () => {
  await page.setViewportSize({ width: 1280, height: 800 });
  await page.goto(url(""));
  await page.getByText("Nothing needs your attention").waitFor();
  await page.screenshot({ path: join(SHOTS, "readme.png") });
});

test("a broken disk and a provider that lost data raise alerts with their reasons", async () => {
  await page.goto(url("alerts"));
  const probe = join(net.dir, "p2", "space", "probe");
  rmSync(probe);
  mkdirSync(join(probe, "in-the-way"), { recursive: true });
  const disk = page.locator(".card", { hasText: "takes no writes" });
  await disk.waitFor({ timeout: 120_000 });
  console.log(`disk alert: ${(await disk.locator("dd").first().textContent()).slice(0, 160)}`);
  const volumes = join(net.dir, "p3", "space", "volumes");
  for (const name of readdirSync(volumes)) {
    const { size } = statSync(join(volumes, name));
    truncateSync(join(volumes, name), 0);
    truncateSync(join(volumes, name), size);
  }
  const audit = page.locator(".card", { hasText: /did not pass its audit: (gone|corrupt|diverged)/ }).first();
  await audit.waitFor({ timeout: 120_000 });
  const cause = await audit.locator("dd").first().textContent();
  console.log(`audit alert: ${cause.slice(0, 200)}`);
  assert.match(cause, /12D3|leaf \d+/);
  await page.goto(url("audits"));
  await page.getByLabel("Only those that were not passed").check();
  await page.getByRole("button", { name: "Details" }).first().click();
  await page.getByText("Probes that failed").or(page.getByRole("region", { name: "Probes that failed" })).first().waitFor();
  await page.keyboard.press("Escape");
  await page.goto(url("alerts"));
  await audit.getByRole("button", { name: "Acknowledge" }).click();
  await audit.getByText("acknowledged").waitFor();
});

test("a node that is down is an error of its own and no page is blank", async () => {
  process.kill(net.ready.providers[4].pid, "SIGKILL");
  await page.goto(url(""));
  await page.getByRole("row", { name: /p5/ }).getByText("down").waitFor();
  await page.getByRole("row", { name: /p1/ }).getByText("up").waitFor();
  assert.equal((await raw("GET", "/ready", {})).status, 503);
  await page.goto(url("earnings?node=p5"));
  await page.getByText("p5 does not answer").first().waitFor();
  const metrics = (await raw("GET", "/metrics", {})).text;
  assert.match(metrics, /cairn_up\{node="p5",role="provider"\} 0/);
  assert.match(metrics, /cairn_up\{node="p1",role="provider"\} 1/);
});

test("the dashboard refuses strangers", async () => {
  const cookies = await context.cookies();
  const cookie = cookies.map(({ name, value }) => `${name}=${value}`).join("; ");
  const ask = (headers, method = "POST") => raw(method, "/api/nodes/gateway/v1/collect", headers).then((answer) => [answer.status, JSON.parse(answer.text).error?.code]);
  assert.deepEqual(await ask({}), [401, "NoSession"]);
  assert.deepEqual(await ask({ cookie }), [403, "NoCsrfWord"]);
  assert.deepEqual(await ask({ cookie, origin: "http://evil.example" }), [403, "CrossSite"]);
  assert.deepEqual(await ask({ cookie, host: "evil.example" }), [421, "WrongHost"]);
  assert.deepEqual(await ask({ cookie: cookie.replace(/=.*/, "=00") }), [401, "NoSession"]);
  // A page of another site, with our cookies in the same browser.
  const other = await context.newPage();
  await other.route("http://evil.example/*", (route) => route.fulfill({ contentType: "text/html", body: "<title>evil</title>" }));
  await other.goto("http://evil.example/");
  const sent = await other.evaluate(async (target) => {
    const tries = [fetch(target, { method: "POST", credentials: "include", mode: "no-cors" }), fetch(target, { credentials: "include" })];
    return Promise.all(tries.map((one) => one.then((answer) => `${answer.type} ${answer.status}`, () => "blocked")));
  }, url("api/nodes/gateway/v1/collect"));
  assert.ok(sent.every((answer) => answer === "blocked" || answer.startsWith("opaque")), `${sent}`);
  await other.close();
});

test("every page is accessible, in both themes, and fits a phone", async () => {
  const serious = [];
  for (const theme of ["light", "dark"]) {
    await page.evaluate((chosen) => window.localStorage.setItem("cairn-theme", chosen), theme);
    for (const path of PAGES) {
      await page.goto(url(path));
      await page.locator("h1").waitFor();
      await page.waitForFunction(() => !document.body.textContent.includes("Loading…"));
      await page.screenshot({ path: join(SHOTS, `${theme}-${path === "" ? "overview" : path.replaceAll("/", "-")}.png`), fullPage: true });
      await page.evaluate(axe);
      const { violations } = await page.evaluate(() => window.axe.run({ runOnly: ["wcag2a", "wcag2aa", "wcag21aa", "best-practice"] }));
      for (const { id, impact, nodes } of violations.filter((one) => one.impact === "serious" || one.impact === "critical")) {
        serious.push(`${theme} /${path}: ${id} (${impact}): ${nodes.map((node) => node.html.slice(0, 160)).join(" | ")}`);
      }
    }
  }
  assert.deepEqual(serious, []);
  await page.setViewportSize({ width: 390, height: 800 });
  for (const path of PAGES) {
    await page.goto(url(path));
    await page.locator("h1").waitFor();
    await page.waitForFunction(() => !document.body.textContent.includes("Loading…"));
    const over = await page.evaluate(() => document.documentElement.scrollWidth - window.innerWidth);
    assert.ok(over <= 0, `/${path} is ${over} pixels too wide for a phone`);
  }
  await page.getByRole("button", { name: "Menu" }).click();
  await page.getByRole("link", { name: "Buckets" }).click();
  await page.getByRole("heading", { name: "Buckets" }).first().waitFor();
  await page.screenshot({ path: join(SHOTS, "phone-buckets.png") });
  await page.setViewportSize({ width: 1280, height: 800 });
});

test("the pages can be used by keyboard, and a session that was ended shows the gate", async () => {
  await page.goto(url(""));
  await page.getByRole("heading", { name: "Overview" }).waitFor();
  await page.keyboard.press("Tab");
  assert.equal(await page.evaluate(() => document.activeElement.textContent), "Skip to the page");
  await page.goto(url("settings"));
  await page.getByRole("button", { name: "Leave" }).click();
  await page.getByRole("button", { name: "Enter" }).waitFor();
  await page.getByLabel("Password", { exact: true }).fill("not the password");
  await page.getByRole("button", { name: "Enter" }).click();
  await page.getByText("this is not the password").waitFor();
  await page.getByLabel("Password", { exact: true }).fill(PASSWORD);
  await page.getByRole("button", { name: "Enter" }).click();
  await page.getByRole("heading", { name: "Overview" }).waitFor();
  await context.clearCookies();
  await page.goto(url("keys"));
  await page.getByRole("button", { name: "Enter" }).waitFor();
});
