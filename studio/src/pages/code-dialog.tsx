// The request as a program.
import type { JSX } from "preact";
import { useState } from "preact/hooks";
import { ask } from "../domain/prompt";
import { snippet } from "../domain/snippets";
import type { Language } from "../domain/snippets";
import { t } from "../i18n";
import { Dialog } from "../parts/dialog";
import { Check, Segmented } from "../parts/fields";
import { Icon } from "../parts/icons";
import { announce } from "../state/announcer";
import { key, session } from "../state/session";
import { current, main } from "../state/studio";

const VARIABLE = "SAEM_API_KEY";

export function CodeDialog({ onClose }: { onClose: () => void }): JSX.Element {
  const [language, setLanguage] = useState<Language>("curl");
  const [withKey, setWithKey] = useState(false);
  const [copied, setCopied] = useState(false);
  const hasKey = key.value !== "";
  // Whoever signed in by password has no key in this tab, and the program needs one.
  const needsKey = hasKey || (session.value?.guarded ?? false);
  const authority = !needsKey ? {} : withKey && hasKey ? { key: key.value } : { keyVariable: VARIABLE };
  const code = snippet(language, { ask: ask(current.value, main.value), origin: location.origin, ...authority });
  const copy = async () => {
    await navigator.clipboard.writeText(code);
    setCopied(true);
    announce(t("action.copied"));
  };
  return (
    <Dialog title={t("code.title")} onClose={onClose} wide>
      <p class="hint">{t("code.hint")}</p>
      <div class="row">
        <Segmented label={t("code.language")} value={language} onChange={(value) => { setLanguage(value); setCopied(false); }}
          options={[["curl", "curl"], ["python", "Python"], ["javascript", "JavaScript"]]} />
        <button type="button" class="quiet" onClick={() => void copy()}><Icon name={copied ? "check" : "copy"} />{copied ? t("action.copied") : t("action.copy")}</button>
      </div>
      {hasKey && <Check label={t("code.withKey")} checked={withKey} onChange={setWithKey} />}
      {needsKey && !(withKey && hasKey) && <p class="hint">{t("code.keyVariable", { name: VARIABLE })}</p>}
      <pre class="code" tabIndex={0} aria-label={t("code.title")}><code>{code}</code></pre>
    </Dialog>
  );
}
