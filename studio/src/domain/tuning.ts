// What a tuning is before it begins: chosen, filled in, checked.
import type { Column, Dataset, TuningTask } from "../api/studio";
import { fill, variableNames } from "./prompt";

export type Method = TuningTask["method"];
type Parameters = NonNullable<TuningTask["parameters"]>;
export const METHODS: Method[] = ["lora", "dora", "p-tuning", "prompt", "prefix", "classifier", "dpo", "full"];
/** Those with thin matrices, which have a rank, and those that learn rows before each text. */
export const RANKED: Method[] = ["lora", "dora", "dpo", "classifier"];
export const ROWED: Method[] = ["p-tuning", "prompt", "prefix"];

export interface Settings {
  epochs: number;
  batch: number;
  sequence: number;
  learningRate: string;
  rank: number;
  virtualTokens: number;
  heldOut: number;
  seed: number;
  /** Rows in memory at a time; 0 for what is usual. */
  microBatch: number;
  recompute: NonNullable<Parameters["recompute"]>;
  optimizer: NonNullable<Parameters["optimizer"]>;
  threads: number;
}

export interface Plan {
  method: Method;
  /** The column with conversations; empty where rows are filled into a prompt. */
  chat: string;
  prompt: string;
  answer: string;
  /** The worse answer, where the model learns which of two is better. */
  rejected: string;
  /** The column with labels; empty where answers are free. */
  label: string;
  labels: Record<string, string>;
  settings: Settings;
}

export const SETTINGS: Settings = { epochs: 3, batch: 8, sequence: 256, learningRate: "", rank: 16, virtualTokens: 32, heldOut: 0.1, seed: 0, microBatch: 0, recompute: "none", optimizer: "adamw", threads: 0 };

/** Words that a first prompt is made of, in the language of the page. */
export interface Words { task: string; answer: string }

/** A task that suits the columns of a dataset. */
export function planFor(dataset: Dataset, words: Words): Plan {
  const of = (kind: Column["kind"]) => dataset.columns.find((column) => column.kind === kind);
  const base: Plan = { method: "lora", chat: "", prompt: "", answer: "", rejected: "", label: "", labels: {}, settings: { ...SETTINGS } };
  const chat = of("messages");
  if (chat) return { ...base, chat: chat.name };
  const label = labelColumns(dataset)[0];
  const texts = dataset.columns.filter((column) => column.name !== label?.name && column.kind === "text");
  const input = texts[0] ?? dataset.columns.find((column) => column.name !== label?.name);
  const prompt = input ? `${words.task}\n{{${input.name}}}\n${words.answer}\n` : "";
  if (label) return { ...base, prompt, answer: `{{${label.name}}}`, ...labelled(label) };
  const answer = texts[1] ?? dataset.columns.find((column) => column.name !== input?.name);
  return { ...base, prompt: input ? `{{${input.name}}}\n` : "", answer: answer ? `{{${answer.name}}}` : "" };
}

/** The columns that hold one of some labels. */
export function labelColumns(dataset: Dataset): Column[] {
  return dataset.columns.filter((column) => column.kind === "label" && column.labels.length >= 2);
}

/** The plan with another method, and with columns for labels or two answers where it needs them. */
export function withMethod(plan: Plan, method: Method, dataset: Dataset): Plan {
  if (method === "classifier") {
    const label = dataset.columns.find((column) => column.name === plan.label) ?? labelColumns(dataset)[0];
    return { ...plan, method, chat: "", rejected: "", ...(label && plan.label !== label.name ? { ...labelled(label), answer: `{{${label.name}}}` } : {}) };
  }
  if (method !== "dpo") return { ...plan, method, rejected: "" };
  const texts = dataset.columns.filter((column) => column.kind !== "messages").map((column) => column.name);
  const named = (pattern: RegExp) => texts.find((name) => pattern.test(name));
  const asked = named(/prompt|question|질문|프롬프트/i) ?? texts[0];
  const better = named(/chosen|better|좋은/i) ?? texts.find((name) => name !== asked);
  const worse = named(/rejected|worse|나쁜/i) ?? texts.find((name) => name !== asked && name !== better);
  const place = (name: string | undefined) => (name === undefined ? "" : `{{${name}}}`);
  return { ...plan, method, chat: "", label: "", labels: {}, prompt: asked === undefined ? "" : `{{${asked}}}\n`, answer: place(better), rejected: place(worse) };
}

