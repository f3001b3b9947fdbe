// Studio in a real browser, against a real server.
//
//     node tests/browser/run.mjs <saem> <folder for screenshots> [word of a test's name]
//
// With STUDIO_DIST, pages come from that folder and not from the program: what is being worked on, without a build. With
// STUDIO_THREADS, servers compute with so many threads: one waits for no other on a machine that is busy with other things.
//
// Each test has a page of its own. Whatever a page asks of another origin, whatever it complains about and whatever a
// screen reader could not use is a failure.
import AxeBuilder from "./axe.mjs";
import assert from "node:assert/strict";
import { mkdirSync, readFileSync } from "node:fs";
import path from "node:path";
import { chromium } from "playwright-core";
import { words } from "../../tools/check-words.mjs";
import { Server } from "./servers.mjs";
import * as firstSteps from "./first-steps.mjs";
import * as flows from "./flows.mjs";
import * as playground from "./playground.mjs";
import * as explorer from "./explorer.mjs";
import * as frame from "./frame.mjs";
import * as projects from "./projects.mjs";
import * as apps from "./apps.mjs";
import * as batches from "./batches.mjs";
import * as datasets from "./datasets.mjs";
import * as tunings from "./tunings.mjs";
import * as plan from "./plan.mjs";

const [saem, folder, only = ""] = process.argv.slice(2);
mkdirSync(folder, { recursive: true });
const texts = await words();
const SIZES = { wide: { width: 1440, height: 900 }, narrow: { width: 360, height: 780 } };
const SETTINGS = [["ko", "wide", "light"], ["en", "narrow", "dark"], ["en", "wide", "dark"], ["ko", "narrow", "light"]];

const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
  // Root may not use Chromium's sandbox, and the pages are our own.
  args: ["--disable-dev-shm-usage", ...(process.getuid?.() === 0 ? ["--no-sandbox"] : [])],
});
const open = await new Server(saem).start();

/** What a test gets: a page, words, and the ways to look at it. `isNew` is a person who was never here. */
async function world(language, size, colours, server = open, { isNew = false } = {}) {
  const context = await browser.newContext({
    viewport: SIZES[size],
    locale: language === "ko" ? "ko-KR" : "en-US",
    colorScheme: colours,
    reducedMotion: "reduce",
    acceptDownloads: true,
    permissions: ["clipboard-read", "clipboard-write"],
  });
  if (!isNew) await context.addInitScript(() => { if (location.protocol === "http:") localStorage.setItem("saem-welcome", "closed"); });
  const page = await context.newPage();
  page.setDefaultTimeout(30_000);
  const faults = [];
  const dist = process.env.STUDIO_DIST;
  if (dist) await page.route(/\/(assets\/[^?]*)?(\?.*)?$/, async (route) => {
    const name = new URL(route.request().url()).pathname.replace("/assets/", "").replace("/", "") || "index.html";
    // A page that is closed meanwhile needs no answer.
    await route.fetch().then((response) => route.fulfill({ response, body: readFileSync(path.join(dist, name)) })).catch(() => {});
  });
  page.on("request", (request) => {
    const { origin, protocol } = new URL(request.url());
    if (origin !== server.url && protocol !== "blob:" && protocol !== "data:") faults.push(`a request to ${request.url()}`);
  });
  page.on("pageerror", (error) => faults.push(`an error: ${error.message}`));
  page.on("console", (message) => {
    // The browser itself notes every refusal; what it means is up to the page.
    if (message.type() === "error" && !/Failed to load resource/.test(message.text())) faults.push(`on the console: ${message.text()}`);
  });
  const t = (key, values = {}) => {
    const number = (value) => (typeof value === "number" ? new Intl.NumberFormat(language).format(value) : value);
    return texts[language][key].replace(/\{(\w+)\}/g, (whole, name) => (name in values ? number(values[name]) : whole));
  };
  return {
    page, context, t, faults, server, language, size, wide: size === "wide", saem, browser,
    button: (key, values) => page.getByRole("button", { name: t(key, values), exact: true }),
    field: (key, values) => page.getByLabel(t(key, values), { exact: true }),
    go: async (address = "/") => {
      await page.goto(server.url + address);
      await page.waitForSelector("main:not(.message)");
    },
    look: async (name) => {
      await page.screenshot({ path: path.join(folder, `${name}-${language}-${size}.png`), fullPage: true });
      const across = await page.evaluate(() => document.scrollingElement.scrollWidth - innerWidth);
      assert.ok(across <= 0, `${name} is ${across} pixels too wide`);
      const violations = await AxeBuilder(page);
      assert.deepEqual(violations, [], `${name} for everyone`);
    },
    settings: async () => {
      if (size === "narrow" && !(await page.locator(".settings-fold[open]").count())) await page.locator(".settings-fold > summary").click();
    },
  };
}

let failed = 0;
let passed = 0;
const tests = [...Object.entries(firstSteps), ...Object.entries(flows), ...Object.entries(playground), ...Object.entries(projects), ...Object.entries(batches), ...Object.entries(datasets), ...Object.entries(tunings), ...Object.entries(plan), ...Object.entries(apps), ...Object.entries(explorer), ...Object.entries(frame)];
for (const [name, test] of tests) {
  const title = name.replaceAll("_", " ");
  if (!title.includes(only)) continue;
  // In so many of the settings, or in these.
  const settings = Array.isArray(test.settings) ? test.settings.map((at) => SETTINGS[at]) : SETTINGS.slice(0, test.settings ?? 1);
  for (const [language, size, colours] of settings) {
    const begun = Date.now();
    const here = await world(language, size, colours);
    try {
      await test(here, (server, person) => world(language, size, colours, server, person), Server);
      assert.deepEqual(here.faults, []);
      passed += 1;
      console.log(`ok   ${((Date.now() - begun) / 1000).toFixed(1).padStart(5)} s  ${title} (${language}, ${size})`);
    } catch (error) {
      failed += 1;
      await here.page.screenshot({ path: path.join(folder, `FAILED-${name}-${language}-${size}.png`) }).catch(() => {});
      console.log(`FAIL ${((Date.now() - begun) / 1000).toFixed(1).padStart(5)} s  ${title} (${language}, ${size})\n${error.stack}\n${here.faults.join("\n")}`);
    }
    await here.context.close();
  }
}
await browser.close();
await open.close();
console.log(`studio in Chromium: ${passed} passed, ${failed} failed; screenshots in ${folder}`);
process.exit(failed > 0 ? 1 : 0);
