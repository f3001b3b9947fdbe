// Use by day, to look at and to read.
import type { JSX } from "preact";
import type { UsageDay } from "../api/studio";
import { number, t } from "../i18n";

const DAYS = 30;
const HEIGHT = 120;
const STEP = 20;

/** The last days up to `today`, those without use as well. */
function filled(days: UsageDay[], today: Date): UsageDay[] {
  const known = new Map(days.map((day) => [day.day, day]));
  return Array.from({ length: DAYS }, (_, at) => {
    const day = new Date(today.getTime() - (DAYS - 1 - at) * 86_400_000).toISOString().slice(0, 10);
    return known.get(day) ?? { day, requests: 0, prompt_tokens: 0, cached_tokens: 0, completion_tokens: 0 };
  });
}

export function UsageChart({ days }: { days: UsageDay[] }): JSX.Element {
  const all = filled(days, new Date());
  const most = Math.max(1, ...all.map((day) => day.requests));
  return (
    <section class="usage" aria-label={t("usage.title")}>
      <h2>{t("usage.title")}</h2>
      <svg viewBox={`0 0 ${DAYS * STEP} ${HEIGHT + 20}`} role="img" aria-label={t("usage.chart", { days: DAYS, requests: all.reduce((sum, day) => sum + day.requests, 0) })}>
        <line class="axis" x1="0" x2={DAYS * STEP} y1={HEIGHT} y2={HEIGHT} />
        {all.map((day, at) => {
          const height = (day.requests / most) * (HEIGHT - 10);
          return (
            <rect key={day.day} x={at * STEP + 3} y={HEIGHT - height} width={STEP - 6} height={height} rx="2">
              <title>{`${day.day}: ${number(day.requests)}`}</title>
            </rect>
          );
        })}
        <text x="0" y={HEIGHT + 15}>{all[0]?.day}</text>
        <text x={DAYS * STEP} y={HEIGHT + 15} text-anchor="end">{all.at(-1)?.day}</text>
      </svg>
      <details class="twin">
        <summary>{t("usage.table")}</summary>
        <table class="plain-table">
          <thead><tr><th scope="col">{t("usage.day")}</th><th scope="col" class="amount">{t("usage.requests")}</th><th scope="col" class="amount">{t("usage.prompt")}</th><th scope="col" class="amount">{t("usage.answer")}</th></tr></thead>
          <tbody>{days.map((day) => <tr key={day.day}><td>{day.day}</td><td class="amount">{number(day.requests)}</td><td class="amount">{number(day.prompt_tokens)}</td><td class="amount">{number(day.completion_tokens)}</td></tr>)}</tbody>
        </table>
      </details>
    </section>
  );
}
