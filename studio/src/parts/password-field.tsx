// A password, hidden until its writer wants to see it: who cannot see what they type types it wrong in two scripts.
import type { JSX } from "preact";
import { useId, useState } from "preact/hooks";
import { t } from "../i18n";

interface Props {
  label: string;
  kind: "current-password" | "new-password";
  value: string;
  onInput: (value: string) => void;
  hint?: string;
  problem?: string;
}

export function PasswordField({ label, kind, value, onInput, hint, problem }: Props): JSX.Element {
  const id = useId();
  const [shows, setShows] = useState(false);
  const about = [hint && `${id}-hint`, problem && `${id}-problem`].filter(Boolean).join(" ");
  return (
    <div class="field line">
      <label for={id}>{label}</label>
      <div class="with-button">
        <input id={id} type={(shows ? "text" : "password") as "password"} autocomplete={kind} required minLength={kind === "new-password" ? 10 : 1} spellcheck={false}
          value={value} aria-describedby={about || undefined} aria-invalid={problem ? true : undefined} onInput={(event) => onInput(event.currentTarget.value)} />
        <button type="button" class="quiet" aria-pressed={shows} onClick={() => setShows(!shows)}>{t("password.show")}</button>
      </div>
      {hint && <p class="hint" id={`${id}-hint`}>{hint}</p>}
      {problem && <p class="error" role="alert" id={`${id}-problem`}>{problem}</p>}
    </div>
  );
}
