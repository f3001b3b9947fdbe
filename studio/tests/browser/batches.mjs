// A table through a prompt.
import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, writeFileSync } from "node:fs";
import os from "node:os";
import path from "node:path";

function table(rows) {
  const file = path.join(mkdtempSync(path.join(os.tmpdir(), "saem-batch-")), "후기.csv");
  writeFileSync(file, rows.map((row) => row.join(",")).join("\n"));
  return file;
}

async function project(here, prompt, name) {
  const { page, t, button, field } = here;
  await here.go();
  await button("mode.text").click();
  await button("kind.once").click();
  await field("text.prompt").fill(prompt);
  await here.settings();
  const most = page.getByRole("spinbutton", { name: t("field.maxTokens"), exact: true });
  await most.fill("24");
  await most.press("Enter");
  await page.getByLabel(t("playground.name")).fill(name);
  await button("project.save").click();
  await page.waitForFunction(() => location.hash.length > 15);
}

async function upload(here, file) {
  const { page, button } = here;
  await page.goto(`${here.server.url}/#/batches`);
  const [chooser] = await Promise.all([page.waitForEvent("filechooser"), button("batches.upload").click()]);
  await chooser.setFiles(file);
  await page.waitForFunction(() => /#\/batches\/\w+$/.test(location.hash));
}

export async function a_table_is_answered_scored_and_downloaded(here) {
  const { page, t, button, field } = here;
  await project(here, "Review: {{review}}\nMood:", "batch");
  const reviews = ["great", "awful", "lovely", "broken", "nice"];
  await upload(here, table([["review", "label"], ...reviews.map((text, at) => [text, at % 2 ? "negative" : "positive"])]));
  await field("batches.choices").fill("positive, negative");
  await field("batches.gold").selectOption("label");
  await here.look("batch-start");
  await button("batches.start", { count: 5 }).click();
  await page.waitForFunction((done) => document.querySelector("[data-testid=batch-state]")?.textContent === done, t("batches.done"));
  await page.locator(".score").waitFor();
  await page.waitForFunction(() => [...document.querySelectorAll(".batch-rows .said")].filter((cell) => cell.textContent !== "").length === 5);
  const answers = await page.locator(".batch-rows .said").allTextContents();
  assert.equal(answers.length, 5);
  assert.ok(answers.every((answer) => ["positive", "negative"].includes(answer.trim())), answers.join());
  const counts = (await page.locator(".score .similarity td").allTextContents()).map(Number);
  assert.equal(counts.reduce((sum, count) => sum + count, 0), 5);
  const right = await page.locator(".batch-rows .right").count();
  assert.equal(await page.locator(".score .figures dd").first().textContent(), `${right * 20}%`, "each row is marked, and the score is their share");
  await here.look("batch-score");
  const [download] = await Promise.all([page.waitForEvent("download"), page.getByRole("button", { name: "CSV", exact: true }).click()]);
  const lines = readFileSync(await download.path(), "utf8").trim().split(/\r?\n/);
  assert.equal(lines.length, 6);
  assert.match(lines[0], /output.*correct/);
  assert.equal(lines.filter((line) => line.endsWith(",true")).length, right);
}
a_table_is_answered_scored_and_downloaded.settings = 2;

export async function a_batch_goes_on_after_a_restart_of_the_server(here, world, Server) {
  const server = await new Server(here.saem).start();
  const there = await world(server);
  const { page, t, button, faults, context } = there;
  try {
    await project(there, "A sentence about {{thing}}:", "restart");
    await upload(there, table([["thing"], ...Array.from({ length: 40 }, (_, at) => [`number ${at}`])]));
    await button("batches.start", { count: 40 }).click();
    await page.waitForFunction(() => document.querySelector("progress")?.value > 2);
    await server.stop();
    await page.getByText(t("error.unreachable")).waitFor();
    await server.start();
    await page.waitForFunction((done) => document.querySelector("[data-testid=batch-state]")?.textContent === done, t("batches.done"), { timeout: 90_000 });
    assert.equal(await page.locator("progress").evaluate((meter) => meter.value), 40);
    assert.deepEqual(faults, []);
  } finally {
    await context.close();
    await server.close();
  }
}
a_batch_goes_on_after_a_restart_of_the_server.settings = 2;

export async function a_table_goes_through_the_variants_that_are_chosen(here) {
  const { page, t, button, field } = here;
  await project(here, "Review: {{review}}\nMood:", `variants ${here.language} ${here.size}`);
  await button("compare.open").click();
  const column = (name) => page.getByRole("region", { name: t("compare.variant", { name }), exact: true });
  await column("B").getByLabel(t("text.prompt"), { exact: true }).fill("Is this {{word}} good or bad? {{review}}\nIt is");
  await button("project.save").click();
  await page.getByText(t("project.current", { version: 2 }), { exact: true }).waitFor();
  const rows = [["review", "word", "label"], ["great", "thing", "positive"], ["awful", "thing", "negative"], ["lovely", "thing", "positive"]];
  const done = () => page.waitForFunction((text) => document.querySelector("[data-testid=batch-state]")?.textContent === text, t("batches.done"));
  const way = (name) => page.getByRole("checkbox", { name: `${t("compare.variant", { name })} · smollm2-135m`, exact: true });
  // One of them: its prompt has a variable more.
  await upload(here, table(rows));
  await way("A").waitFor();
  assert.equal(await field("batches.column", { name: "word" }).count(), 0);
  await way("B").check();
  await way("A").uncheck();
  await field("batches.column", { name: "word" }).waitFor();
  await button("batches.start", { count: 3 }).click();
  await done();
  await page.locator(".page-head .facts").getByText(t("compare.variant", { name: "B" }), { exact: true }).waitFor();
  // Both, beside each other, each with its score.
  await upload(here, table(rows));
  await way("B").check();
  await field("batches.choices").fill("positive, negative");
  await field("batches.gold").selectOption("label");
  await here.look("batch-variants");
  await button("batches.start", { count: 3 }).click();
  await done();
  await page.locator(".variant-scores tbody tr").nth(1).waitFor();
  await page.waitForFunction(() => [...document.querySelectorAll(".batch-rows .said")].filter((cell) => cell.textContent !== "").length === 6);
  const answers = await page.locator(".batch-rows .said").allTextContents();
  assert.ok(answers.every((answer) => ["positive", "negative"].includes(answer.trim())), answers.join());
  await page.getByRole("region", { name: t("score.variants"), exact: true }).getByRole("button", { name: t("compare.variant", { name: "B" }), exact: true }).click();
  await here.look("batch-variants-score");
  const [download] = await Promise.all([page.waitForEvent("download"), page.getByRole("button", { name: "CSV", exact: true }).click()]);
  const lines = readFileSync(await download.path(), "utf8").trim().split(/\r?\n/);
  assert.match(lines[0], /output_A.*output_B/);
  assert.deepEqual([lines.length, lines[1].split(",").length], [4, 11]);
}
a_table_goes_through_the_variants_that_are_chosen.settings = 2;
