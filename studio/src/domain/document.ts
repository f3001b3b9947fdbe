// What a person works on: a prompt with everything that belongs to it.

export type Mode = "chat" | "text";
/** How free text is worked on: appended to, answered once, answered several times, or led by examples. */
export type Kind = "rolling" | "once" | "multiple" | "examples";

export interface Turn {
  id: number;
  role: "user" | "assistant";
  content: string;
}

/** Ranges and defaults are those of CLOVA Studio. */
export interface Parameters {
  topP: number;
  topK: number;
  maxTokens: number;
  temperature: number;
  /** CLOVA Studio's scale: 0 is off. */
  repeatPenalty: number;
  /** 0 draws one for each answer. */
  seed: number;
  stop: string[];
  /** Comes after the prompt, before the answer. */
  start: string;
  /** Comes after the answer. */
  restart: string;
}

/** One way to answer: of up to four that are compared, the first is the one that is worked on otherwise. */
export interface Variant {
  id: number;
  model: string;
  parameters: Parameters;
  /** The instruction of a chat. */
  system: string;
  /** The prompt of free text; with examples the instruction above them. */
  text: string;
}

export interface ExampleRow {
  id: number;
  input: string;
  output: string;
}

export interface Examples {
  /** Come before each input and each output. */
  inputPrefix: string;
  outputPrefix: string;
  /** Comes after each row, and ends the answer. */
  separator: string;
  rows: ExampleRow[];
  /** The new input, which the model answers. */
  query: string;
}

export interface StudioDocument {
  format: 1;
  title: string;
  mode: Mode;
  kind: Kind;
  candidates: number;
  compare: boolean;
  turns: Turn[];
  /** What is written in the composer of a chat and not yet sent. */
  message: string;
  examples: Examples;
  /** Values of `{{name}}`. */
  variables: Record<string, string>;
  /** What an answer may be; anything where there is none. */
  choices: string[];
  variants: Variant[];
}

export const MOST_VARIANTS = 4;
export const MOST_CANDIDATES = 8;

export interface Range {
  min: number;
  max: number;
  step: number;
}

/** The ranges of the sliders. */
export const RANGES = {
  topP: { min: 0.01, max: 1, step: 0.01 },
  topK: { min: 0, max: 128, step: 1 },
  temperature: { min: 0, max: 1, step: 0.01 },
  repeatPenalty: { min: 0, max: 10, step: 0.1 },
} satisfies Record<string, Range>;
export const MOST_SEED = 4_294_967_295;

/** Parts the rows of examples, as CLOVA Studio's guide advises. */
export const SEPARATOR = "\n###\n";

export const DEFAULTS: Readonly<Parameters> = {
  topP: 0.8,
  topK: 0,
  maxTokens: 100,
  temperature: 0.5,
  repeatPenalty: 5,
  seed: 0,
  stop: [],
  start: "",
  restart: "",
};

/** The two ends of the switch between answers that agree with each other and answers that surprise. */
export const PRESETS = {
  consistency: { temperature: 0.1, topP: 0.8, topK: 0 },
  creativity: { temperature: 0.9, topP: 0.95, topK: 0 },
} as const;
export type Preset = keyof typeof PRESETS;

export function presetOf(parameters: Parameters): Preset | null {
  const fits = (preset: Preset) =>
    Object.entries(PRESETS[preset]).every(([name, value]) => parameters[name as keyof Parameters] === value);
  return (Object.keys(PRESETS) as Preset[]).find(fits) ?? null;
}

let last = 0;
/** A number that no other part of this page's documents has. */
export function newId(): number {
  last = Math.max(last + 1, Date.now() % 1e12);
  return last;
}

export function newVariant(model = ""): Variant {
  return { id: newId(), model, parameters: { ...DEFAULTS, stop: [] }, system: "", text: "" };
}

export function newDocument(model = ""): StudioDocument {
  return {
    format: 1,
    title: "",
    mode: "chat",
    kind: "rolling",
    candidates: 3,
    compare: false,
    turns: [],
    message: "",
    examples: { inputPrefix: "", outputPrefix: "", separator: SEPARATOR, rows: [], query: "" },
    variables: {},
    choices: [],
    variants: [newVariant(model)],
  };
}

export function mainVariant(document: StudioDocument): Variant {
  return document.variants[0] ?? newVariant();
}

/** A stored document, if it is one: what is missing gets its default, what does not fit is left out. */
export function readDocument(value: unknown): StudioDocument | null {
  if (!isRecord(value) || value["format"] !== 1 || !Array.isArray(value["variants"])) return null;
  const blank = newDocument();
  const document = merge(blank, value);
  document.mode = document.mode === "text" ? "text" : "chat";
  if (!["rolling", "once", "multiple", "examples"].includes(document.kind)) document.kind = "rolling";
  document.candidates = clamp(Math.round(document.candidates), 1, MOST_CANDIDATES);
  document.turns = records(value["turns"]).map((turn) => ({
    ...merge({ id: 0, role: "user" as const, content: "" }, turn),
    id: newId(),
    role: turn["role"] === "assistant" ? ("assistant" as const) : ("user" as const),
  }));
  const rows = isRecord(value["examples"]) ? records(value["examples"]["rows"]) : [];
  document.examples.rows = rows.map((row) => ({ ...merge({ id: 0, input: "", output: "" }, row), id: newId() }));
  const variables = isRecord(value["variables"]) ? Object.entries(value["variables"]) : [];
  document.variables = Object.fromEntries(variables.filter(([, text]) => typeof text === "string")) as Record<string, string>;
  const choices = value["choices"];
  document.choices = Array.isArray(choices) ? choices.filter((text): text is string => typeof text === "string") : [];
  const variants = records(value["variants"]).slice(0, MOST_VARIANTS).map((variant) => {
    const read = { ...merge(newVariant(), variant), id: newId() };
    const stop = isRecord(variant["parameters"]) ? variant["parameters"]["stop"] : [];
    read.parameters.stop = Array.isArray(stop) ? stop.filter((text): text is string => typeof text === "string") : [];
    return read;
  });
  document.variants = variants.length > 0 ? variants : [newVariant()];
  document.compare = document.compare && document.variants.length > 1;
  return document;
}

/** A document as it is stored: without the numbers that only a page needs. */
export function storedForm(document: StudioDocument): unknown {
  const plain = ({ id: _, ...rest }: { id: number }) => rest;
  return {
    ...document,
    turns: document.turns.map(plain),
    examples: { ...document.examples, rows: document.examples.rows.map(plain) },
    variants: document.variants.map(plain),
  };
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function records(value: unknown): Record<string, unknown>[] {
  return Array.isArray(value) ? value.filter(isRecord) : [];
}

/** `base` with the fields of `value` that have the same type. */
function merge<T extends object>(base: T, value: Record<string, unknown>): T {
  const out: Record<string, unknown> = { ...(base as Record<string, unknown>) };
  for (const [name, own] of Object.entries(out)) {
    const other = value[name];
    if (isRecord(own)) out[name] = isRecord(other) ? merge(own, other) : own;
    else if (!Array.isArray(own) && typeof other === typeof own && (typeof other !== "number" || Number.isFinite(other))) {
      out[name] = other;
    }
  }
  return out as T;
}

export function clamp(value: number, min: number, max: number): number {
  return Math.min(max, Math.max(min, value));
}
