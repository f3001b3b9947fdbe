// Who sits here: by the key of this tab, which is never written to disk by us, or by a session, of which only the browser
// knows the cookie.
import { signal } from "@preact/signals";
import type { Operations } from "../api/schema";

const PLACE = "saem-key";

/** The key that requests carry; empty where the server asks for none. */
export const key = signal(read());
/** What the server said when it asked for a key; null while nobody has to sign in. */
export const refused = signal<string | null>(null);
/** What the server knows of whoever asks; null until it was asked. */
export const session = signal<Operations["GET /api/studio/session"]["result"] | null>(null);

function read(): string {
  try {
    return sessionStorage.getItem(PLACE) ?? "";
  } catch {
    return "";
  }
}

export function takeKey(text: string): void {
  key.value = text.trim();
  try {
    sessionStorage.setItem(PLACE, key.value);
  } catch {
    // Without storage the key lasts until the next reload.
  }
  refused.value = null;
}

export function signOut(reason = ""): void {
  key.value = "";
  try {
    sessionStorage.removeItem(PLACE);
  } catch {
    // There was none.
  }
  refused.value = reason;
}
