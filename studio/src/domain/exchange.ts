// Between a document on the desk and a document as the server keeps it.
import type { ServerDocument, ServerParameters, ServerVariant } from "../api/studio";
import { DEFAULTS, clamp, newDocument, newId, newVariant, presetOf } from "./document";
import type { Kind, Parameters, StudioDocument, Variant } from "./document";
import { textsOf, variableNames, written } from "./prompt";

const GENERATIONS = { rolling: "rolling", once: "one_time", multiple: "multiple", examples: "examples" } as const;

/** What only this page needs to know of a document. */
interface Desk {
  kind?: Kind;
  compare?: boolean;
  candidates?: number;
  /** Whether the last message is still in the composer. */
  composed?: boolean;
}

export function toServer(document: StudioDocument): ServerDocument {
  const [main = newVariant(), ...others] = document.variants;
  const { mode, kind, examples } = document;
  const composed = mode === "chat" && document.message.trim() !== "";
  const messages = document.turns.map(({ role, content }) => ({ role, content }));
  if (composed) messages.push({ role: "user", content: document.message });
  const names = [...new Set([...variableNames(textsOf(document)), ...Object.keys(document.variables)])];
  const desk: Desk = { kind, compare: document.compare, candidates: document.candidates, composed };
  return {
    mode,
    // Ways of free text mean nothing to a chat; the desk remembers them.
    generation: mode === "chat" ? "rolling" : GENERATIONS[kind],
    model: main.model,
    system: main.system,
    prompt: main.text,
    messages,
    examples: {
      input_prefix: examples.inputPrefix,
      output_prefix: examples.outputPrefix,
      separator: examples.separator,
      rows: written(examples.rows).map(({ input, output }) => ({ input, output })),
      input: examples.query,
    },
    variables: names.map((name) => ({ name, value: document.variables[name] ?? "", description: "" })),
    parameters: parametersOut(main.parameters, kind === "multiple" && mode === "text" ? document.candidates : 1),
    preset: presetOf(main.parameters),
    choices: document.choices,
    variants: others.map((variant, at) => variantOut(variant, String.fromCharCode(66 + at))),
    ui: { ...desk },
  };
}

function parametersOut(parameters: Parameters, candidates: number): ServerParameters {
  return {
    temperature: parameters.temperature,
    top_p: parameters.topP,
    top_k: parameters.topK,
    max_tokens: parameters.maxTokens,
    repeat_penalty: parameters.repeatPenalty,
    stop: parameters.stop,
    seed: parameters.seed > 0 ? parameters.seed : null,
    candidates,
    start: parameters.start,
    restart: parameters.restart,
  };
}

function variantOut(variant: Variant, name: string): ServerVariant {
  const { model, text, system, parameters } = variant;
  return { name, model, prompt: text, system, parameters: parametersOut(parameters, 1) };
}

export function fromServer(stored: ServerDocument, title: string): StudioDocument {
  const desk = (stored.ui ?? {}) as Desk;
  const messages = stored.messages.map(({ role, content }) => ({ id: newId(), role, content }) as StudioDocument["turns"][number]);
  const last = messages.at(-1);
  const composed = desk.composed === true && last?.role === "user" ? messages.pop() : undefined;
  const kinds = Object.entries(GENERATIONS) as [Kind, string][];
  const kind = kinds.find(([, name]) => name === stored.generation)?.[0] ?? "rolling";
  const main = { id: newId(), model: stored.model, system: stored.system, text: stored.prompt, parameters: parametersIn(stored.parameters) };
  const variants = [main, ...stored.variants.map((variant) => ({
    id: newId(),
    model: variant.model ?? main.model,
    system: variant.system ?? main.system,
    text: variant.prompt ?? main.text,
    parameters: variant.parameters ? parametersIn(variant.parameters) : { ...main.parameters, stop: [...main.parameters.stop] },
  }))];
  return {
    ...newDocument(),
    title,
    mode: stored.mode === "text" ? "text" : "chat",
    kind: stored.mode === "chat" && kinds.some(([name]) => name === desk.kind) ? (desk.kind ?? kind) : kind,
    candidates: clamp(desk.candidates ?? Math.max(stored.parameters.candidates, 2), 2, 8),
    compare: desk.compare === true && variants.length > 1,
    turns: messages,
    message: composed?.content ?? "",
    examples: {
      inputPrefix: stored.examples.input_prefix,
      outputPrefix: stored.examples.output_prefix,
      separator: stored.examples.separator,
      rows: stored.examples.rows.map(({ input, output }) => ({ id: newId(), input, output })),
      query: stored.examples.input,
    },
    variables: Object.fromEntries(stored.variables.map(({ name, value }) => [name, value])),
    choices: stored.choices,
    variants,
  };
}

function parametersIn(parameters: ServerParameters): Parameters {
  return {
    ...DEFAULTS,
    temperature: parameters.temperature,
    topP: parameters.top_p,
    topK: parameters.top_k,
    maxTokens: parameters.max_tokens,
    repeatPenalty: parameters.repeat_penalty,
    stop: [...parameters.stop],
    seed: parameters.seed ?? 0,
    start: parameters.start,
    restart: parameters.restart,
  };
}

/** A document without what changes nothing of its answers: two that are the same here need no new version. */
export function essence(document: StudioDocument): string {
  return JSON.stringify(toServer(document)).normalize("NFC");
}
