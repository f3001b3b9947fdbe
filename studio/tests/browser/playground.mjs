// The playground, flow by flow. Names are sentences; `settings` says in how many of the four settings a test runs.
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, writeFileSync } from "node:fs";
import os from "node:os";
import path from "node:path";

const LONG = "Write a long story about a river, a bridge and a ferryman.";

async function settled(page) {
  await page.waitForSelector(".facts span:nth-child(2)");
  await page.waitForSelector("button.primary:not(.stop)");
}

async function setNumber(here, key, value) {
  await here.settings();
  const field = here.page.getByRole("spinbutton", { name: here.t(key), exact: true });
  await field.fill(String(value));
  await field.press("Enter");
}

export async function a_message_is_answered_and_counted_as_the_server_does(here) {
  const { page, t, button, field } = here;
  await here.go();
  await here.look("chat-empty");
  await field("chat.system").fill("You answer in one short sentence.");
  await field("chat.message").fill("What is the capital of France?");
  const counter = page.getByTestId("counter");
  await page.waitForFunction(() => /^[1-9]\d* \/ 2,048$/.test(document.querySelector("[data-testid=counter]")?.textContent ?? ""));
  const counted = Number((await counter.textContent()).split(" ")[0]);
  await field("chat.message").press("Enter");
  await settled(page);
  const facts = await page.locator(".facts").textContent();
  assert.ok(facts.startsWith(`${counted} + `), `counted ${counted}, and the server says ${facts}`);
  assert.match(facts, /[\d.]+/);
  assert.match(await page.locator(".turn.assistant .said").textContent(), /Paris/);
  await page.waitForFunction((done) => document.querySelector("[role=status]").textContent.includes(done), t("run.done"));
  await here.look("chat-answer");
  assert.equal(await page.evaluate(() => document.activeElement.classList.contains("message")), true, "one can go on writing");
}
a_message_is_answered_and_counted_as_the_server_does.settings = 4;

export async function one_Enter_sends_one_message_while_Hangul_is_composed({ page, field, go }) {
  await go();
  const message = field("chat.message");
  await message.focus();
  // What Chromium tells while 2-beolsik composes the last syllable of 안녕하세요 and Enter is pressed.
  const replay = (element, [committed, syllable, last]) => {
    const fire = (kind, data) => element.dispatchEvent(new CompositionEvent(kind, { data, bubbles: true }));
    const put = (text) => {
      Object.getOwnPropertyDescriptor(HTMLTextAreaElement.prototype, "value").set.call(element, text);
      element.dispatchEvent(new InputEvent("input", { bubbles: true, isComposing: true }));
    };
    put(committed);
    fire("compositionstart", "");
    for (const data of [syllable, last]) {
      fire("compositionupdate", data);
      put(committed + data);
    }
    const key = new KeyboardEvent("keydown", { key: "Enter", keyCode: 229, isComposing: true, bubbles: true, cancelable: true });
    element.dispatchEvent(key);
    put(committed + last);
    fire("compositionend", last);
    return key.defaultPrevented;
  };
  assert.equal(await message.evaluate(replay, ["안녕하세", "ㅇ", "요"]), true, "the line feed is not written");
  await page.waitForSelector(".turn.user");
  await settled(page);
  assert.deepEqual(await page.locator(".turn.user .said").allTextContents(), ["안녕하세요"]);
  assert.equal(await message.inputValue(), "");
  // An Enter that chooses among the candidates of another input method sends nothing.
  assert.equal(await message.evaluate(replay, ["", "ni", "你"]), false);
  await page.waitForTimeout(100);
  assert.equal(await page.locator(".turn.user").count(), 1);
  assert.equal(await message.inputValue(), "你");
}

one_Enter_sends_one_message_while_Hangul_is_composed.settings = 2;

export async function Escape_stops_an_answer_and_what_came_stays(here) {
  const { page, t, field } = here;
  await here.go();
  await setNumber(here, "field.maxTokens", 1000);
  await field("chat.message").fill(LONG);
  await field("chat.message").press("Enter");
  await page.waitForFunction(() => (document.querySelector(".incoming .answer")?.textContent.length ?? 0) > 60);
  await page.keyboard.press("Escape");
  await page.getByText(t("run.stopped"), { exact: true }).first().waitFor();
  assert.ok((await page.locator(".turn.assistant .said").textContent()).length > 60);
  // The server hears of it at its next token.
  await page.waitForFunction(async () => {
    const running = (await (await fetch("/metrics")).text()).match(/^saem_\w*running\w*(?:\{[^}]*\})? (\d+)/m);
    return running?.[1] === "0";
  }, undefined, { timeout: 5000 });
}
Escape_stops_an_answer_and_what_came_stays.settings = 2;

