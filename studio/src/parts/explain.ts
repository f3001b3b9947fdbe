// What went wrong, in the person's language where we know it, and else in the server's words.
import { t } from "../i18n";
import { ApiError } from "../api/client";

export function explain(reason: unknown): string {
  if (!(reason instanceof ApiError)) return reason instanceof Error ? reason.message : String(reason);
  if (reason.status === 0) return t("error.unreachable");
  const scope = reason.code === "scope_missing" ? /`(\w+)`/.exec(reason.message)?.[1] : undefined;
  return scope ? t("error.scope", { scope }) : reason.message;
}
