// Words of the pages in the language of the person.
import { language } from "../state/preferences";
import type { Language } from "../state/preferences";
import { en } from "./en";
import { ko } from "./ko";
import { withParticles } from "./particles";

export type Key = keyof typeof en;
type Values = Record<string, string | number>;

const words: Record<Language, Record<Key, string>> = { en, ko };

/** The text of a key, with `{name}` replaced by values. Reading it makes a component follow the language. */
export function t(key: Key, values: Values = {}): string {
  return put(words[language.value][key], values);
}

function put(text: string, values: Values): string {
  const filled = text.replace(/\{(\w+)\}/g, (whole, name: string) => {
    const value = values[name];
    return value === undefined ? whole : typeof value === "number" ? number(value) : value;
  });
  return withParticles(filled);
}

export function number(value: number, digits = 0): string {
  return new Intl.NumberFormat(language.value, { maximumFractionDigits: digits, minimumFractionDigits: 0 }).format(value);
}

export function percent(value: number): string {
  const digits = value > 0 && value < 0.001 ? 3 : 1;
  return new Intl.NumberFormat(language.value, { style: "percent", maximumFractionDigits: digits }).format(value);
}

export function date(millis: number): string {
  return new Intl.DateTimeFormat(language.value, { dateStyle: "medium", timeStyle: "short" }).format(millis);
}
