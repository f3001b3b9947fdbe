// Points, round numbers and smooth lines of charts.

export interface Point { x: number; y: number }

/** How much of each point a smooth line takes at least, and how many points it can follow one by one. */
const SHARE = 0.15;
const FEW = 12;

/** About `count` round numbers from `least` to `most`. */
export function ticks(least: number, most: number, count: number): number[] {
  const raw = Math.max(1e-9, most - least) / count;
  const power = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 5, 10].map((each) => each * power).find((each) => each >= raw) ?? raw;
  const first = Math.ceil(least / step - 1e-9);
  const last = Math.floor(most / step + 1e-9);
  return Array.from({ length: Math.max(0, last - first + 1) }, (_, at) => (first + at) * step);
}

/** A line without the trembling of single steps. It begins where they do. */
export function smooth(points: Point[]): Point[] {
  const share = Math.min(1, Math.max(SHARE, FEW / points.length));
  let mean = points[0]?.y ?? 0;
  return points.map(({ x, y }) => {
    mean += share * (y - mean);
    return { x, y: mean };
  });
}
