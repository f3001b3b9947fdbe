// Prompts to begin with.
import type { JSX } from "preact";
import { templates } from "../domain/templates";
import { t } from "../i18n";
import { Dialog } from "../parts/dialog";
import { language } from "../state/preferences";
import { begin } from "../state/project";
import { main } from "../state/studio";

export function TemplatesDialog({ onClose }: { onClose: () => void }): JSX.Element {
  return (
    <Dialog title={t("templates.title")} onClose={onClose} wide>
      <p class="hint">{t("templates.hint")}</p>
      <ul class="templates">
        {templates(language.value, main.value.model).map(({ name, about, document }) => (
          <li key={name}>
            <button type="button" class="card" onClick={() => { begin(document); onClose(); }}>
              <strong>{name}</strong>
              <span>{about}</span>
            </button>
          </li>
        ))}
      </ul>
    </Dialog>
  );
}
