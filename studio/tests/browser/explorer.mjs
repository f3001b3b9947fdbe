// The tools of the explorer.
import assert from "node:assert/strict";

export async function every_tool_answers_its_sample(here) {
  const { page, button } = here;
  const expected = { tokens: ".cut .piece", segmentation: ".outcome .card", summary: ".outcome .answer", sliding: ".outcome .turn", embedding: ".similarity td.amount" };
  await here.go("/#/explorer");
  for (const [name, result] of Object.entries(expected)) {
    await page.goto(`${here.server.url}/#/explorer/${name}`);
    await page.getByRole("heading", { level: 2, name: here.t(`explorer.${name}`) }).waitFor();
    await button("explorer.sample").click();
    await button("explorer.try").click();
    await page.locator(result).first().waitFor();
    await here.look(`explorer-${name}`);
  }
  const close = Number(await page.locator(".similarity tbody tr:nth-child(1) td:nth-child(3)").textContent());
  const far = Number(await page.locator(".similarity tbody tr:nth-child(1) td:nth-child(4)").textContent());
  assert.ok(close > far + 0.2, `a sentence and its translation: ${close}, another: ${far}`);
}
every_tool_answers_its_sample.settings = 2;

export async function a_window_slides_and_mistakes_are_named(here) {
  const { page, t, button, field } = here;
  await here.go("/#/explorer/sliding");
  await field("explorer.sliding.conversation").fill("system: brief\nhello");
  await button("explorer.try").click();
  await page.getByText(t("explorer.sliding.badLine", { line: 2 })).waitFor();
  const turns = Array.from({ length: 60 }, (_, at) => `${at % 2 ? "assistant" : "user"}: ${"words and more words ".repeat(12)}`);
  await field("explorer.sliding.conversation").fill(["system: brief", ...turns, "user: and now?"].join("\n"));
  await button("explorer.try").click();
  await page.locator(".outcome .turn").first().waitFor();
  const kept = await page.locator(".outcome .turn").count();
  assert.ok(kept > 5 && kept < 62, `${kept} turns`);
  assert.equal(await page.locator(".outcome .turn.system").count(), 1);
}