/** The labels of a column, each in its own words. */
export function labelled(column: Column): Pick<Plan, "label" | "labels"> {
  return { label: column.name, labels: Object.fromEntries(column.labels.map((label) => [label.value, label.value])) };
}

export function taskOf(plan: Plan, dataset: string, base: string): TuningTask {
  const { settings } = plan;
  return {
    dataset,
    base,
    method: plan.method,
    prompt: plan.chat ? "" : plan.prompt,
    answer: plan.chat || plan.method === "classifier" ? "" : plan.answer,
    rejected: plan.rejected,
    chat: plan.chat || null,
    label: plan.chat ? null : plan.label || null,
    labels: plan.chat || !plan.label ? {} : plan.labels,
    parameters: {
      epochs: settings.epochs,
      batch: settings.batch,
      sequence: settings.sequence,
      learning_rate: rateOf(settings) || null,
      rank: settings.rank,
      virtual_tokens: settings.virtualTokens,
      held_out: settings.heldOut,
      seed: settings.seed,
      micro_batch: settings.microBatch > 0 ? settings.microBatch : null,
      recompute: settings.recompute,
      optimizer: settings.optimizer,
      threads: settings.threads > 0 ? settings.threads : null,
    },
  };
}

/** What the first row becomes. */
export function example(plan: Plan, row: Record<string, unknown>): { prompt: string; answer: string; rejected: string } {
  const values = Object.fromEntries(Object.entries(row).map(([name, value]) => [name, String(value ?? "")]));
  const word = plan.label ? { [plan.label]: plan.labels[values[plan.label] ?? ""] ?? values[plan.label] ?? "" } : {};
  const answer = plan.method === "classifier" ? Object.values(word).join("") : fill(plan.answer, { ...values, ...word });
  return { prompt: fill(plan.prompt, values), answer, rejected: fill(plan.rejected, values) };
}

/** The learning rate; null where the method's own is meant, and no number where what was typed is none. */
function rateOf({ learningRate }: Settings): number | null {
  const text = learningRate.trim();
  const rate = Number(text);
  return text === "" ? null : rate > 0 && rate <= 10 ? rate : NaN;
}

/** The first thing that keeps a task from being begun; the name of a text. */
export function obstacle(plan: Plan, columns: Column[]): "prompt" | "answer" | "rejected" | "unknown" | "words" | "reveals" | "label" | "rate" | null {
  if (Number.isNaN(rateOf(plan.settings))) return "rate";
  if (plan.chat) return null;
  const known = new Set(columns.map((column) => column.name));
  const [asked, answered, refused] = [variableNames([plan.prompt]), variableNames([plan.answer]), variableNames([plan.rejected])];
  if (asked.length === 0) return "prompt";
  const classifies = plan.method === "classifier";
  if (classifies && !plan.label) return "label";
  if (answered.length === 0 && !classifies) return "answer";
  if (plan.method === "dpo" && (refused.length === 0 || plan.rejected === plan.answer)) return "rejected";
  if ([...asked, ...(classifies ? [] : answered), ...refused].some((name) => !known.has(name))) return "unknown";
  if (plan.label) {
    if (asked.includes(plan.label)) return "reveals";
    if (!classifies && (answered.length !== 1 || answered[0] !== plan.label)) return "answer";
    const words = Object.values(plan.labels).map((word) => word.trim());
    if (words.some((word) => word === "") || new Set(words).size < words.length) return "words";
  }
  return null;
}

/** Seconds as people say them: the two largest units. */
export function duration(seconds: number): [number, "d" | "h" | "m" | "s"][] {
  const units = [["d", 86_400], ["h", 3_600], ["m", 60], ["s", 1]] as const;
  let left = Math.max(1, Math.round(seconds));
  const parts: [number, "d" | "h" | "m" | "s"][] = [];
  for (const [unit, size] of units) {
    const count = Math.floor(left / size);
    if (count > 0) parts.push([count, unit]);
    left -= count * size;
  }
  return parts.slice(0, 2);
}
