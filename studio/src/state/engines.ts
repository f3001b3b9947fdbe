// The models that could be asked, and what fits in memory.
import { signal } from "@preact/signals";
import { ApiError, call } from "../api/client";
import type { Operations } from "../api/schema";
import { t } from "../i18n";
import { loadModels } from "./models";

export type Engines = Operations["GET /api/studio/engines"]["result"];
export type Engine = Engines["engines"][number];

/** What the server told last; null until it was asked. */
export const shelf = signal<Engines | null>(null);

export async function loadShelf(): Promise<string> {
  try {
    shelf.value = await call("GET /api/studio/engines", undefined);
    return "";
  } catch (error) {
    return explained(error);
  }
}

/** Loads a model beside those that are served. Returns what was wrong; nothing where it went well. */
export async function loadEngine(name: string): Promise<string> {
  try {
    await call("POST /api/studio/engines/load", { name });
    await Promise.all([loadModels(), loadShelf()]);
    return "";
  } catch (error) {
    return explained(error);
  }
}

function explained(error: unknown): string {
  if (!(error instanceof ApiError)) return String(error);
  switch (error.code) {
    case "no_memory": return t("engines.noMemory");
    case "unreachable": return t("error.unreachable");
    default: return error.message;
  }
}
