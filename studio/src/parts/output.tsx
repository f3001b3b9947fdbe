// An answer: its text or its tokens, and what it cost.
import type { JSX } from "preact";
import { groups, level } from "../domain/probabilities";
import type { Token } from "../domain/probabilities";
import { number, percent, t } from "../i18n";
import { speed } from "../state/run";
import type { Candidate, Run } from "../state/run";

export function Answer({ candidate, run }: { candidate: Candidate; run: Run }): JSX.Element {
  if (candidate.tokens.length > 0) return <Tokens tokens={candidate.tokens} text={candidate.text} />;
  return (
    <p class="answer" data-status={run.status}>
      {candidate.text}
      {run.status === "running" && <span class="caret" aria-hidden="true" />}
    </p>
  );
}

/** Tokens in colours, and the same as a table. */
function Tokens({ tokens, text }: { tokens: Token[]; text: string }): JSX.Element {
  const all = groups(tokens, text);
  return (
    <>
      <p class="answer tokens">
        {all.map((group) => (
          <span key={group.from} class={`token level-${level(group.probability)}`} title={percent(group.probability)}>{group.text}</span>
        ))}
      </p>
      <p class="legend" aria-hidden="true">
        {([0, 1, 2, 3, 4] as const).map((step) => (
          <span key={step} class={`token level-${step}`}>{["<10%", "10–30%", "30–60%", "60–90%", "≥90%"][step]}</span>
        ))}
      </p>
      <details class="twin">
        <summary>{t("probabilities.table", { count: tokens.length })}</summary>
        <div class="scroll" tabIndex={0} role="region" aria-label={t("probabilities.title")}>
          <table>
            <thead>
              <tr><th scope="col">{t("probabilities.text")}</th><th scope="col" class="amount">{t("probabilities.probability")}</th><th scope="col">{t("probabilities.instead")}</th></tr>
            </thead>
            <tbody>
              {all.map((group) => {
                const first = group.to - group.from === 1 ? tokens[group.from] : undefined;
                const others = first?.alternatives.filter((other) => other.text !== first.text) ?? [];
                return (
                  <tr key={group.from}>
                    <td><code>{visible(group.text)}</code></td>
                    <td class="amount">{percent(group.probability)}</td>
                    <td>
                      {first
                        ? others.slice(0, 4).map((other) => <span key={other.text} class="other"><code>{visible(other.text)}</code> {percent(other.probability)}</span>)
                        : t("probabilities.parts", { count: group.to - group.from })}
                    </td>
                  </tr>
                );
              })}
            </tbody>
          </table>
        </div>
      </details>
    </>
  );
}

function visible(text: string): string {
  return text.replaceAll("\n", "↵").replaceAll("\t", "⇥").replaceAll(" ", "␣").replaceAll("\uFFFD", "·");
}

/** Tokens, seconds, tokens per second; or what went wrong. */
export function Facts({ run }: { run: Run }): JSX.Element {
  if (run.error) {
    return <p class="error" role="alert">{run.error.status === 0 ? t("error.unreachable") : run.error.message}</p>;
  }
  const rate = speed(run);
  const end = run.last ?? run.asked;
  const facts = [
    run.status === "running" && run.first === null ? t("run.waiting") : "",
    run.usage ? t("run.tokens", { prompt: run.usage.prompt_tokens, answer: run.usage.completion_tokens }) : "",
    run.status !== "running" && run.first !== null ? t("run.seconds", { seconds: number((end - run.asked) / 1000, 1) }) : "",
    rate === null ? "" : t("run.speed", { rate: number(rate, rate < 10 ? 1 : 0) }),
    run.status === "stopped" ? t("run.stopped") : "",
    run.candidates.some((candidate) => candidate.finish === "length") ? t("run.length") : "",
  ];
  return <p class="facts">{facts.filter(Boolean).map((fact) => <span key={fact}>{fact}</span>)}</p>;
}
