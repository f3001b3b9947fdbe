// Real servers for the tests: each a process of its own, with records of its own.
import { spawn, spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync, statSync, symlinkSync, writeFileSync } from "node:fs";
import os from "node:os";
import path from "node:path";

const home = process.env.SAEM_TEST_MODELS;
if (!home) throw new Error("SAEM_TEST_MODELS names the folder with smollm2-135m.gguf and use-multilingual (see scripts/test)");
const MODELS = ["smollm2-135m.gguf", "use-multilingual"].map((name) => path.join(home, name));

/** Where one of the models for tests is. */
export const modelFile = (name) => path.join(home, name);

export class Server {
  constructor(saem, more = []) {
    this.saem = saem;
    this.more = more;
    this.folder = mkdtempSync(path.join(os.tmpdir(), "saem-studio-"));
    this.environment = { ...process.env, SAEM_HOME: this.folder, DATABASE_URL: `sqlite:${this.folder}/saem.db`, SAEM_LOG: "error", SAEM_LANG: "en" };
    this.port = 0;
  }

  /** Puts one of the models for tests into its home, as `saem pull` would. */
  install(name, file) {
    const folder = path.join(this.folder, "models", name);
    mkdirSync(folder, { recursive: true });
    symlinkSync(path.join(home, file), path.join(folder, file));
    const { size: bytes } = statSync(path.join(home, file));
    const manifest = { name, source: "packages", entry: file, files: [{ name: file, bytes, sha256: "0".repeat(64) }], bytes, licence: null, accepted_at: null, fetched_at: "2026-01-01T00:00:00Z" };
    writeFileSync(path.join(folder, "manifest.json"), JSON.stringify(manifest));
  }

  /** Starts it, on the same port where it ran before. */
  async start() {
    const models = [...MODELS.flatMap((name) => ["--model", name]), ...this.more];
    const threads = process.env.STUDIO_THREADS ? ["--threads", process.env.STUDIO_THREADS] : [];
    this.process = spawn(this.saem, ["serve", ...models, ...threads, "--context", "2048", "--port", String(this.port)], { env: this.environment, stdio: ["ignore", "ignore", "pipe"] });
    let said = "";
    await new Promise((resolve, reject) => {
      this.process.on("exit", (code) => reject(new Error(`saem serve ended with ${code}: ${said}`)));
      this.process.stderr.on("data", (bytes) => {
        said += bytes;
        const url = /Serving on (http:\/\/[\d.]+:(\d+))/.exec(said);
        if (url) {
          [, this.url, this.port] = url;
          resolve();
        }
      });
    });
    return this;
  }

  async stop() {
    if (!this.process || this.process.exitCode !== null) return;
    const ended = new Promise((resolve) => this.process.removeAllListeners("exit").on("exit", resolve));
    this.process.kill("SIGTERM");
    await ended;
  }

  /** Runs another command of the same installation. */
  run(...words) {
    const ran = spawnSync(this.saem, words, { env: this.environment, encoding: "utf8" });
    if (ran.status !== 0) throw new Error(`saem ${words.join(" ")}: ${ran.stderr}`);
    return ran.stdout.trim();
  }

  async close() {
    await this.stop();
    rmSync(this.folder, { recursive: true, force: true });
  }
}
