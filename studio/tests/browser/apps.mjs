// Apps: a planner publishes, a program calls.
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";

export async function a_prompt_becomes_an_app_that_programs_call(here) {
  const { page, t, button, field } = here;
  await here.go();
  await button("mode.text").click();
  await button("kind.once").click();
  await field("text.prompt").fill("A short note about {{thing}}:");
  await here.settings();
  const most = page.getByRole("spinbutton", { name: t("field.maxTokens"), exact: true });
  await most.fill("12");
  await most.press("Enter");
  await page.getByLabel(t("playground.name")).fill(`메모 ${here.language} ${here.size}`);
  await button("project.save").click();
  await page.waitForFunction(() => location.hash.length > 15);
  await page.getByRole("link", { name: t("apps.publish"), exact: true }).click();
  await field("apps.requests").fill("30");
  await page.getByLabel(t("apps.keepCalls")).check();
  await here.look("publish");
  await button("apps.publish").click();
  const key = await page.getByTestId("app-key").textContent();
  assert.match(key, /^saem_/);
  await here.look("published");
  for (const [language, program, ...words] of [["curl", "bash", "-ec"], ["Python", "python3", "-c"], ["JavaScript", process.execPath, "-e"]]) {
    await page.getByRole("button", { name: language, exact: true }).click();
    await button("code.copy").click();
    const code = await page.evaluate(() => navigator.clipboard.readText());
    const ran = spawnSync(program, [...words, code], { encoding: "utf8" });
    assert.equal(ran.status, 0, `${language}: ${ran.stderr}`);
    assert.ok(ran.stdout.trim().length > 0);
    assert.ok(!ran.stdout.includes('"error"'), ran.stdout);
  }
  await page.locator("main a[href^='#/apps/']").last().click();
  await page.getByTestId("app-stage").waitFor();
  await page.locator(".calls tbody tr").nth(2).waitFor();
  // The three calls stand on the chart, all on its last day.
  const chart = page.getByRole("img", { name: t("usage.chart", { days: 30, requests: 3 }), exact: true });
  await chart.waitFor();
  const bars = await chart.locator("rect").evaluateAll((all) => all.map((bar) => Number(bar.getAttribute("height"))));
  assert.equal(bars.length, 30);
  assert.ok(bars.at(-1) > 0 && bars.slice(0, -1).every((height) => height === 0), bars.join());
  await here.look("app");
  await button("apps.toService").click();
  await page.waitForFunction((stage) => document.querySelector("[data-testid=app-stage]")?.textContent === stage, t("apps.service"));
  const fresh = await page.getByTestId("app-key").textContent();
  assert.notEqual(fresh, key);
  const call = async (bearer) => (await here.context.request.post(`${here.server.url}${await page.locator(".page-head .facts span").last().textContent()}`, { headers: { authorization: `Bearer ${bearer}` }, data: { variables: { thing: "샘" } } })).status();
  assert.deepEqual([await call(key), await call(fresh)], [401, 200]);
}
a_prompt_becomes_an_app_that_programs_call.settings = 2;
