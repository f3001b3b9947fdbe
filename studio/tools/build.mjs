// Bundles Studio into four files: `node tools/build.mjs [folder]`, which is `dist` where it is not given.
//
// Names are fixed and addresses carry a hash of the content, which the server computes in the same way.
import { build } from "esbuild";
import { createHash } from "node:crypto";
import { mkdir, readFile, writeFile } from "node:fs/promises";
import path from "node:path";
import { fileURLToPath } from "node:url";

const root = path.dirname(path.dirname(fileURLToPath(import.meta.url)));
const out = path.resolve(process.argv[2] ?? path.join(root, "dist"));
await mkdir(out, { recursive: true });
const result = await build({
  absWorkingDir: root,
  entryPoints: [{ in: "src/main.tsx", out: "studio" }, { in: "src/styles/main.css", out: "studio" }],
  bundle: true,
  write: false,
  outdir: out,
  format: "esm",
  target: ["es2022", "chrome109", "firefox115", "safari16"],
  jsx: "automatic",
  jsxImportSource: "preact",
  minify: true,
  charset: "utf8",
  legalComments: "none",
  logLevel: "warning",
});
const files = new Map(result.outputFiles.map((file) => [path.basename(file.path), Buffer.from(file.contents)]));
files.set("icon.svg", await readFile(path.join(root, "src/icon.svg")));
let page = await readFile(path.join(root, "src/index.html"), "utf8");
for (const [name, bytes] of files) {
  const hash = createHash("sha256").update(bytes).digest("hex").slice(0, 16);
  page = page.replaceAll(`"/assets/${name}"`, `"/assets/${name}?v=${hash}"`);
}
files.set("index.html", Buffer.from(page));
await Promise.all([...files].map(([name, bytes]) => writeFile(path.join(out, name), bytes)));
