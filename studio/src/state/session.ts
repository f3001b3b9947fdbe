// The key of this tab. It lives as long as the tab does and is never written to disk by us.
import { signal } from "@preact/signals";

const PLACE = "saem-key";

/** The key that requests carry; empty where the server asks for none. */
export const key = signal(read());
/** What the server said when it asked for a key; null while nobody has to sign in. */
export const refused = signal<string | null>(null);

function read(): string {
  try {
    return sessionStorage.getItem(PLACE) ?? "";
  } catch {
    return "";
  }
}

export function signIn(text: string): void {
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
