// Which page is shown: the part of the address after `#`, so that the server needs to know one page only.
import { signal } from "@preact/signals";

/** `playground` of `#/playground`, and what follows. */
export const route = signal(read());

function read(): string[] {
  return location.hash.replace(/^#\/?/, "").split("/").map(decodeURIComponent);
}

addEventListener("hashchange", () => {
  route.value = read();
});
