// A box for each `{{name}}` of the prompt.
import type { JSX } from "preact";
import { textsOf, variableNames } from "../domain/prompt";
import { t } from "../i18n";
import { TextArea } from "../parts/fields";
import { current, main, update } from "../state/studio";

export function Variables(): JSX.Element | null {
  const document = current.value;
  const names = variableNames(textsOf(document, document.compare ? document.variants : [main.value]));
  if (names.length === 0) return null;
  return (
    <section class="variables" aria-label={t("variables.title")}>
      <h2>{t("variables.title")}</h2>
      <div class="grid">
        {names.map((name) => (
          <TextArea key={name} label={name} rows={1} value={document.variables[name] ?? ""}
            onInput={(value) => update({ variables: { ...current.value.variables, [name]: value } })} />
        ))}
      </div>
    </section>
  );
}
