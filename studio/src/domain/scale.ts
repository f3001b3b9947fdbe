// Large numbers as people say them, and sliders that go through many powers of ten.

/** A place from 0 to 1 as a number between two, evenly through the powers of ten, with two digits that count. */
export function atPlace(place: number, least: number, most: number): number {
  const value = least * (most / least) ** place;
  const power = 10 ** (Math.floor(Math.log10(value)) - 1);
  return Math.round(value / power) * power;
}

export function placeOf(value: number, least: number, most: number): number {
  return Math.min(1, Math.max(0, Math.log(value / least) / Math.log(most / least)));
}

/** `600B`, `1.3B`, `250M`: what people write; null where it is no number. */
export function parseCount(text: string): number | null {
  const match = /^\s*([\d.,]+)\s*([kKmMbBgGtT]?)\s*$/.exec(text);
  if (!match) return null;
  const number = Number((match[1] ?? "").replaceAll(",", ""));
  const unit = { "": 1, k: 1e3, m: 1e6, b: 1e9, g: 1e9, t: 1e12 }[(match[2] ?? "").toLowerCase()] ?? 1;
  return Number.isFinite(number) && number > 0 ? number * unit : null;
}

/** And back: three digits at most. */
export function short(value: number): string {
  for (const [unit, size] of [["T", 1e12], ["B", 1e9], ["M", 1e6], ["K", 1e3]] as const) {
    if (value >= size * 0.9995) return `${Number((value / size).toPrecision(3))}${unit}`;
  }
  return String(Number(value.toPrecision(3)));
}
