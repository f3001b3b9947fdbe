// What changed between two texts, line by line.

export interface Line {
  kind: "same" | "added" | "removed";
  text: string;
}

/** Lines beyond which two texts are not compared line by line. */
const MOST = 2000;

/** The shortest way from one list of lines to another, by their longest common subsequence. */
export function difference(before: string[], after: string[]): Line[] {
  let begin = 0;
  while (begin < before.length && begin < after.length && before[begin] === after[begin]) begin += 1;
  let end = 0;
  const limit = Math.min(before.length, after.length) - begin;
  while (end < limit && before[before.length - 1 - end] === after[after.length - 1 - end]) end += 1;
  const a = before.slice(begin, before.length - end);
  const b = after.slice(begin, after.length - end);
  const same = (texts: string[]) => texts.map((text) => ({ kind: "same" as const, text }));
  return [...same(before.slice(0, begin)), ...middle(a, b), ...same(before.slice(before.length - end))];
}

function middle(a: string[], b: string[]): Line[] {
  const removed = (text: string): Line => ({ kind: "removed", text });
  const added = (text: string): Line => ({ kind: "added", text });
  if (a.length > MOST || b.length > MOST) return [...a.map(removed), ...b.map(added)];
  // lengths[i][j]: of what a from i and b from j have in common.
  const width = b.length + 1;
  const lengths = new Uint16Array((a.length + 1) * width);
  const at = (i: number, j: number) => lengths[i * width + j] ?? 0;
  for (let i = a.length - 1; i >= 0; i -= 1) {
    for (let j = b.length - 1; j >= 0; j -= 1) {
      lengths[i * width + j] = a[i] === b[j] ? at(i + 1, j + 1) + 1 : Math.max(at(i + 1, j), at(i, j + 1));
    }
  }
  const lines: Line[] = [];
  let [i, j] = [0, 0];
  while (i < a.length || j < b.length) {
    const [left, right] = [a[i], b[j]];
    if (left !== undefined && left === right) {
      lines.push({ kind: "same", text: left });
      i += 1;
      j += 1;
    } else if (left !== undefined && (right === undefined || at(i + 1, j) >= at(i, j + 1))) {
      lines.push(removed(left));
      i += 1;
    } else if (right !== undefined) {
      lines.push(added(right));
      j += 1;
    }
  }
  return lines;
}

/** What changed, with some lines around it; `null` stands for lines that are left out. */
export function excerpt(lines: Line[], around = 2): (Line | null)[] {
  const shown = lines.map((_, at) => lines.slice(Math.max(0, at - around), at + around + 1).some((line) => line.kind !== "same"));
  const out: (Line | null)[] = [];
  lines.forEach((line, at) => {
    if (shown[at]) out.push(line);
    else if (out.at(-1) !== null || out.length === 0) out.push(null);
  });
  return out;
}
