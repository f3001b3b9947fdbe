import assert from "node:assert/strict";
import { test } from "node:test";
import { EventReader } from "../../src/api/stream";
import { readCsv, writeCsv } from "../../src/domain/csv";
import { newDocument, newVariant, readDocument, storedForm } from "../../src/domain/document";
import type { StudioDocument } from "../../src/domain/document";
import { Composition } from "../../src/domain/ime";
import { chatTokens, groups, textTokens } from "../../src/domain/probabilities";
import { ask, examplesPrompt, fill, variableNames } from "../../src/domain/prompt";
import { SentenceReader } from "../../src/domain/sentences";
import { snippet } from "../../src/domain/snippets";
import { withParticles } from "../../src/i18n/particles";

test("a table survives being written and read, whatever is in its cells", () => {
  const rows = [["문장", "감정"], ['"좋아요", 라고', "긍정"], ["두 줄\n짜리", " 빈칸 "], ["쉼표, 하나", "세미콜론;"]];
  assert.deepEqual(readCsv(writeCsv(rows)), rows);
  assert.deepEqual(readCsv("a\tb\r\n1\t2\r\n\r\n"), [["a", "b"], ["1", "2"]]);
  assert.deepEqual(readCsv("a;b\n1;2"), [["a", "b"], ["1", "2"]]);
  assert.deepEqual(readCsv(""), []);
  // macOS writes Korean in parts.
  assert.deepEqual(readCsv("한글,b".normalize("NFD")), [["한글", "b"]]);
});

test("events end where they end, though the pieces do not", () => {
  const bytes = new TextEncoder().encode('data: {"text":"샘물"}\n\n: still here\n\ndata: [DONE]\n\n');
  for (let size = 1; size < 20; size += 1) {
    const reader = new EventReader();
    const events: string[] = [];
    for (let at = 0; at < bytes.length; at += size) events.push(...reader.push(bytes.subarray(at, at + size)));
    assert.deepEqual(events, ['{"text":"샘물"}', "[DONE]"], `pieces of ${size}`);
  }
});

test("one Enter is one action while Hangul is composed, and none while kana is", async () => {
  const composition = new Composition();
  let sent = 0;
  let prevented = 0;
  const key = (isComposing: boolean) => composition.key({ isComposing, preventDefault: () => { prevented += 1; } }, () => { sent += 1; });
  assert.equal(key(false), true);
  assert.deepEqual([sent, prevented], [1, 1]);
  composition.start();
  composition.update({ data: "요" });
  assert.equal(key(true), true);
  // Browsers differ in how often they tell of the key.
  assert.equal(key(true), true);
  assert.equal(sent, 1, "not before the syllable is complete");
  composition.end();
  await new Promise((resolve) => setTimeout(resolve, 5));
  assert.equal(sent, 2);
  composition.start();
  composition.update({ data: "か" });
  assert.equal(key(true), false, "this Enter chooses a candidate");
  composition.end();
  await new Promise((resolve) => setTimeout(resolve, 5));
  assert.equal(sent, 2);
});

test("ears hear whole sentences", () => {
  const reader = new SentenceReader();
  assert.equal(reader.push("안녕하세"), "");
  assert.equal(reader.push("요. 반갑"), "안녕하세요.");
  assert.equal(reader.push("습니다! 3.5"), "반갑습니다!");
  assert.equal(reader.finish(), "3.5");
});

test("variables are names between braces, and are filled in", () => {
  assert.deepEqual(variableNames(["{{review}} {{ 후기 }}", "{{review}} {{no name}} {{}} { {x} }"]), ["review", "후기"]);
  assert.equal(fill("{{a}}{{ a }}{{b}}{{no name}}", { a: "{{b}}" }), "{{b}}{{b}}{{no name}}");
});

test("a table of examples is the prompt that the server would make of it", () => {
  const examples = {
    inputPrefix: "문장: ", outputPrefix: "감정: ", separator: "\n###\n", query: "좋아요",
    rows: [{ id: 1, input: "최고", output: "긍정" }, { id: 2, input: " ", output: "" }],
  };
  assert.equal(examplesPrompt("분류합니다.", examples), "분류합니다.\n문장: 최고\n감정: 긍정\n###\n문장: 좋아요\n감정:");
  assert.equal(examplesPrompt("", { ...examples, rows: [] }), "문장: 좋아요\n감정:");
  const document: StudioDocument = { ...newDocument("m"), mode: "text", kind: "examples", examples };
  const asked = ask(document, { ...newVariant("m"), text: "분류합니다." });
  assert.deepEqual((asked.body as { stop: string[] }).stop, ["###"]);
  assert.equal(asked.body.repetition_penalty, 1.1, "5 on CLOVA Studio's scale");
});

