// Runs the tests of what needs no browser.
import { build } from "esbuild";
import { spawnSync } from "node:child_process";
import { mkdtemp, readdir, rm } from "node:fs/promises";
import os from "node:os";
import path from "node:path";
import { fileURLToPath } from "node:url";

const root = path.dirname(path.dirname(fileURLToPath(import.meta.url)));
const names = (await readdir(path.join(root, "tests/unit"))).filter((name) => name.endsWith(".test.ts"));
const out = await mkdtemp(path.join(os.tmpdir(), "saem-studio-"));
await build({
  absWorkingDir: root,
  entryPoints: names.map((name) => `tests/unit/${name}`),
  bundle: true,
  outdir: out,
  outExtension: { ".js": ".mjs" },
  platform: "node",
  format: "esm",
  target: "node18",
  logLevel: "warning",
});
const files = names.map((name) => path.join(out, name.replace(/\.ts$/, ".mjs")));
const ran = spawnSync(process.execPath, ["--test", ...files], { stdio: "inherit" });
await rm(out, { recursive: true });
process.exit(ran.status ?? 1);
