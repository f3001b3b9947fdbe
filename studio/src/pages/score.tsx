// How right the answers were: figures, and which label was taken for which.
import type { JSX } from "preact";
import { useState } from "preact/hooks";
import type { Batch, Score } from "../api/studio";
import { number, percent, t } from "../i18n";
import { Bars } from "../parts/bars";
import { Segmented } from "../parts/fields";

/** Several variants beside each other, and one of them in full. */
export function ScoresOfVariants({ batch }: { batch: Batch }): JSX.Element {
  const scores = batch.scores ?? [];
  const [shown, setShown] = useState(scores[0]?.variant ?? "");
  const name = (variant: string) => t("compare.variant", { name: variant });
  const full = scores.find((each) => each.variant === shown)?.score;
  return (
    <>
      <section class="score" aria-label={t("score.variants")}>
        <h2>{t("score.variants")}</h2>
        <Bars caption={t("score.accuracy")} head={[t("variant.label"), t("score.accuracy")]} whole={0}
          bars={scores.map((each, at) => ({ name: name(each.variant), value: each.score?.accuracy ?? 0, text: percent(each.score?.accuracy ?? 0), tone: at }))} />
        <div class="scroll" tabIndex={0} role="region" aria-label={t("variant.label")}>
          <table class="plain-table variant-scores">
            <thead><tr><th scope="col">{t("variant.label")}</th><th scope="col">{t("engine.label")}</th><th scope="col" class="amount">{t("score.accuracy")}</th><th scope="col" class="amount">{t("score.f1")}</th><th scope="col" class="amount">{t("score.scored")}</th></tr></thead>
            <tbody>
              {scores.map(({ variant, score }) => (
                <tr key={variant}>
                  <th scope="row">{variant}</th><td>{batch.task?.variants?.find((each) => each.variant === variant)?.model}</td>
                  <td class="amount">{score && percent(score.accuracy)}</td><td class="amount">{score && number(score.macro_f1, 3)}</td><td class="amount">{number(score?.scored ?? 0)}</td>
                </tr>
              ))}
            </tbody>
          </table>
        </div>
        <Segmented label={t("variant.label")} value={shown} onChange={setShown} options={scores.map((each) => [each.variant, name(each.variant)] as const)} />
      </section>
      {full && <ScoreTables score={full} />}
    </>
  );
}

export function ScoreTables({ score }: { score: Score }): JSX.Element {
  const { labels, confusion, other, per_label } = score;
  const hasOther = other.some((count) => count > 0);
  const warm = (row: number, count: number) => {
    const all = (confusion[row] ?? []).reduce((sum, each) => sum + each, other[row] ?? 0);
    return `amount warm-${all > 0 ? Math.round((count / all) * 4) : 0}`;
  };
  return (
    <section class="score" aria-label={t("score.title")}>
      <h2>{t("score.title")}</h2>
      <dl class="figures">
        <div><dt>{t("score.accuracy")}</dt><dd>{percent(score.accuracy)}</dd></div>
        <div><dt>{t("score.f1")}</dt><dd>{number(score.macro_f1, 3)}</dd></div>
        <div><dt>{t("score.scored")}</dt><dd>{number(score.scored)}</dd></div>
      </dl>
      <div class="scroll" tabIndex={0} role="region" aria-label={t("score.confusion")}>
        <table class="similarity">
          <caption>{t("score.confusion")}</caption>
          <thead><tr><th scope="col">{t("score.gold")}</th>{labels.map((label) => <th key={label} scope="col">{label}</th>)}{hasOther && <th scope="col">{t("score.other")}</th>}</tr></thead>
          <tbody>
            {labels.map((label, row) => (
              <tr key={label}>
                <th scope="row">{label}</th>
                {labels.map((column, at) => <td key={column} class={warm(row, confusion[row]?.[at] ?? 0)}>{number(confusion[row]?.[at] ?? 0)}</td>)}
                {hasOther && <td class={warm(row, other[row] ?? 0)}>{number(other[row] ?? 0)}</td>}
              </tr>
            ))}
          </tbody>
        </table>
      </div>
      <div class="scroll" tabIndex={0} role="region" aria-label={t("score.labels")}>
        <table class="plain-table">
          <caption>{t("score.labels")}</caption>
          <thead><tr><th scope="col">{t("score.label")}</th><th scope="col" class="amount">{t("score.precision")}</th><th scope="col" class="amount">{t("score.recall")}</th><th scope="col" class="amount">F1</th><th scope="col" class="amount">{t("score.support")}</th></tr></thead>
          <tbody>
            {per_label.map((each) => <tr key={each.label}><th scope="row">{each.label}</th><td class="amount">{number(each.precision, 3)}</td><td class="amount">{number(each.recall, 3)}</td><td class="amount">{number(each.f1, 3)}</td><td class="amount">{number(each.support)}</td></tr>)}
          </tbody>
        </table>
      </div>
    </section>
  );
}
