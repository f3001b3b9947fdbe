// Asks for the password or a key where the server does.
import type { JSX } from "preact";
import { useId, useState } from "preact/hooks";
import { t } from "../i18n";
import { PasswordField } from "../parts/password-field";
import { enter } from "../state/account";
import { loadModels } from "../state/models";
import { refused, session, takeKey } from "../state/session";

export function SignIn(): JSX.Element {
  const hasPassword = session.value?.password ?? false;
  return (
    <main id="main" class="message">
      {hasPassword ? (
        <div class="card sign-in">
          <h1>{t("signIn.titlePassword")}</h1>
          <PasswordForm />
          <details>
            <summary>{t("signIn.byKey")}</summary>
            <KeyForm />
          </details>
        </div>
      ) : (
        <div class="card sign-in">
          <h1>{t("signIn.title")}</h1>
          <KeyForm />
        </div>
      )}
    </main>
  );
}

function PasswordForm(): JSX.Element {
  const [password, setPassword] = useState("");
  const [problem, setProblem] = useState("");
  const [busy, setBusy] = useState(false);
  const submit = async () => {
    setBusy(true);
    setProblem(await enter(password));
    setBusy(false);
  };
  return (
    <form onSubmit={(event) => { event.preventDefault(); void submit(); }}>
      <PasswordField label={t("signIn.password")} kind="current-password" value={password} onInput={setPassword} problem={problem} />
      <button type="submit" class="primary" disabled={busy}>{t("signIn.enter")}</button>
    </form>
  );
}

function KeyForm(): JSX.Element {
  const id = useId();
  const [text, setText] = useState("");
  const reason = refused.value;
  return (
    <form onSubmit={(event) => { event.preventDefault(); takeKey(text); void loadModels(); }}>
      <p>{t("signIn.about")}</p>
      <div class="field line">
        <label for={id}>{t("signIn.key")}</label>
        <input id={id} type="password" autocomplete="off" required value={text} aria-describedby={`${id}-hint`} onInput={(event) => setText(event.currentTarget.value)} />
        <p class="hint" id={`${id}-hint`}>{t("signIn.where")}</p>
      </div>
      {reason && <p class="hint" lang="en" role="status">{reason}</p>}
      <button type="submit" class="primary">{t("signIn.enter")}</button>
    </form>
  );
}
