import assert from "node:assert/strict";
import { test } from "node:test";
import type { Dataset } from "../../src/api/studio";
import { duration, example, obstacle, planFor, taskOf, withMethod } from "../../src/domain/tuning";
import { smooth, ticks } from "../../src/domain/chart";

const column = (name: string, kind: "text" | "label" | "number" | "messages", labels: string[] = []) =>
  ({ name, kind, empty: 0, distinct: 9, lengths: { least: 1, median: 2, p95: 3, most: 4 }, labels: labels.map((value) => ({ value, count: 5 })) });
const dataset = (...columns: ReturnType<typeof column>[]) => ({ id: "d", name: "n", columns }) as unknown as Dataset;
const words = { task: "분류하세요.", answer: "분류:" };

test("a task is proposed that suits the columns", () => {
  const labels = planFor(dataset(column("id", "number"), column("document", "text"), column("label", "label", ["0", "1"])), words);
  assert.deepEqual([labels.prompt, labels.answer, labels.label], ["분류하세요.\n{{document}}\n분류:\n", "{{label}}", "label"]);
  assert.equal(obstacle(labels, [column("document", "text"), column("label", "label")]), null);
  const named = { ...labels, labels: { 0: "부정", 1: "긍정" } };
  assert.deepEqual(example(named, { document: "좋아요", label: "1" }), { prompt: "분류하세요.\n좋아요\n분류:\n", answer: "긍정", rejected: "" });
  const free = planFor(dataset(column("question", "text"), column("reply", "text")), words);
  assert.deepEqual([free.prompt, free.answer, free.label], ["{{question}}\n", "{{reply}}", ""]);
  const chat = planFor(dataset(column("messages", "messages"), column("n", "number")), words);
  assert.deepEqual([chat.chat, obstacle(chat, [])], ["messages", null]);
  assert.deepEqual([taskOf(chat, "d", "b").chat, taskOf(chat, "d", "b").prompt], ["messages", ""]);
});

test("what keeps a task from being begun is named", () => {
  const columns = [column("document", "text"), column("label", "label", ["0", "1"])];
  const good = planFor(dataset(...columns), words);
  assert.equal(obstacle({ ...good, prompt: "x" }, columns), "prompt");
  assert.equal(obstacle({ ...good, answer: "" }, columns), "answer");
  assert.equal(obstacle({ ...good, answer: "{{document}}" }, columns), "answer");
  assert.equal(obstacle({ ...good, prompt: "{{nothing}}" }, columns), "unknown");
  assert.equal(obstacle({ ...good, prompt: "{{document}} {{label}}" }, columns), "reveals");
  assert.equal(obstacle({ ...good, labels: { 0: "a", 1: " a" } }, columns), "words");
});

test("two answers have columns of their own, and only where the model learns which is better", () => {
  const columns = [column("rejected", "text"), column("prompt", "text"), column("chosen", "text")];
  const plan = planFor(dataset(...columns), words);
  const pairs = withMethod(plan, "dpo", dataset(...columns));
  assert.deepEqual([pairs.prompt, pairs.answer, pairs.rejected, obstacle(pairs, columns)], ["{{prompt}}\n", "{{chosen}}", "{{rejected}}", null]);
  assert.equal(obstacle({ ...pairs, rejected: pairs.answer }, columns), "rejected");
  assert.equal(withMethod(pairs, "lora", dataset(...columns)).rejected, "");
  assert.equal(obstacle(withMethod(plan, "dpo", dataset(column("a", "text"), column("b", "text"))), columns), "rejected");
});

test("a classifier learns a label and answers nothing", () => {
  const labelledRows = dataset(column("document", "text"), column("label", "label", ["0", "1"]));
  const plan = withMethod(planFor(labelledRows, words), "classifier", labelledRows);
  assert.deepEqual([obstacle(plan, labelledRows.columns), taskOf(plan, "d", "b").answer, taskOf(plan, "d", "b").label], [null, "", "label"]);
  assert.deepEqual(example(plan, { document: "좋아요", label: "1" }), { prompt: "분류하세요.\n좋아요\n분류:\n", answer: "1", rejected: "" });
  assert.equal(obstacle(withMethod(plan, "lora", labelledRows), labelledRows.columns), null);
  const free = dataset(column("question", "text"), column("reply", "text"));
  assert.equal(obstacle(withMethod(planFor(free, words), "classifier", free), free.columns), "label");
});

test("times and ticks are round", () => {
  assert.deepEqual(duration(3_725), [[1, "h"], [2, "m"]]);
  assert.deepEqual(duration(0.2), [[1, "s"]]);
  assert.deepEqual(ticks(0, 10, 4), [0, 5, 10]);
  assert.deepEqual(ticks(1.2, 2.1, 4).map((value) => value.toFixed(1)), ["1.5", "2.0"]);
  assert.deepEqual(smooth([{ x: 1, y: 2 }, { x: 2, y: 4 }]).map((point) => point.y.toFixed(2)), ["2.00", "4.00"], "a few points are the line");
  const jumps = Array.from({ length: 200 }, (_, x) => ({ x, y: x % 2 }));
  assert.ok(smooth(jumps).slice(50).every((point) => Math.abs(point.y - 0.5) < 0.1), "of many, the trembling goes");
});
