// Language and colours: this person's, on this machine.
import { effect, signal } from "@preact/signals";

export type Language = "en" | "ko";
export type Theme = "system" | "light" | "dark";

function read<T extends string>(name: string, known: readonly T[]): T | undefined {
  try {
    return known.find((value) => value === localStorage.getItem(name));
  } catch {
    return undefined;
  }
}

function write(name: string, value: string): void {
  try {
    localStorage.setItem(name, value);
  } catch {
    // It holds until the page is left.
  }
}

const spoken = navigator.languages.some((tag) => tag.toLowerCase().startsWith("ko")) ? "ko" : "en";
export const language = signal<Language>(read("saem-language", ["en", "ko"]) ?? spoken);
export const theme = signal<Theme>(read("saem-theme", ["system", "light", "dark"]) ?? "system");

export function chooseLanguage(value: Language): void {
  language.value = value;
  write("saem-language", value);
}

export function chooseTheme(value: Theme): void {
  theme.value = value;
  write("saem-theme", value);
}

effect(() => {
  document.documentElement.lang = language.value;
});
effect(() => {
  document.documentElement.dataset["theme"] = theme.value;
});
