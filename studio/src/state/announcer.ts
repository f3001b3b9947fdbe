// What is said to screen readers.
import { signal } from "@preact/signals";

/** Milliseconds between two announcements, so that each is heard to its end by most. */
const PAUSE = 1200;
export const announced = signal("");
let waiting: string[] = [];
let timer: ReturnType<typeof setTimeout> | undefined;

export function announce(text: string): void {
  waiting.push(text);
  timer ??= setTimeout(speak, 0);
}

function speak(): void {
  announced.value = waiting.join(" ");
  waiting = [];
  timer = setTimeout(() => {
    timer = undefined;
    if (waiting.length > 0) speak();
  }, PAUSE);
}
