// A model learns from a dataset, really: a few steps of a small one.
import assert from "node:assert/strict";
import { file, reviews, upload } from "./tables.mjs";

/** Brings rows and opens the form of a tuning with them. */
async function begin(here, rows, epochs) {
  const { page, t } = here;
  await here.go("/#/datasets");
  await upload(here, file("후기.csv", ["document,label", ...reviews(rows).map((row) => row.join(","))].join("\n")));
  await page.getByRole("link", { name: t("datasets.tune"), exact: true }).click();
  await page.getByTestId("plan-total").waitFor();
  const set = async (name, value) => {
    const field = page.getByRole("spinbutton", { name: t(name), exact: true });
    await field.fill(String(value));
    await field.press("Enter");
  };
  await set("tuning.epochs", epochs);
  await page.locator(".steps details > summary").click();
  await set("tuning.sequence", 64);
  await set("tuning.batch", 4);
  // One thread waits for no other, however busy the machine is.
  await set("tuning.threads", 1);
  await page.waitForFunction(() => document.querySelector(".takes")?.getAttribute("aria-busy") === "false");
}

/** What every test asks for, so that a run is short. */
const SMALL = [["tuning.epochs", 1], ["tuning.sequence", 64], ["tuning.batch", 4], ["tuning.threads", 1]];

/** Chooses how it learns, and waits until the plan has followed. */
async function choose({ page }, method) {
  const total = await page.getByTestId("plan-total").textContent();
  await page.locator(`input[value=${method}]`).check();
  await page.waitForFunction((before) => document.querySelector("[data-testid=plan-total]")?.textContent !== before, total);
}

const reach = (page, text, timeout = 240_000) =>
  page.waitForFunction((wanted) => document.querySelector("[data-testid=tuning-state]")?.textContent === wanted, text, { timeout });
const step = (page) => page.locator("progress").evaluate((meter) => meter.value);

