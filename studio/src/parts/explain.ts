// What went wrong, in the person's language where we know it, and else in the server's words.
import { t } from "../i18n";
import type { Key } from "../i18n";
import { ApiError } from "../api/client";

/** What can be said in the person's language; what else there is names its cause itself. */
const KNOWN = new Set(["tuning_state", "model_exists", "no_adapter_room", "no_space", "body_too_large", "request_timeout", "records_unavailable", "internal_error", "shutting_down", "model_stopped", "queue_full", "unreadable_table", "plan_failed"]);

export function explain(reason: unknown): string {
  if (!(reason instanceof ApiError)) return reason instanceof Error ? reason.message : String(reason);
  if (reason.status === 0) return t("error.unreachable");
  if (KNOWN.has(reason.code)) return t(`error.${reason.code}` as Key, { message: reason.message });
  const scope = reason.code === "scope_missing" ? /`(\w+)`/.exec(reason.message)?.[1] : undefined;
  return scope ? t("error.scope", { scope }) : reason.message;
}
