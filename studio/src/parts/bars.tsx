// Shares of a whole as bars. The bars are rows of a table, so that whoever cannot see them reads the same.
import type { JSX } from "preact";
import { number, percent } from "../i18n";

export interface Bar {
  name: string;
  value: number;
  /** What is written beside it, where that is not the number. */
  text?: string;
  tone?: number;
}

export function Bars({ caption, bars, whole, head }: { caption: string; bars: Bar[]; whole?: number; head: [string, string] }): JSX.Element {
  const sum = whole ?? bars.reduce((all, bar) => all + bar.value, 0);
  const most = Math.max(1e-12, ...bars.map((bar) => bar.value));
  return (
    <table class="bars">
      <caption>{caption}</caption>
      <thead class="unseen"><tr><th scope="col">{head[0]}</th><td /><th scope="col">{head[1]}</th><th scope="col">%</th></tr></thead>
      <tbody>
        {bars.map((bar) => (
          <tr key={bar.name}>
            <th scope="row">{bar.name}</th>
            <td class="bar-cell"><span class={`bar tone-${bar.tone ?? 0}`} style={{ width: `${Math.max(0.4, (bar.value / most) * 100)}%` }} /></td>
            <td class="amount">{bar.text ?? number(bar.value)}</td>
            <td class="amount soft">{sum > 0 ? percent(bar.value / sum) : ""}</td>
          </tr>
        ))}
      </tbody>
    </table>
  );
}