test("what is asked is NFC, with what is in the composer", () => {
  const document = { ...newDocument("m"), message: "안녕".normalize("NFD"), turns: [{ id: 1, role: "assistant" as const, content: "네" }] };
  const asked = ask(document, { ...newVariant("m"), system: "{{누구}}" });
  assert.deepEqual(asked.route === "POST /v1/chat/completions" && asked.body.messages, [{ role: "assistant", content: "네" }, { role: "user", content: "안녕" }]);
});

test("a stored document comes back as it was, and nonsense does not", () => {
  const document = newDocument("m");
  document.variants[0]!.parameters.stop = ["###"];
  document.variables = { 후기: "좋다" };
  document.turns = [{ id: 3, role: "assistant", content: "네" }];
  const read = readDocument(JSON.parse(JSON.stringify(storedForm(document))));
  assert.deepEqual(storedForm(read!), storedForm(document));
  for (const bad of [null, 1, "x", [], {}, { format: 2, variants: [] }]) assert.equal(readDocument(bad), null);
  const odd = readDocument({ format: 1, variants: [{ model: 7, parameters: { topP: "x", stop: [1, "a"] } }], turns: [{ role: "system" }, 5], title: null });
  assert.deepEqual([odd?.variants[0]?.model, odd?.variants[0]?.parameters.topP, odd?.variants[0]?.parameters.stop, odd?.turns.length, odd?.title], ["", 0.8, ["a"], 1, ""]);
});

test("parts of characters are shown together", () => {
  const bytes = [[0x61], [0xec], [0x83, 0x98], [0xeb, 0xac], [0xbc, 0x20], [0x62], [0xec, 0x83]];
  const text = bytes.map((token) => new TextDecoder().decode(new Uint8Array(token)));
  const chat = chatTokens({ content: bytes.map((token, at) => ({ token: text[at]!, bytes: token, logprob: Math.log(0.5), top_logprobs: [] })) });
  const offsets = [0, 1, 2, 2, 3, 4, 5];
  const plain = textTokens({ tokens: text, text_offset: offsets, token_logprobs: offsets.map(() => Math.log(0.5)), top_logprobs: [] });
  const expected = [["a", 0, 1], ["샘", 1, 3], ["물 ", 3, 5], ["b", 5, 6], ["·", 6, 7]];
  for (const tokens of [chat, plain]) assert.deepEqual(groups(tokens, "a샘물 b").map(({ text, from, to }) => [text, from, to]), expected);
  const made = groups(chat, "a샘물 b");
  assert.ok(Math.abs((made[1]?.probability ?? 0) - 0.25) < 1e-9);
});

test("code keeps every character of a prompt", () => {
  const text = "it's \"quoted\" \\ and \\\" $HOME `x` '''\"\"\"\n끝 \\";
  const document = { ...newDocument("m"), mode: "text" as const, kind: "once" as const };
  const call = { ask: ask(document, { ...newVariant("m"), text }), origin: "http://127.0.0.1:1" };
  const python = snippet("python", call);
  const raw = /r"""([^]*?)"""/.exec(python)?.[1] ?? "";
  assert.equal(JSON.parse(raw).prompt, text);
  const shell = snippet("curl", call);
  const quoted = /-d '([^]*)'\n$/.exec(shell)?.[1]?.replaceAll("'\\''", "'") ?? "";
  assert.equal(JSON.parse(quoted).prompt, text);
  assert.match(snippet("curl", { ...call, keyVariable: "SAEM_API_KEY" }), /"Authorization: Bearer \$SAEM_API_KEY"/);
});

test("particles follow the sound before them", () => {
  assert.equal(withParticles("샘[은/는] 물[을/를] 서울[으로/로] 산[으로/로] 3[으로/로] 7[으로/로] model[이/가] \"나무\"[이/가]"),
    "샘은 물을 서울로 산으로 3으로 7로 model이 \"나무\"가");
});
