// Korean and English say the same: the same keys, the same values in braces, nothing empty, and nothing that no page says.
import { build } from "esbuild";
import { readdir, readFile } from "node:fs/promises";
import path from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";

const root = path.dirname(path.dirname(fileURLToPath(import.meta.url)));

/** The words of both languages. */
export async function words() {
  const stdin = { contents: 'export { en } from "./en"; export { ko } from "./ko";', resolveDir: path.join(root, "src/i18n"), loader: "ts" };
  const { outputFiles } = await build({ stdin, bundle: true, write: false, format: "esm" });
  return import(`data:text/javascript;base64,${Buffer.from(outputFiles[0].contents).toString("base64")}`);
}

async function sources(folder) {
  const entries = await readdir(folder, { withFileTypes: true, recursive: false });
  const texts = await Promise.all(entries.map((entry) => {
    const place = path.join(folder, entry.name);
    if (entry.isDirectory()) return entry.name === "i18n" ? "" : sources(place);
    return /\.tsx?$/.test(entry.name) ? readFile(place, "utf8") : "";
  }));
  return texts.join("\n");
}

if (process.argv[1] && import.meta.url === pathToFileURL(process.argv[1]).href) {
  const { en, ko } = await words();
  const problems = [];
  const holes = (text) => [...text.matchAll(/\{(\w+)\}/g)].map((match) => match[1]).filter((name) => name !== "name" || !text.includes("{{name}}")).sort().join();
  const code = await sources(path.join(root, "src"));
  // Keys that are put together, such as t(`kind.${kind}.hint`).
  const made = [...code.matchAll(/t\(`([^`]+)`/g)].map((match) => new RegExp(`^${match[1].replaceAll(".", "\\.").replace(/\$\{[^}]*\}/g, "\\w+")}$`));
  for (const key of new Set([...Object.keys(en), ...Object.keys(ko)])) {
    if (!en[key] || !ko[key]) problems.push(`${key} is missing in ${en[key] ? "Korean" : "English"}`);
    else if (holes(en[key]) !== holes(ko[key])) problems.push(`${key}: {${holes(en[key])}} in English, {${holes(ko[key])}} in Korean`);
    else if (!/[가-힣]/.test(ko[key]) && !["field.topP", "field.topK"].includes(key)) problems.push(`${key} has no Korean: ${ko[key]}`);
    if (!code.includes(`"${key}"`) && !made.some((pattern) => pattern.test(key))) problems.push(`${key} is said by no page`);
  }
  problems.forEach((problem) => console.error(`error: ${problem}`));
  console.log(`words: ${Object.keys(en).length} in English and Korean; ${problems.length} problems`);
  process.exit(problems.length > 0 ? 1 : 0);
}
