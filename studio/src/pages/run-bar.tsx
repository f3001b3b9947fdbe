// The button that asks, the button that stops, and what the prompt costs.
import type { JSX } from "preact";
import { isEmpty } from "../domain/prompt";
import { number, t } from "../i18n";
import { Icon } from "../parts/icons";
import { count } from "../state/counter";
import { running, start, stop } from "../state/run";
import { current, main } from "../state/studio";

/** `532 / 2,048`: tokens of the prompt and of the model's context. */
export function Counter(): JSX.Element | null {
  const counted = count.value;
  if (!counted) return null;
  const { tokens, context } = counted;
  const room = context - tokens;
  const over = room < main.value.parameters.maxTokens;
  return (
    <p class={`counter ${over ? "over" : ""}`} title={t("counter.about")}>
      <span class="unseen">{t("counter.label")} </span>
      <span data-testid="counter">{number(tokens)} / {number(context)}</span>
      {over && <span class="note"> {t("counter.over", { room: Math.max(room, 0) })}</span>}
    </p>
  );
}

export function RunButton({ label }: { label?: string }): JSX.Element {
  if (running.value) {
    return <button type="button" class="primary stop" onClick={stop}><Icon name="stop" />{t("action.stop")}<kbd aria-hidden="true">Esc</kbd></button>;
  }
  const shown = current.value.compare ? current.value.variants : [main.value];
  const idle = shown.every((variant) => isEmpty(current.value, variant) || variant.model === "");
  return <button type="button" class="primary" disabled={idle} onClick={() => void start()}><Icon name="run" />{label ?? t("action.run")}</button>;
}