export async function a_reload_in_the_middle_of_an_answer_loses_nothing(here) {
  const { page, t, field } = here;
  await here.go();
  await setNumber(here, "field.maxTokens", 1000);
  await here.page.getByLabel(t("playground.name")).fill("강 이야기");
  await field("chat.message").fill(LONG);
  await field("chat.message").press("Enter");
  await page.waitForFunction(() => (document.querySelector(".incoming .answer")?.textContent.length ?? 0) > 60);
  const seen = (await page.locator(".incoming .answer").textContent()).trim();
  await page.reload();
  await page.waitForSelector(".turn.assistant");
  assert.ok((await page.locator(".turn.assistant .said").textContent()).startsWith(seen.slice(0, 50)));
  assert.deepEqual(await page.locator(".turn.user .said").allTextContents(), [LONG]);
  assert.equal(await page.getByLabel(t("playground.name")).inputValue(), "강 이야기");
  assert.equal(await page.locator(".incoming").count(), 0, "nothing runs");
}

a_reload_in_the_middle_of_an_answer_loses_nothing.settings = 2;

export async function text_rolls_on_and_comes_back(here) {
  const { page, t, button, field } = here;
  await here.go();
  await button("mode.text").click();
  await setNumber(here, "field.maxTokens", 12);
  await field("field.restart").fill("\nQ:");
  const prompt = field("text.prompt");
  await prompt.fill("Once upon a time");
  await button("action.run").click();
  await settled(page);
  const rolled = await prompt.inputValue();
  assert.ok(rolled.startsWith("Once upon a time") && rolled.endsWith("\nQ:") && rolled.length > 25, rolled);
  await here.look("rolling");
  await button("action.undo").click();
  assert.equal(await prompt.inputValue(), "Once upon a time");
  await button("kind.once").click();
  await page.keyboard.press("Control+Enter");
  await settled(page);
  assert.equal(await prompt.inputValue(), "Once upon a time");
  assert.ok((await page.locator(".answers .answer").textContent()).length > 5);
  assert.equal(await page.getByRole("heading", { name: t("answer.title"), exact: true }).count(), 1);
}
text_rolls_on_and_comes_back.settings = 2;

export async function several_candidates_lie_side_by_side(here) {
  const { page, button, field } = here;
  await here.go();
  await button("mode.text").click();
  await button("kind.multiple").click();
  await setNumber(here, "field.maxTokens", 12);
  await here.page.getByRole("button", { name: here.t("preset.creativity"), exact: true }).click();
  assert.equal(await page.getByRole("spinbutton", { name: here.t("field.temperature"), exact: true }).inputValue(), "0.9");
  await field("text.prompt").fill("The best name for a bakery is");
  await button("action.run").click();
  await settled(page);
  const texts = await page.locator(".answers .card .answer").allTextContents();
  assert.equal(texts.length, 3);
  assert.ok(texts.every((text) => text.trim() !== "") && new Set(texts).size > 1, texts.join("|"));
  const boxes = await Promise.all((await page.locator(".answers .card").all()).map((card) => card.boundingBox()));
  assert.equal(boxes[0].y === boxes[1].y, here.wide, "side by side where there is room");
  await here.look("multiple");
}
several_candidates_lie_side_by_side.settings = 2;

