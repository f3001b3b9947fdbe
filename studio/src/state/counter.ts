// How many tokens a prompt has, as the server counts them.
import { effect, signal } from "@preact/signals";
import { call, isAbort } from "../api/client";
import { ask, isEmpty } from "../domain/prompt";
import { running } from "./run";
import { current, main } from "./studio";

export interface Count {
  tokens: number;
  context: number;
}

/** Milliseconds of rest after which a prompt is counted. */
const REST = 200;
export const count = signal<Count | null>(null);
let last = "";
let timer: ReturnType<typeof setTimeout> | undefined;
let stopper: AbortController | undefined;

/** Keeps `count` true from now on. */
export function startCounting(): void {
  effect(() => {
    const document = current.value;
    const variant = main.value;
    if (variant.model === "" || running.value) return;
    clearTimeout(timer);
    timer = setTimeout(() => void recount(document, variant), REST);
  });
}

async function recount(document: typeof current.value, variant: typeof main.value): Promise<void> {
  if (isEmpty(document, variant)) {
    last = "";
    stopper?.abort();
    count.value = count.value && { ...count.value, tokens: 0 };
    return;
  }
  const { body } = ask(document, variant);
  const subject = "prompt" in body ? { prompt: body.prompt } : { messages: body.messages };
  const request = { model: variant.model, ...subject };
  const text = JSON.stringify(request);
  if (text === last) return;
  stopper?.abort();
  stopper = new AbortController();
  try {
    const counted = await call("POST /tokenize", request, { signal: stopper.signal });
    last = text;
    count.value = { tokens: counted.count, context: counted.max_model_len };
  } catch (error) {
    // A template may refuse an unfinished conversation; the run will say so.
    if (!isAbort(error)) count.value = null;
  }
}
