// From a document to what the server is asked.
import type { ChatRequest, CompletionRequest } from "../api/schema";
import type { ExampleRow, Examples, StudioDocument, Variant } from "./document";

const VARIABLE = /\{\{\s*([\p{L}\p{M}\p{N}_]{1,64})\s*\}\}/gu;
/** Probabilities are told with so many alternatives: as many as `/v1/completions` gives. */
const ALTERNATIVES = 5;

/** Names in `{{…}}`, each once, in the order in which they come. */
export function variableNames(texts: string[]): string[] {
  const names = texts.flatMap((text) => [...text.matchAll(VARIABLE)].map((match) => match[1] ?? ""));
  return [...new Set(names)];
}

/** A text with its variables filled in; one without a value becomes nothing, as in apps and batches. */
export function fill(text: string, variables: Record<string, string>): string {
  return text.replace(VARIABLE, (_, name: string) => variables[name] ?? "");
}

/** The texts of a document in which variables may be. */
export function textsOf(document: StudioDocument, variants = document.variants): string[] {
  if (document.mode === "chat") {
    return [...variants.map((variant) => variant.system), ...document.turns.map((turn) => turn.content), document.message];
  }
  const query = document.kind === "examples" ? [document.examples.query] : [];
  return [...variants.map((variant) => variant.text), ...query];
}

/** The rows in which something is written. */
export function written(rows: ExampleRow[]): ExampleRow[] {
  return rows.filter((row) => row.input.trim() !== "" || row.output.trim() !== "");
}

/** An instruction and a table of examples as a prompt that ends where the answer begins. */
export function examplesPrompt(instruction: string, examples: Examples, query = examples.query): string {
  const { inputPrefix, outputPrefix, separator, rows } = examples;
  const head = instruction === "" || instruction.endsWith("\n") ? instruction : `${instruction}\n`;
  const shown = written(rows).map((row) => `${inputPrefix}${row.input}\n${outputPrefix}${row.output}${separator}`);
  return `${head}${shown.join("")}${inputPrefix}${query}\n${outputPrefix.trimEnd()}`;
}

/** From CLOVA Studio's scale to that of the other APIs. */
export function repetitionPenalty(repeatPenalty: number): number {
  return Math.round((1 + repeatPenalty / 50) * 1e6) / 1e6;
}

export type Ask =
  | { route: "POST /v1/chat/completions"; body: ChatRequest & { messages: { role: "system" | "user" | "assistant"; content: string }[] } }
  | { route: "POST /v1/completions"; body: CompletionRequest & { prompt: string } };

/** Whether there is anything to ask. */
export function isEmpty(document: StudioDocument, variant: Variant): boolean {
  if (document.mode === "chat") return document.turns.length === 0 && document.message.trim() === "";
  if (document.kind === "examples") return document.examples.query.trim() === "";
  return (variant.text + variant.parameters.start).trim() === "";
}

/** The request that a document makes with one of its variants. All text is NFC from here on. */
export function ask(document: StudioDocument, variant: Variant, options: { probabilities?: boolean } = {}): Ask {
  const { parameters } = variant;
  const filled = (text: string) => fill(text, document.variables).normalize("NFC");
  const stop = parameters.stop.map((text) => text.normalize("NFC"));
  const mark = document.examples.separator.trim();
  if (document.mode === "text" && document.kind === "examples" && mark !== "" && !stop.includes(mark)) stop.push(mark);
  const sampling = {
    max_tokens: parameters.maxTokens,
    temperature: parameters.temperature,
    top_p: parameters.topP,
    top_k: parameters.topK,
    repetition_penalty: repetitionPenalty(parameters.repeatPenalty),
    ...(stop.length > 0 ? { stop } : {}),
    ...(parameters.seed > 0 ? { seed: parameters.seed } : {}),
  };
  if (document.mode === "chat") {
    const system = filled(variant.system);
    const messages = [
      ...(system.trim() === "" ? [] : [{ role: "system" as const, content: system }]),
      ...document.turns.map((turn) => ({ role: turn.role, content: filled(turn.content) })),
      ...(document.message.trim() === "" ? [] : [{ role: "user" as const, content: filled(document.message) }]),
    ];
    const logprobs = options.probabilities ? { logprobs: true, top_logprobs: ALTERNATIVES } : {};
    return { route: "POST /v1/chat/completions", body: { model: variant.model, messages, ...sampling, ...logprobs } };
  }
  const prompt = document.kind === "examples" ? examplesPrompt(filled(variant.text), document.examples, filled(document.examples.query)).normalize("NFC") : filled(variant.text);
  const n = document.kind === "multiple" ? { n: document.candidates } : {};
  const logprobs = options.probabilities ? { logprobs: ALTERNATIVES } : {};
  const body = { model: variant.model, prompt: prompt + parameters.start.normalize("NFC"), ...n, ...sampling, ...logprobs };
  return { route: "POST /v1/completions", body };
}
