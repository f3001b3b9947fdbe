// What is around the pages: languages, colours, keys, keyboards, and how soon something is seen.
import assert from "node:assert/strict";

/** What docs/guides/studio.md promises of a first visit. */
const BUDGET = { bytes: 150 * 1024, requests: 8, firstPaint: 200, longTasks: 200 };

export async function a_first_visit_keeps_to_the_budget(here) {
  const { page } = here;
  await page.addInitScript(() => {
    globalThis.longTasks = 0;
    new PerformanceObserver((list) => list.getEntries().forEach((task) => { globalThis.longTasks += task.duration; })).observe({ type: "longtask", buffered: true });
  });
  const visits = [];
  for (let load = 0; load < 5; load += 1) {
    await here.go();
    await page.waitForFunction(() => performance.getEntriesByName("first-contentful-paint").length > 0);
    visits.push(await page.evaluate(() => {
      const loaded = [...performance.getEntriesByType("navigation"), ...performance.getEntriesByType("resource")];
      const paint = performance.getEntriesByName("first-contentful-paint")[0].startTime;
      return { paint, long: globalThis.longTasks, requests: loaded.length, bytes: loaded.reduce((sum, each) => sum + each.encodedBodySize, 0) };
    }));
  }
  const [{ requests, bytes }] = visits;
  const times = (field) => visits.map((visit) => Math.round(visit[field]));
  console.log(`       first paint ${times("paint").join(", ")} ms; long tasks ${times("long").join(", ")} ms; ${requests} requests, ${bytes} bytes`);
  // Pages from a folder come as they are.
  assert.ok(bytes > 20_000 && (process.env.STUDIO_DIST || bytes <= BUDGET.bytes), `${bytes} bytes`);
  assert.ok(requests <= BUDGET.requests, `${requests} requests`);
  // Other programs of the machine may be in the way of one visit, not of all.
  assert.ok(Math.min(...times("paint")) <= BUDGET.firstPaint, `${times("paint")} ms`);
  assert.ok(Math.min(...times("long")) <= BUDGET.longTasks, `${times("long")} ms`);
}

export async function files_are_kept_by_their_hash_and_held_to_a_policy(here) {
  const page = await here.context.request.get(`${here.server.url}/`);
  const html = await page.text();
  assert.match(page.headers()["content-security-policy"], /default-src 'none'/);
  assert.equal(page.headers()["cache-control"], "no-cache");
  for (const [, address] of html.matchAll(/(?:src|href)="([^"]+)"/g)) {
    const file = await here.context.request.get(here.server.url + address);
    assert.equal(file.status(), 200, address);
    assert.match(file.headers()["cache-control"], /immutable/);
    const again = await here.context.request.get(here.server.url + address.split("?")[0], { headers: { "if-none-match": file.headers()["etag"] } });
    assert.equal(again.status(), 304);
    assert.equal(again.headers()["cache-control"], "no-cache");
  }
  assert.equal((await here.context.request.get(`${here.server.url}/assets/nothing.js`)).status(), 404);
}

export async function language_and_colours_are_switched_and_kept(here) {
  const { page, t } = here;
  await here.go();
  assert.equal(await page.evaluate(() => document.documentElement.lang), here.language);
  const other = here.language === "ko" ? "English" : "한국어";
  await page.getByRole("button", { name: other, exact: true }).click();
  assert.equal(await page.evaluate(() => document.documentElement.lang), here.language === "ko" ? "en" : "ko");
  assert.equal(await page.getByText(t("page.explorer"), { exact: true }).count(), 0);
  const ground = () => page.evaluate(() => getComputedStyle(document.body).backgroundColor);
  const select = page.locator(".preferences select");
  await select.selectOption("light");
  const light = await ground();
  await select.selectOption("dark");
  assert.notEqual(await ground(), light);
  await page.reload();
  await page.waitForSelector("main:not(.message)");
  assert.equal(await page.evaluate(() => document.documentElement.dataset.theme), "dark");
  assert.equal(await page.getByRole("button", { name: other, exact: true }).getAttribute("aria-pressed"), "true");
}
language_and_colours_are_switched_and_kept.settings = 2;

