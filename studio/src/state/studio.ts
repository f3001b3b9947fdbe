// The document that this tab works on, kept through reloads.
import { batch, computed, effect, signal } from "@preact/signals";
import { mainVariant, newDocument, newId, newVariant, readDocument, storedForm } from "../domain/document";
import type { ExampleRow, Examples, Parameters, StudioDocument, Turn, Variant } from "../domain/document";

const PLACE = "saem-draft";
/** Milliseconds of rest after which a change is written down. */
const REST = 400;
/** Steps that can be undone. */
const MOST_UNDO = 50;

export const current = signal<StudioDocument>(recall() ?? newDocument());
export const main = computed(() => mainVariant(current.value));
/** A document as it was; whole where another one took its place, and then what else is to be as it was. */
interface Step {
  document: StudioDocument;
  back?: () => void;
}

const undoable = signal<Step[]>([]);
export const canUndo = computed(() => undoable.value.length > 0);
/** Called before the page goes away, by whatever has something to add to the document first. */
export const beforeLeaving = new Set<() => void>();

export function update(change: Partial<StudioDocument>): void {
  current.value = { ...current.value, ...change };
}

export function updateVariant(id: number, change: Partial<Variant>): void {
  update({ variants: current.value.variants.map((variant) => (variant.id === id ? { ...variant, ...change } : variant)) });
}

export function updateParameters(id: number, change: Partial<Parameters>): void {
  const variant = current.value.variants.find((each) => each.id === id);
  if (variant) updateVariant(id, { parameters: { ...variant.parameters, ...change } });
}

export function updateExamples(change: Partial<Examples>): void {
  update({ examples: { ...current.value.examples, ...change } });
}

export function updateRow(id: number, change: Partial<ExampleRow>): void {
  const rows = current.value.examples.rows.map((row) => (row.id === id ? { ...row, ...change } : row));
  updateExamples({ rows });
}

export function updateTurn(id: number, content: string): void {
  update({ turns: current.value.turns.map((turn) => (turn.id === id ? { ...turn, content } : turn)) });
}

export function newTurn(role: Turn["role"], content = ""): Turn {
  return { id: newId(), role, content };
}

export function addVariant(): void {
  const from = current.value.variants.at(-1) ?? newVariant();
  const copy = { ...from, id: newId(), parameters: { ...from.parameters, stop: [...from.parameters.stop] } };
  update({ variants: [...current.value.variants, copy] });
}

export function removeVariant(id: number): void {
  const variants = current.value.variants.filter((variant) => variant.id !== id);
  if (variants.length > 0) update({ variants, compare: variants.length > 1 && current.value.compare });
}

/** Remembers the document as it is, so that `undo` comes back to it. */
export function checkpoint(): void {
  undoable.value = [...undoable.value, { document: current.value }].slice(-MOST_UNDO);
}

export function undo(): void {
  const step = undoable.value.at(-1);
  if (!step) return;
  batch(() => {
    undoable.value = undoable.value.slice(0, -1);
    if (step.back) {
      current.value = step.document;
      step.back();
      return;
    }
    // Settings and names stay as they are: what is undone is text.
    const variants = current.value.variants.map((variant) => {
      const old = step.document.variants.find((each) => each.id === variant.id);
      return old ? { ...variant, text: old.text } : variant;
    });
    update({ turns: step.document.turns, message: step.document.message, variants });
  });
}

/** Opens another document in place of this one; `undo` comes back to this one, and calls `back`. */
export function open(document: StudioDocument, back: () => void = () => {}): void {
  batch(() => {
    undoable.value = [...undoable.value, { document: current.value, back }].slice(-MOST_UNDO);
    current.value = document;
  });
}

// A tab has a draft of its own, so that two tabs do not write over each other; a new tab begins with the last draft of any.
function recall(): StudioDocument | null {
  try {
    const text = sessionStorage.getItem(PLACE) ?? localStorage.getItem(PLACE);
    return text === null ? null : readDocument(JSON.parse(text));
  } catch {
    return null;
  }
}

function keep(): void {
  try {
    const text = JSON.stringify(storedForm(current.peek()));
    sessionStorage.setItem(PLACE, text);
    localStorage.setItem(PLACE, text);
  } catch {
    // Storage is full or forbidden: the document lives as long as the page.
  }
}

let timer: ReturnType<typeof setTimeout> | undefined;
effect(() => {
  void current.value;
  clearTimeout(timer);
  timer = setTimeout(keep, REST);
});
addEventListener("pagehide", () => {
  beforeLeaving.forEach((finish) => finish());
  keep();
});