export async function a_model_learns_is_compared_and_published(here) {
  const { page, t, button, field } = here;
  await begin(here, 24, 1);
  // The text's column is asked and the label's answered; the first row shows both.
  const example = await page.locator(".example-row").textContent();
  assert.match(example, /배송이 빨라요 0[^]*긍정/);
  assert.ok((await page.locator(".takes .bars tbody tr").count()) >= 5);
  if (!here.wide) await choose(here, "dora");
  await here.look("tuning-form");
  await button("tuning.start").click();
  await page.waitForFunction(() => /#\/tunings\/\w{12}$/.test(location.hash));
  await reach(page, t("tuning.done"));
  await page.locator(".line-chart .main").waitFor();
  await page.locator(".training .twin > summary").click();
  const losses = (await page.locator(".training tbody tr td:nth-child(2)").allTextContents()).map(Number);
  assert.ok(losses.length >= 4 && losses.at(-1) < losses[0], `the loss falls: ${losses}`);
  await page.locator(".training .twin > summary").click();
  await page.getByRole("button", { name: t("compare.start", { count: 2 }), exact: true }).click();
  await page.locator(".compared tbody tr").nth(1).waitFor();
  const answers = await page.locator(".compared tbody td:nth-child(4) .said").allTextContents();
  assert.ok(answers.every((answer) => ["긍정", "부정"].includes(answer)), answers.join());
  await page.getByTestId("compare-score").waitFor();
  await here.look("tuning-done");
  const name = `mood-${here.language}`;
  await field("tuning.modelName").fill(name);
  await button("tuning.publishApp").click();
  const key = await page.getByTestId("app-key").textContent();
  const model = await page.getByTestId("tuned-model").textContent();
  assert.match(model, new RegExp(`:${name}$`));
  const listed = await (await here.context.request.get(`${here.server.url}/v1/models`)).json();
  assert.ok(listed.data.some((each) => each.id === model));
  const url = await page.evaluate(() => /https?:\/\/\S+\/run/.exec(document.querySelector("pre.code").textContent)[0]);
  const answer = await here.context.request.post(url, { headers: { authorization: `Bearer ${key}` }, data: { variables: { document: "정말 맛있어요" } } });
  assert.equal(answer.status(), 200);
  assert.ok(["긍정", "부정"].includes((await answer.json()).output.trim()));
  await here.look("tuning-published");
}
a_model_learns_is_compared_and_published.settings = 2;

export async function a_tuning_is_stopped_and_goes_on_after_a_restart(here, world, Server) {
  const server = await new Server(here.saem).start();
  const there = await world(server);
  const { page, t, button, faults, context } = there;
  try {
    await begin(there, 24, 4);
    await button("tuning.start").click();
    await page.waitForFunction(() => document.querySelector("progress")?.value > 1, undefined, { timeout: 120_000 });
    await button("action.stop").click();
    await reach(page, t("tuning.stopped"));
    const stopped = await step(page);
    await button("tuning.resume").click();
    await page.waitForFunction((before) => document.querySelector("progress")?.value > before, stopped, { timeout: 120_000 });
    await server.stop();
    await page.getByText(t("error.unreachable")).waitFor();
    await server.start();
    await page.waitForFunction((before) => document.querySelector("progress")?.value > before + 2, stopped, { timeout: 180_000 });
    const shown = (await page.locator(".training .twin tbody tr td:first-child").allTextContents()).map(Number);
    assert.deepEqual(shown, [...new Set(shown)].sort((a, b) => a - b), "each step once, in order");
    assert.deepEqual(faults, []);
  } finally {
    await context.close();
    await server.close();
  }
}

export async function a_prompt_is_learnt_and_is_there_again_after_a_restart(here, world, Server) {
  const server = await new Server(here.saem).start();
  const there = await world(server);
  const { page, t, button, field, faults, context } = there;
  try {
    await begin(there, 24, 1);
    await page.locator(`input[value=${there.wide ? "p-tuning" : "prefix"}]`).check();
    const tokens = page.getByRole("spinbutton", { name: t("tuning.virtualTokens"), exact: true });
    await tokens.fill("4");
    await tokens.press("Enter");
    await page.waitForFunction(() => document.querySelector(".takes")?.getAttribute("aria-busy") === "false");
    await there.look("tuning-prompt");
    await button("tuning.start").click();
    await page.waitForFunction(() => /#\/tunings\/\w{12}$/.test(location.hash));
    await reach(page, t("tuning.done"));
    assert.ok((await page.locator(".training .twin tbody tr").count()) >= 4);
    await field("tuning.modelName").fill("learnt");
    await button("tuning.serveOnly").click();
    const model = await page.getByTestId("tuned-model").textContent();
    const ask = async () => {
      const answer = await context.request.post(`${server.url}/v1/completions`, { data: { model, prompt: "배송이 빨라요", max_tokens: 8, temperature: 0 } });
      return [answer.status(), (await answer.json()).choices?.[0].text];
    };
    const before = await ask();
    assert.equal(before[0], 200);
    await server.stop();
    await server.start();
    // It is served a moment after the others.
    await page.waitForFunction(async (name) => (await (await fetch("/v1/models")).json()).data?.some((each) => each.id === name), model, { timeout: 60_000, polling: 200 });
    assert.deepEqual(await ask(), before, "it answers as it did before");
    await there.go("/#/playground");
    await there.settings();
    const engines = await page.getByLabel(t("engine.label"), { exact: true }).locator("option").allTextContents();
    assert.ok(engines.some((each) => each.includes(":learnt")), engines.join());
    assert.deepEqual(faults, []);
  } finally {
    await context.close();
    await server.close();
  }
}
// A LoRA is learnt in the other two settings.
a_prompt_is_learnt_and_is_there_again_after_a_restart.settings = [2, 3];

export async function the_better_of_two_answers_is_learnt(here) {
  const { page, t, button } = here;
  await here.go("/#/datasets");
  const rows = reviews(24).map(([text, label]) => [text, label, label === "긍정" ? "부정" : "긍정"].join(","));
  await upload(here, file("pairs.csv", ["prompt,chosen,rejected", ...rows].join("\n")));
  await page.getByRole("link", { name: t("datasets.tune"), exact: true }).click();
  await page.getByTestId("plan-total").waitFor();
  await page.locator("input[value=dpo]").check();
  await page.locator(".steps details > summary").click();
  for (const [name, value] of SMALL) {
    const field = page.getByRole("spinbutton", { name: t(name), exact: true });
    await field.fill(String(value));
    await field.press("Enter");
  }
  assert.match(await page.locator(".example-row").textContent(), /배송이 빨라요 0\n?긍정\n부정/);
  await page.waitForFunction(() => document.querySelector(".takes")?.getAttribute("aria-busy") === "false");
  assert.equal(await page.locator(".takes [role=alert]").count(), 0);
  await here.look("tuning-pairs");
  await button("tuning.start").click();
  await page.waitForFunction(() => /#\/tunings\/\w{12}$/.test(location.hash));
  // A step asks both models for both answers: the first is enough.
  await page.waitForFunction(() => document.querySelector("progress")?.value >= 1, undefined, { timeout: 120_000 });
  await button("action.stop").click();
  await reach(page, t("tuning.stopped"));
}
the_better_of_two_answers_is_learnt.settings = [1];

export async function labels_are_told_by_a_head(here) {
  const { page, t, button } = here;
  await begin(here, 24, 1);
  await choose(here, "classifier");
  // Nothing is answered in words: the label itself is learnt, and there is no learning without one.
  assert.equal(await here.field("tuning.answer").count(), 0);
  const columns = await here.field("tuning.label").locator("option").allTextContents();
  assert.deepEqual(columns, ["label"]);
  await button("tuning.start").click();
  await page.waitForFunction(() => /#\/tunings\/\w{12}$/.test(location.hash));
  await reach(page, t("tuning.done"));
  await page.getByText(t("tuning.validationAccuracy"), { exact: true }).first().waitFor();
  await page.getByText("AutoModelForSequenceClassification").waitFor();
  await page.getByRole("button", { name: t("compare.start", { count: 2 }), exact: true }).click();
  await page.locator(".compared tbody tr").nth(1).waitFor();
  const answers = await page.locator(".compared tbody td:nth-child(n+3) .said").allTextContents();
  assert.ok(answers.length === 4 && answers.every((answer) => ["긍정", "부정"].includes(answer)), answers.join());
  await page.getByTestId("compare-score").waitFor();
  await here.field("tuning.modelName").fill("head");
  await button("tuning.publishApp").click();
  const key = await page.getByTestId("app-key").textContent();
  const url = await page.evaluate(() => /https?:\/\/\S+\/run/.exec(document.querySelector("pre.code").textContent)[0]);
  const run = { headers: { authorization: `Bearer ${key}` }, data: { variables: { document: "정말 맛있어요" } } };
  const answer = await here.context.request.post(url, run);
  assert.equal(answer.status(), 200);
  const told = await answer.json();
  assert.ok(["긍정", "부정"].includes(told.output) && told.usage.completion_tokens === 1, JSON.stringify(told));
  // Beside its base, with how sure it is; and it writes nothing that it did not learn to tell.
  const model = await page.getByTestId("tuned-model").textContent();
  const ask = async (more) => {
    const reply = await here.context.request.post(`${here.server.url}/v1/completions`, { data: { model, prompt: "정말 맛있어요", ...more } });
    return [reply.status(), await reply.json()];
  };
  const [status, completion] = await ask({ logprobs: 5 });
  assert.deepEqual([status, completion.choices[0].finish_reason, completion.choices[0].logprobs.tokens.length], [200, "stop", 1]);
  const sure = Object.values(completion.choices[0].logprobs.top_logprobs[0]).map(Math.exp);
  assert.ok(sure.length === 2 && Math.abs(sure[0] + sure[1] - 1) < 1e-4, sure.join());
  const [refused, why] = await ask({ logit_bias: { 5: 1 } });
  assert.deepEqual([refused, why.error.param], [400, "logit_bias"]);
  await here.look("tuning-classifier");
}
labels_are_told_by_a_head.settings = [2];

export async function a_whole_model_is_tuned_served_and_compared(here) {
  const { page, t, button, field } = here;
  await begin(here, 24, 0.5);
  await choose(here, "full");
  await button("tuning.start").click();
  await page.waitForFunction(() => /#\/tunings\/\w{12}$/.test(location.hash));
  await reach(page, t("tuning.done"));
  // What is a model of its own is compared once it is served.
  assert.equal(await page.locator("#compare-title").count(), 0);
  await field("tuning.modelName").fill("whole");
  await button("tuning.serveOnly").click();
  const model = await page.getByTestId("tuned-model").textContent();
  const listed = async () => (await (await here.context.request.get(`${here.server.url}/v1/models`)).json()).data.map((each) => each.id);
  assert.ok((await listed()).includes(model), model);
  await page.getByRole("button", { name: t("compare.start", { count: 2 }), exact: true }).click();
  await page.locator(".compared tbody tr").nth(1).waitFor();
  await here.look("tuning-whole");
  await button("tuning.withdraw").click();
  await field("tuning.modelName").waitFor();
  assert.ok(!(await listed()).includes(model));
}
a_whole_model_is_tuned_served_and_compared.settings = [3];