export async function examples_become_a_prompt_and_travel_as_CSV(here) {
  const { page, t, button, field } = here;
  await here.go();
  await button("templates.open").click();
  await here.look("templates");
  await page.locator(".templates button").first().click();
  assert.equal(await page.locator(".rows tbody tr").count(), 4);
  const [download] = await Promise.all([page.waitForEvent("download"), button("examples.export").click()]);
  const csv = readFileSync(await download.path(), "utf8");
  assert.equal(csv.trim().split("\r\n").length, 5);
  const file = path.join(mkdtempSync(path.join(os.tmpdir(), "saem-csv-")), "예시.csv");
  writeFileSync(file, `${csv}"${"두 줄\n문장, 쉼표".normalize("NFD")}",긍정\r\n`);
  for (let row = 4; row > 0; row -= 1) await button("examples.removeRow", { row }).click();
  const [chooser] = await Promise.all([page.waitForEvent("filechooser"), button("examples.import").click()]);
  await chooser.setFiles(file);
  await page.waitForFunction(() => document.querySelectorAll(".rows tbody tr").length === 5);
  assert.equal(await field("examples.cell", { column: t("examples.input"), row: 5 }).inputValue(), "두 줄\n문장, 쉼표");
  await page.getByText(t("examples.preview")).click();
  assert.match(await page.locator(".twin pre").textContent(), /\n###\n/);
  await button("action.run").click();
  await settled(page);
  assert.ok((await page.locator(".answers .answer").textContent()).length > 0);
  await here.look("examples");
}
examples_become_a_prompt_and_travel_as_CSV.settings = 2;

export async function variables_make_boxes(here) {
  const { page, field, button } = here;
  await here.go();
  await field("chat.message").fill("Repeat the word {{낱말}} and {{ word }}.");
  await page.getByLabel("낱말", { exact: true }).fill("샘물");
  await page.getByLabel("word", { exact: true }).fill("spring");
  const [request] = await Promise.all([page.waitForRequest("**/v1/chat/completions"), button("action.send").click()]);
  assert.equal(request.postDataJSON().messages.at(-1).content, "Repeat the word 샘물 and spring.");
  await settled(page);
}

export async function up_to_four_variants_answer_the_same(here) {
  const { page, t, button, field } = here;
  await here.go();
  await setNumber(here, "field.maxTokens", 16);
  await button("compare.open").click();
  await button("compare.add").click();
  await button("compare.add").click();
  assert.equal(await page.getByRole("button", { name: t("compare.add"), exact: true }).count(), 0, "four are the most");
  const column = (name) => page.getByRole("region", { name: t("compare.variant", { name }), exact: true });
  await column("A").getByLabel(t("chat.system"), { exact: true }).fill("Answer in French.");
  await column("D").getByText(t("settings.title"), { exact: true }).click();
  await column("D").getByRole("button", { name: t("preset.creativity"), exact: true }).click();
  const asked = [];
  page.on("request", (request) => request.url().endsWith("/v1/chat/completions") && asked.push(request.postDataJSON()));
  await field("chat.message").fill("Name a colour.");
  await button("action.send").click();
  await page.waitForFunction(() => document.querySelectorAll(".variant .facts span:nth-child(2)").length === 4);
  await page.waitForSelector("button.primary:not(.stop)");
  assert.deepEqual(asked.map((body) => [body.messages.length, body.temperature]), [[2, 0.5], [1, 0.5], [1, 0.5], [1, 0.9]]);
  await here.look("compare");
  await column("B").getByRole("button", { name: t("compare.goOn") }).click();
  assert.equal(await page.locator(".turn.assistant").count(), 1);
}
up_to_four_variants_answer_the_same.settings = 2;

export async function code_runs_as_it_is_pasted(here) {
  const { page, button, field } = here;
  await here.go();
  await setNumber(here, "field.maxTokens", 8);
  await setNumber(here, "field.temperature", 0);
  await field("chat.message").fill("It's \"quoted\" \\ and 한국어.\n두 줄?");
  await button("action.send").click();
  await settled(page);
  const answer = await page.locator(".turn.assistant .said").textContent();
  await button("action.undo").click();
  await button("code.open").click();
  await here.look("code");
  const run = async (language, program, ...words) => {
    await page.getByRole("button", { name: language, exact: true }).click();
    await button("action.copy").click();
    const code = await page.evaluate(() => navigator.clipboard.readText());
    const ran = spawnSync(program, [...words, code], { encoding: "utf8" });
    assert.equal(ran.status, 0, `${language}: ${ran.stderr}`);
    return ran.stdout;
  };
  assert.equal(JSON.parse(await run("curl", "bash", "-ec")).choices[0].message.content, answer);
  assert.equal(await run("Python", "python3", "-c"), `${answer}\n`);
  assert.equal(await run("JavaScript", process.execPath, "-e"), `${answer}\n`);
  await page.keyboard.press("Escape");
  assert.equal(await page.locator("dialog").count(), 0);
}
code_runs_as_it_is_pasted.settings = 2;

export async function probabilities_are_seen_as_colours_and_as_a_table(here) {
  const { page, t, button, field } = here;
  await here.go();
  await button("mode.text").click();
  await button("kind.once").click();
  await setNumber(here, "field.maxTokens", 20);
  await here.page.getByLabel(t("probabilities.show")).check();
  await field("text.prompt").fill("샘물이 솟는 마을에");
  await button("action.run").click();
  await settled(page);
  const shown = await page.locator(".answers .tokens").textContent();
  await page.locator(".answers .twin summary").click();
  const rows = await page.locator(".twin tbody tr").count();
  assert.ok(rows > 3 && !shown.includes("\uFFFD"), shown);
  assert.equal(await page.locator(".answers .tokens .token").count(), rows);
  await here.look("probabilities");
  // The chat tells of them, too.
  await button("mode.chat").click();
  await field("chat.message").fill("안녕?");
  await button("action.send").click();
  await settled(page);
  assert.ok((await page.locator(".incoming .token").count()) > 1);
}
probabilities_are_seen_as_colours_and_as_a_table.settings = 2;

export async function stop_sequences_are_added_by_Tab_and_end_the_answer(here) {
  const { page, t, button, field } = here;
  await here.go();
  await button("mode.text").click();
  await button("kind.once").click();
  await here.settings();
  const stops = page.getByRole("textbox", { name: t("field.stop"), exact: true });
  await stops.fill("5");
  await stops.press("Tab");
  assert.ok(await stops.evaluate((element) => element === document.activeElement), "the field keeps the focus");
  await stops.fill("\\n");
  await stops.press("Tab");
  assert.deepEqual(await page.locator(".chips code").allTextContents(), ["5", "↵"]);
  await stops.press("Tab");
  assert.ok(await stops.evaluate((element) => element !== document.activeElement), "and an empty one lets go");
  await field("text.prompt").fill("1, 2, 3, 4, 5, 6, 7\n1, 2,");
  await button("action.run").click();
  await settled(page);
  assert.ok(!(await page.locator(".answers .answer").textContent()).includes("5"));
}

export async function turns_are_written_edited_and_taken_back(here) {
  const { page, t, button } = here;
  await here.go();
  await button("chat.addTurn").click();
  await page.getByLabel(t("role.user"), { exact: true }).fill("2+2?");
  await button("chat.edit", { speaker: t("role.user") }).click();
  await button("chat.answer").click();
  await settled(page);
  assert.equal(await page.locator(".turn").count(), 2);
  await button("chat.again").click();
  await settled(page);
  assert.equal(await page.locator(".turn").count(), 2);
  await button("chat.remove", { speaker: t("role.assistant") }).click();
  assert.equal(await page.locator(".turn").count(), 1);
  await button("action.undo").click();
  assert.equal(await page.locator(".turn").count(), 2);
}

export async function two_thousand_turns_scroll_and_take_a_keystroke(here) {
  const { page, field } = here;
  await here.go();
  await page.evaluate(() => {
    const parameters = { topP: 0.8, topK: 0, maxTokens: 10, temperature: 0.5, repeatPenalty: 5, seed: 0, stop: [], start: "", restart: "" };
    const turns = Array.from({ length: 2000 }, (_, at) => ({ role: at % 2 ? "assistant" : "user", content: `${at}: ${"말이 이어집니다. ".repeat(12)}` }));
    const draft = JSON.stringify({ format: 1, title: "", mode: "chat", turns, variants: [{ model: "smollm2-135m", parameters, system: "", text: "" }] });
    addEventListener("pagehide", () => sessionStorage.setItem("saem-draft", draft), { once: true });
  });
  await page.reload();
  await page.waitForFunction(() => document.querySelectorAll(".turn").length === 2000);
  const frames = await page.evaluate(() => new Promise((resolve) => {
    const times = [];
    let last = performance.now();
    const step = (now) => {
      times.push(now - last);
      last = now;
      scrollBy(0, times.length % 40 < 20 ? -700 : 650);
      if (times.length < 90) requestAnimationFrame(step);
      else resolve(times.sort((a, b) => a - b));
    };
    requestAnimationFrame(step);
  }));
  const median = frames[Math.floor(frames.length / 2)];
  assert.ok(median < 70, `a frame takes ${median} ms`);
  await field("chat.message").focus();
  const begun = Date.now();
  await page.keyboard.type("가나다라마바사아자차", { delay: 0 });
  const millis = (Date.now() - begun) / 10;
  assert.ok(millis < 100, `a keystroke takes ${millis} ms`);
  console.log(`       2,000 turns: a frame takes ${median.toFixed(0)} ms (median), a keystroke ${millis.toFixed(0)} ms`);
}
