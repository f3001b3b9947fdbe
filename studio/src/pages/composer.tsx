// Where messages are written. One Enter sends one message.
import type { JSX } from "preact";
import { useId, useMemo } from "preact/hooks";
import { Composition } from "../domain/ime";
import { t } from "../i18n";
import { Grow } from "../parts/fields";
import { start } from "../state/run";
import { current, update } from "../state/studio";
import { Counter, RunButton } from "./run-bar";

export function Composer(): JSX.Element {
  const id = useId();
  const composition = useMemo(() => new Composition(), []);
  return (
    <div class="composer">
      <label for={id} class="unseen">{t("chat.message")}</label>
      <Grow id={id} class="message" rows={2} value={current.value.message} placeholder={t("chat.placeholder")} aria-describedby={`${id}-hint`}
        {...composition.handlers}
        onInput={(event) => update({ message: event.currentTarget.value })}
        onKeyDown={(event) => {
          if (event.key !== "Enter" || event.shiftKey || event.ctrlKey || event.metaKey || event.altKey) return;
          const field = event.currentTarget;
          composition.key(event, () => {
            // The field is ahead of us where a syllable was just completed.
            update({ message: field.value });
            void start();
          });
        }} />
      <div class="row">
        <Counter />
        <p class="hint" id={`${id}-hint`}>{t("chat.hint")}</p>
        <RunButton label={t("action.send")} />
      </div>
    </div>
  );
}