export async function every_page_fits_a_phone_and_a_wall(here) {
  const { page } = here;
  for (const [width, height] of [[360, 640], [3840, 2160]]) {
    await page.setViewportSize({ width, height });
    for (const name of ["playground", "projects", "batches", "datasets", "tunings", "plan", "apps", "explorer"]) {
      await here.go(`/#/${name}`);
      await page.locator(`nav a[aria-current=page][href="#/${name}"]`).waitFor();
      const across = await page.evaluate(() => document.scrollingElement.scrollWidth - innerWidth);
      assert.ok(across <= 0, `${name} is ${across} pixels too wide for ${width}`);
      // Letters grow with the wall, so that it is read from where one stands.
      const letters = await page.evaluate(() => parseFloat(getComputedStyle(document.documentElement).fontSize));
      assert.ok(width === 360 ? letters === 16 : letters >= 20, `${letters} px`);
    }
  }
  await here.go("/#/playground");
  await here.look("wall");
}

export async function a_keyboard_is_enough(here) {
  const { page, t, field } = here;
  await here.go();
  await page.keyboard.press("Tab");
  assert.equal(await page.evaluate(() => document.activeElement.textContent), t("app.skip"));
  await page.keyboard.press("Enter");
  assert.equal(await page.evaluate(() => document.activeElement.id), "main");
  // Everything that can be used is reached, and shows that it is.
  const reached = new Set();
  for (let step = 0; step < 80; step += 1) {
    await page.keyboard.press("Tab");
    const [name, outlined] = await page.evaluate(() => {
      const element = document.activeElement;
      const style = getComputedStyle(element);
      const box = getComputedStyle(element.closest(".composer") ?? element);
      return [element.tagName + (element.getAttribute("aria-label") ?? element.id ?? "") + element.textContent.slice(0, 20), style.outlineStyle !== "none" || box.borderColor !== ""];
    });
    if (reached.has(name)) break;
    assert.ok(outlined, name);
    reached.add(name);
  }
  assert.ok(reached.size > 15, `${reached.size} places`);
  await field("chat.message").focus();
  await page.keyboard.type("Hello");
  await page.keyboard.press("Enter");
  await page.waitForSelector(".turn.assistant");
}

export async function a_key_is_asked_for_and_stays_in_its_tab(here, world, Server) {
  const server = await new Server(here.saem).start();
  const key = JSON.parse(server.run("key", "create", "studio", "--json")).key ?? "";
  assert.match(key, /^saem_/, "the key");
  const { page, t, field, button, faults, context, look } = await world(server);
  try {
    await page.goto(server.url);
    await page.getByRole("heading", { name: t("signIn.title") }).waitFor();
    await look("sign-in");
    await field("signIn.key").fill("saem_wrong");
    await button("signIn.enter").click();
    await page.getByText("Incorrect API key provided").waitFor();
    await field("signIn.key").fill(key);
    await button("signIn.enter").click();
    await page.waitForSelector("main.playground");
    await page.reload();
    await page.waitForSelector("main.playground");
    const kept = await page.evaluate((text) => [Object.values(sessionStorage).includes(text), JSON.stringify(localStorage).includes(text), document.cookie], key);
    assert.deepEqual(kept, [true, false, ""]);
    await field("chat.message").fill("Hello");
    await button("action.send").click();
    await page.waitForSelector(".turn.assistant");
    await button("app.signOut").click();
    await page.getByRole("heading", { name: t("signIn.title") }).waitFor();
    assert.deepEqual(faults, []);
  } finally {
    await context.close();
    await server.close();
  }
}
a_key_is_asked_for_and_stays_in_its_tab.settings = 2;
