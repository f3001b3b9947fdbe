// Signing in with the administrator's password, and out again.
import { signal } from "@preact/signals";
import { ApiError, call } from "../api/client";
import { t } from "../i18n";
import { loadModels } from "./models";
import { key, refused, session, signOut } from "./session";

const PLACE = "saem-welcome";

/** Whether the first steps are shown: to whoever sits at a new server's machine, until they close them. */
export const welcomes = signal(false);

export async function loadSession(): Promise<void> {
  try {
    session.value = await call("GET /api/studio/session", undefined);
    if (session.value.may_set_password && !session.value.guarded && !isClosed()) welcomes.value = true;
  } catch {
    // A server that cannot be reached is said to be so by whoever asks it for models.
  }
}

/** Signs in. Returns what was wrong; nothing where it went well. */
export async function enter(password: string): Promise<string> {
  return told(async () => {
    await call("POST /api/studio/session", { password });
    refused.value = null;
    await Promise.all([loadSession(), loadModels()]);
  });
}

/** Sets the first password, which signs in. */
export async function setPassword(password: string): Promise<string> {
  return told(async () => {
    await call("POST /api/studio/password", { password });
    await loadSession();
  });
}

/** Forgets the key, and ends the session where there is one. */
export async function leave(): Promise<void> {
  const signedIn = session.value?.signed_in && key.value === "";
  if (signedIn) await told(() => call("DELETE /api/studio/session", undefined));
  signOut();
  await loadSession();
}

export function closeWelcome(): void {
  welcomes.value = false;
  try {
    localStorage.setItem(PLACE, "closed");
  } catch {
    // It is there again at the next visit.
  }
}

function isClosed(): boolean {
  try {
    return localStorage.getItem(PLACE) !== null;
  } catch {
    return false;
  }
}

async function told(work: () => Promise<unknown>): Promise<string> {
  try {
    await work();
    return "";
  } catch (error) {
    if (!(error instanceof ApiError)) return String(error);
    switch (error.code) {
      case "wrong_password": return t("signIn.wrong");
      case "too_many_attempts": return t("signIn.wait");
      case "unreachable": return t("error.unreachable");
      case "invalid_value": return t("password.rule");
      default: return error.message;
    }
  }
}
