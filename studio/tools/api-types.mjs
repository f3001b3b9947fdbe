// Writes src/api/schema.ts from the server's OpenAPI document, so that pages and server cannot drift apart.
//
// The document is the one that the server's tests hold it to. Only what Studio calls is taken, and what that refers to.
import { readFile, writeFile } from "node:fs/promises";
import path from "node:path";
import { fileURLToPath } from "node:url";

const root = path.dirname(path.dirname(fileURLToPath(import.meta.url)));
const snapshot = path.join(root, "../crates/server/tests/it/snapshots/it__border__openapi.snap");
const text = await readFile(snapshot, "utf8");
const api = JSON.parse(text.slice(text.indexOf("\n---\n", 4) + 5));
const target = path.join(root, "src/api/schema.ts");
const wanted = (await readFile(path.join(root, "tools/operations.txt"), "utf8")).split("\n").filter(Boolean);

const needed = new Set();
const indent = (text) => text.replaceAll("\n", "\n  ");
const nameOf = (reference) => {
  const name = reference.split("/").pop();
  needed.add(name);
  return name.replace(/[^A-Za-z0-9]/g, "_");
};
function type(schema) {
  if (schema === undefined || Object.keys(schema).every((key) => key === "description" || key === "default")) return "unknown";
  if (schema.$ref) return nameOf(schema.$ref);
  if (schema.const !== undefined) return JSON.stringify(schema.const);
  if (schema.enum) return schema.enum.map((value) => JSON.stringify(value)).join(" | ");
  const any = schema.oneOf ?? schema.anyOf;
  if (any) return any.map(type).join(" | ");
  if (schema.allOf) return schema.allOf.map(type).join(" & ");
  const kinds = [schema.type].flat();
  return kinds.map((kind) => one(kind, schema)).join(" | ");
}
function one(kind, schema) {
  switch (kind) {
    case "string": return "string";
    case "integer": case "number": return "number";
    case "boolean": return "boolean";
    case "null": return "null";
    case "array": return Array.isArray(schema.prefixItems) ? `[${schema.prefixItems.map(type).join(", ")}]` : `Array<${type(schema.items)}>`;
    case "object": return schema.properties ? object(schema) : `Record<string, ${type(schema.additionalProperties === true ? undefined : schema.additionalProperties)}>`;
    default: throw new Error(`unknown kind of schema: ${JSON.stringify(schema)}`);
  }
}
function object(schema) {
  const required = new Set(schema.required ?? []);
  const fields = Object.entries(schema.properties).map(([name, field]) => {
    const about = field.description ?? (field.oneOf ?? []).map((each) => each.description).find(Boolean);
    const doc = about ? `  /** ${about.replaceAll("\n", " ")} */\n` : "";
    return `${doc}  ${/^\w+$/.test(name) ? name : JSON.stringify(name)}${required.has(name) ? "" : "?"}: ${indent(type(field))};\n`;
  });
  return `{\n${fields.join("")}}`;
}
const content = (holder) => Object.values(holder?.content ?? {})[0]?.schema;

const operations = [];
for (const line of wanted) {
  const [method, route] = line.split(" ");
  const operation = api.paths[route]?.[method.toLowerCase()];
  if (!operation) throw new Error(`${line}: the server has no such route`);
  const good = Object.entries(operation.responses).find(([status]) => status.startsWith("2"));
  const body = content(operation.requestBody);
  const result = content(good?.[1]);
  operations.push(`  ${JSON.stringify(line)}: { body: ${body ? type(body) : "undefined"}; result: ${result ? type(result) : "undefined"} };\n`);
}
nameOf("ErrorBody");
const types = new Map();
for (let size = -1; size !== types.size;) {
  size = types.size;
  for (const name of [...needed].filter((name) => !types.has(name))) {
    const schema = api.components.schemas[name];
    const about = schema.description ? `/** ${schema.description.split("\n")[0]} */\n` : "";
    const plain = schema.type === "object" && schema.properties;
    const id = name.replace(/[^A-Za-z0-9]/g, "_");
    types.set(name, `${about}export ${plain ? `interface ${id} ${object(schema)}` : `type ${id} = ${type(schema)};`}\n`);
  }
}
const sorted = [...types].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, text]) => text);
const made = `// Made by tools/api-types.mjs from the server's OpenAPI document. Do not edit.

/** What each route takes and gives. */
export interface Operations {
${operations.join("")}}

${sorted.join("\n")}`;
if (process.argv.includes("--check")) {
  if ((await readFile(target, "utf8")) !== made) {
    console.error("src/api/schema.ts is not what the OpenAPI document makes: run scripts/check-studio --write");
    process.exit(1);
  }
} else {
  await writeFile(target, made);
}
