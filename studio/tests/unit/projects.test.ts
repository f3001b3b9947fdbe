import assert from "node:assert/strict";
import { test } from "node:test";
import { difference, excerpt } from "../../src/domain/difference";
import { newDocument, newVariant } from "../../src/domain/document";
import { essence, fromServer, toServer } from "../../src/domain/exchange";

test("a document survives the way to the server and back", () => {
  const document = newDocument("m");
  document.title = "이름";
  document.mode = "text";
  document.kind = "examples";
  document.variables = { 후기: "좋다" };
  document.choices = ["긍정", "부정"];
  document.compare = true;
  document.examples = { inputPrefix: "문장: ", outputPrefix: "감정: ", separator: "\n---\n", rows: [{ id: 1, input: "a", output: "b" }], query: "{{후기}}" };
  document.variants[0]!.parameters.stop = ["\n"];
  document.variants.push({ ...newVariant("n"), text: "다른 지시" });
  const back = fromServer(toServer(document), "이름");
  assert.equal(essence(back), essence(document));
  assert.deepEqual([back.title, back.compare, back.variants[1]?.text, back.examples.rows.length], ["이름", true, "다른 지시", 1]);
  const chat = { ...newDocument("m"), turns: [{ id: 1, role: "user" as const, content: "a" }], message: "아직 안 보낸 말", kind: "multiple" as const };
  const stored = toServer(chat);
  assert.deepEqual(stored.messages.map((message) => message.content), ["a", "아직 안 보낸 말"], "what apps and batches answer");
  const opened = fromServer(stored, "");
  assert.deepEqual([opened.turns.length, opened.message, opened.kind], [1, "아직 안 보낸 말", "multiple"]);
});

test("a difference is the shortest way from one text to another", () => {
  const lines = (text: string) => difference(...(text.split("|").map((side) => side.split(" ")) as [string[], string[]]))
    .map(({ kind, text: word }) => ({ same: "=", added: "+", removed: "-" })[kind] + word).join(" ");
  assert.equal(lines("a b c|a x c"), "=a -b +x =c");
  assert.equal(lines("a b c d|b c d e"), "-a =b =c =d +e");
  assert.equal(lines("a b|a b"), "=a =b");
  const many = Array.from({ length: 30 }, (_, at) => String(at));
  const shown = excerpt(difference(many, many.map((line) => (line === "15" ? "fifteen" : line))));
  assert.deepEqual(shown.map((line) => line?.text ?? null), [null, "13", "14", "15", "fifteen", "16", "17", null]);
});
