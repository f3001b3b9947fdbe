// Whole ways through Studio, from the first word to a program that calls.
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { modelFile } from "./servers.mjs";

async function most(here, tokens) {
  await here.settings();
  const field = here.page.getByRole("spinbutton", { name: here.t("field.maxTokens"), exact: true });
  await field.fill(String(tokens));
  await field.press("Enter");
}

export async function a_prompt_is_compared_between_two_models_saved_and_run_as_code(here, world, Server) {
  const server = await new Server(here.saem, ["--model", modelFile("gemma3-270m.gguf")]).start();
  const there = await world(server);
  const { page, t, button, field, faults, context } = there;
  try {
    await there.go();
    await button("mode.text").click();
    await button("kind.once").click();
    await most(there, 8);
    await field("text.prompt").fill("A short sentence about {{낱말}}:");
    await page.getByLabel("낱말", { exact: true }).fill("샘물".normalize("NFD"));
    await button("compare.open").click();
    const column = (name) => page.getByRole("region", { name: t("compare.variant", { name }), exact: true });
    await column("B").getByLabel(t("engine.label"), { exact: true }).selectOption("gemma3-270m");
    const asked = [];
    page.on("request", (request) => request.url().endsWith("/v1/completions") && asked.push(request.postDataJSON()));
    await button("action.run").click();
    await page.waitForFunction(() => document.querySelectorAll(".variant .facts span:nth-child(2)").length === 2);
    assert.deepEqual(asked.map((body) => [body.model, body.prompt]), [["smollm2-135m", "A short sentence about 샘물:"], ["gemma3-270m", "A short sentence about 샘물:"]]);
    await there.look("flow-compare");
    await page.getByLabel(t("playground.name")).fill("두 모델");
    await button("project.save").click();
    await page.getByText(t("project.current", { version: 1 }), { exact: true }).waitFor();
    await button("code.open").click();
    await button("action.copy").click();
    const code = await page.evaluate(() => navigator.clipboard.readText());
    const ran = spawnSync("bash", ["-ec", code], { encoding: "utf8" });
    assert.equal(ran.status, 0, ran.stderr);
    assert.ok(JSON.parse(ran.stdout).choices[0].text.length > 0, ran.stdout);
    // What was saved opens again with both.
    await page.goto("about:blank");
    await page.goto(`${server.url}/#/projects`);
    await page.getByRole("link", { name: "두 모델" }).click();
    await column("B").waitFor();
    assert.equal(await column("B").getByLabel(t("engine.label"), { exact: true }).inputValue(), "gemma3-270m");
    assert.equal(await page.getByLabel("낱말", { exact: true }).inputValue().then((text) => text.normalize("NFC")), "샘물");
    assert.deepEqual(faults, []);
  } finally {
    await context.close();
    await server.close();
  }
}
a_prompt_is_compared_between_two_models_saved_and_run_as_code.settings = 2;

/** Templates by their places: what is written where, and what a program sends. */
const KINDS = [
  { name: "sentiment", place: 0 },
  { name: "dialogue", place: 2, message: "배송은 얼마나 걸리나요?", call: { messages: [{ role: "user", content: "반품이 되나요?" }] } },
  { name: "summary", place: 4, values: ["샘은 땅에서 물이 솟는 곳이다. 마을 사람들은 샘에서 물을 길었다."] },
  { name: "question", place: 5, values: ["샘은 땅에서 물이 솟는 곳이다.", "샘은 무엇인가?"] },
];

export async function templates_become_apps_with_limits_that_programs_call(here) {
  const { page, t, button, field } = here;
  for (const { name, place, message, values = [], call } of KINDS) {
    await here.go();
    await button("templates.open").click();
    await page.locator(".templates button").nth(place).click();
    await page.waitForFunction(() => !document.querySelector("dialog[open]"));
    await most(here, 12);
    const boxes = page.locator(".variables textarea");
    assert.equal(await boxes.count(), values.length, name);
    for (const [at, value] of values.entries()) await boxes.nth(at).fill(value);
    if (message) await field("chat.message").fill(message);
    const chats = await button("action.send").count() > 0;
    await button(chats ? "action.send" : "action.run").click();
    await page.waitForSelector(".facts span:nth-child(2)");
    await page.waitForSelector("button.primary:not(.stop)");
    assert.ok((await page.locator(".turn.assistant .said, .answers .answer").first().textContent()).length > 0, name);
    // What was tried is not part of the app.
    if (chats) await button("action.undo").click();
    if (message) await field("chat.message").fill("");
    await page.getByLabel(t("playground.name")).fill(`${name} ${here.language} ${here.size}`);
    await button("project.save").click();
    await page.waitForFunction(() => location.hash.length > 15);
    await page.getByRole("link", { name: t("apps.publish"), exact: true }).click();
    await field("apps.requests").fill("30");
    await field("apps.tokens").fill("20000");
    await button("apps.publish").click();
    const key = await page.getByTestId("app-key").textContent();
    const shown = await page.locator("pre.code").textContent();
    const address = /https?:\/\/\S+\/run/.exec(shown)[0];
    const variables = JSON.parse(/-d '([^]*)'/.exec(shown)[1]).variables;
    const answer = await here.context.request.post(address, { headers: { authorization: `Bearer ${key}` }, data: { variables, ...call } });
    assert.equal(answer.status(), 200, `${name}: ${await answer.text()}`);
    assert.ok((await answer.json()).output.length > 0, name);
    await page.goto("about:blank");
    const listed = await (await here.context.request.get(`${here.server.url}/api/studio/apps`)).json();
    assert.deepEqual(listed.apps[0].limits, { requests_per_minute: 30, tokens_per_minute: 20000 });
  }
}
templates_become_apps_with_limits_that_programs_call.settings = 2;
