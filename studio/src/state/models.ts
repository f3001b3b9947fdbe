// The models that the server has loaded.
import { computed, signal } from "@preact/signals";
import { ApiError, call } from "../api/client";
import type { Model } from "../api/schema";
import { current, update } from "./studio";

export const models = signal<Model[] | null>(null);
export const modelsError = signal<ApiError | null>(null);
/** Those that write; the others turn texts into vectors. */
export const engines = computed(() => (models.value ?? []).filter((model) => model.max_model_len != null));
export const encoders = computed(() => (models.value ?? []).filter((model) => model.max_model_len == null));

export function contextOf(name: string): number | null {
  return models.value?.find((model) => model.id === name)?.max_model_len ?? null;
}

/** Asks the server, and gives a model to variants that have none. One that is not served stays: it may be again. */
export async function loadModels(): Promise<void> {
  try {
    models.value = (await call("GET /v1/models", undefined)).data;
    modelsError.value = null;
  } catch (error) {
    modelsError.value = error instanceof ApiError ? error : new ApiError(0, "unreachable", String(error));
    return;
  }
  const first = engines.value[0]?.id;
  const { variants } = current.value;
  if (first !== undefined && variants.some((variant) => variant.model === "")) {
    update({ variants: variants.map((variant) => ({ ...variant, model: variant.model || first })) });
  }
}
