// Answers while they come in.
import { computed, signal } from "@preact/signals";
import { ApiError, isAbort, send } from "../api/client";
import type { ChatLogprobs, TextLogprobs, Usage } from "../api/schema";
import { events } from "../api/stream";
import { mainVariant } from "../domain/document";
import type { Variant } from "../domain/document";
import { chatTokens, textTokens } from "../domain/probabilities";
import type { Token } from "../domain/probabilities";
import { ask, isEmpty } from "../domain/prompt";
import { SentenceReader } from "../domain/sentences";
import { announce } from "./announcer";
import { beforeLeaving, checkpoint, current, newTurn, update, updateVariant } from "./studio";
import { t } from "../i18n";

export type Status = "running" | "done" | "stopped" | "failed";

export interface Candidate {
  text: string;
  tokens: Token[];
  finish: string | null;
}

/** One request. */
export interface Run {
  variant: number;
  status: Status;
  candidates: Candidate[];
  usage: Usage | null;
  /** When it was asked, when the first and the last piece came, in milliseconds of `performance.now`. */
  asked: number;
  first: number | null;
  last: number | null;
  error: ApiError | null;
}

/** What was asked last, by variant. */
export const runs = signal<Record<number, Run>>({});
export const running = computed(() => Object.values(runs.value).some((run) => run.status === "running"));
/** Whether answers tell how sure the model was. */
export const probabilities = signal(false);

/** Milliseconds between two paints of a stream. */
const PAINT = 40;
let stopper: AbortController | null = null;

export function runOf(variant: Variant): Run | undefined {
  return runs.value[variant.id];
}

/** Tokens per second after the first; null where there are too few to tell. */
export function speed(run: Run): number | null {
  const made = run.usage?.completion_tokens;
  if (made == null || run.first === null || run.last === null || made < 2 || run.last <= run.first) return null;
  return ((made - run.candidates.length) * 1000) / (run.last - run.first);
}

export function stop(): void {
  stopper?.abort();
}

export function clearRuns(): void {
  stop();
  runs.value = {};
}

/** Asks with every variant that is shown, and puts the answers where they belong. */
export async function start(): Promise<void> {
  const document = current.value;
  const shown = document.compare ? document.variants : [mainVariant(document)];
  if (running.value || shown.every((variant) => isEmpty(document, variant) || variant.model === "")) return;
  checkpoint();
  if (document.mode === "chat" && document.message.trim() !== "") {
    update({ turns: [...document.turns, newTurn("user", document.message)], message: "" });
  }
  const asked = current.value;
  stopper = new AbortController();
  runs.value = {};
  announce(t("run.begun"));
  await Promise.all(shown.map((variant, at) => one(asked, variant, at === 0, stopper?.signal)));
}

async function one(document: typeof current.value, variant: Variant, aloud: boolean, signal?: AbortSignal): Promise<void> {
  const request = ask(document, variant, { probabilities: probabilities.value });
  const n = "n" in request.body ? (request.body.n ?? 1) : 1;
  const candidates: Candidate[] = Array.from({ length: n }, () => ({ text: "", tokens: [], finish: null }));
  const run: Run = { variant: variant.id, status: "running", candidates, usage: null, asked: performance.now(), first: null, last: null, error: null };
  const speech = new SentenceReader();
  let painted = 0;
  const paint = (always = false) => {
    if (!always && performance.now() - painted < PAINT) return;
    painted = performance.now();
    runs.value = { ...runs.value, [variant.id]: { ...run, candidates: candidates.map((each) => ({ ...each })) } };
  };
  // Where the stream pauses, what has come must be seen all the same.
  const painter = setInterval(() => paint(), PAINT * 2);
  paint(true);
  let isKept = false;
  const keep = () => {
    if (!isKept && !document.compare) settle(document.mode, variant, candidates);
    isKept = true;
  };
  beforeLeaving.add(keep);
  try {
    const body = { ...request.body, stream: true, stream_options: { include_usage: true } };
    const response = await send(request.route, body as never, signal ? { signal } : {});
    for await (const chunk of events<Chunk>(response)) {
      if (chunk.error) throw new ApiError(500, chunk.error.code, chunk.error.message);
      if (chunk.usage) run.usage = chunk.usage;
      for (const choice of chunk.choices ?? []) {
        const candidate = candidates[choice.index];
        if (!candidate) continue;
        const piece = choice.delta?.content ?? choice.text ?? "";
        if (piece !== "") {
          run.last = performance.now();
          run.first ??= run.last;
          candidate.text += piece;
          const said = aloud && choice.index === 0 ? speech.push(piece) : "";
          if (said) announce(said);
        }
        if (choice.logprobs) {
          candidate.tokens.push(...("content" in choice.logprobs ? chatTokens(choice.logprobs) : textTokens(choice.logprobs)));
        }
        candidate.finish = choice.finish_reason ?? candidate.finish;
      }
      paint();
    }
    run.status = "done";
  } catch (error) {
    run.status = isAbort(error) || signal?.aborted ? "stopped" : "failed";
    run.error = run.status === "failed" ? (error instanceof ApiError ? error : new ApiError(0, "unreachable", String(error))) : null;
  } finally {
    clearInterval(painter);
    beforeLeaving.delete(keep);
  }
  // An answer that its limit cut within a character ends before it.
  for (const candidate of candidates) candidate.text = candidate.text.replace(/\uFFFD+$/, "");
  paint(true);
  if (run.status !== "failed" || candidates.some((each) => each.text !== "")) keep();
  const rest = aloud ? speech.finish() : "";
  const end = run.status === "failed" ? t("run.failed") : run.status === "stopped" ? t("run.stopped") : t("run.done");
  if (aloud) announce(rest ? `${rest} ${end}` : end);
}

/** Puts an answer into the document: a turn of the chat, or the end of the text that rolls on. */
function settle(mode: string, variant: Variant, candidates: Candidate[]): void {
  const text = candidates[0]?.text ?? "";
  const { kind, turns } = current.value;
  if (mode === "chat") {
    if (text !== "") update({ turns: [...turns, newTurn("assistant", text)] });
  } else if (kind === "rolling" && text !== "") {
    const { start: before, restart } = variant.parameters;
    updateVariant(variant.id, { text: variant.text + before + text + restart });
  }
}

/** A piece of a stream, of either route. */
interface Chunk {
  choices?: {
    index: number;
    delta?: { content?: string };
    text?: string;
    logprobs?: ChatLogprobs | TextLogprobs | null;
    finish_reason: string | null;
  }[];
  usage?: Usage | null;
  error?: { code: string; message: string };
}
