// Runs OpenAI's Node package against a running `saem serve`.
//
//     node scripts/clients/openai_client.mjs http://127.0.0.1:8080 smollm2-135m use-multilingual
//
// Needs the package `openai` in a folder `node_modules` above the working directory.
import { createRequire } from "node:module";
import path from "node:path";
import { pathToFileURL } from "node:url";

const [base, model, encoder] = process.argv.slice(2);
const require = createRequire(path.join(process.cwd(), "index.js"));
const { default: OpenAI } = await import(pathToFileURL(require.resolve("openai")).href);
const client = new (OpenAI.OpenAI ?? OpenAI)({ baseURL: `${base}/v1`, apiKey: "none", maxRetries: 0 });
let checks = 0;
const check = (condition, what, seen) => {
  checks += 1;
  if (!condition) {
    console.error(`openai (Node): ${what}:`, seen);
    process.exit(1);
  }
};

const messages = [
  { role: "system", content: "Answer in one word." },
  { role: "user", content: "What is the capital of France?" },
];
const names = [];
for await (const one of client.models.list()) names.push(one.id);
check(names.includes(model), "the model is listed", names);

const answer = await client.chat.completions.create({ model, messages, temperature: 0, max_tokens: 12 });
const text = answer.choices[0].message.content;
check(text.includes("Paris"), "the answer is right", text);

let streamed = "";
let usage;
const stream = await client.chat.completions.create({
  model, messages, temperature: 0, max_tokens: 12, stream: true, stream_options: { include_usage: true },
});
for await (const chunk of stream) {
  streamed += chunk.choices[0]?.delta?.content ?? "";
  usage = chunk.usage ?? usage;
}
check(streamed === text, "the stream says the same", streamed);
check(usage.completion_tokens === answer.usage.completion_tokens, "the stream counts the same", usage);

const vectors = await client.embeddings.create({ model: encoder, input: ["샘", "spring"] });
check(vectors.data.length === 2 && vectors.data[0].embedding.length === 512, "vectors", vectors.usage);

const schema = { type: "object", properties: { city: { type: "string", maxLength: 12 } }, required: ["city"], additionalProperties: false };
const formed = await client.chat.completions.create({
  model, messages, max_tokens: 40, response_format: { type: "json_schema", json_schema: { name: "city", strict: true, schema } },
});
check(typeof JSON.parse(formed.choices[0].message.content).city === "string", "a form", formed.choices[0]);

const called = await client.chat.completions.create({
  model, messages, max_tokens: 60, tools: [{ type: "function", function: { name: "find", parameters: schema } }], tool_choice: "required", parallel_tool_calls: false,
});
check(JSON.parse(called.choices[0].message.tool_calls[0].function.arguments).city !== undefined, "a function", called.choices[0]);

try {
  await client.chat.completions.create({ model: "gpt", messages });
  check(false, "an unknown model is an error");
} catch (error) {
  check(error.status === 404 && error.code === "model_not_found" && error.param === "model", "an unknown model", error);
}

// Hanging up in the middle must leave a server that answers.
const long = await client.chat.completions.create({ model, messages, max_tokens: 400, stream: true });
for await (const _ of long) break;
const after = await client.completions.create({ model, prompt: "One, two, three,", max_tokens: 4, temperature: 0 });
check(after.choices[0].text.includes("four"), "an answer after hanging up", after);
console.log(`openai for Node: ${checks} checks passed`);
