// Asks for a key where the server does.
import type { JSX } from "preact";
import { useState } from "preact/hooks";
import { t } from "../i18n";
import { loadModels } from "../state/models";
import { refused, signIn } from "../state/session";

export function SignIn(): JSX.Element {
  const [text, setText] = useState("");
  const reason = refused.value;
  return (
    <main id="main" class="message">
      <form class="card sign-in" onSubmit={(event) => { event.preventDefault(); signIn(text); void loadModels(); }}>
        <h1>{t("signIn.title")}</h1>
        <p>{t("signIn.about")}</p>
        <div class="field line">
          <label for="key">{t("signIn.key")}</label>
          <input id="key" type="password" autocomplete="off" required value={text} aria-describedby="key-hint" onInput={(event) => setText(event.currentTarget.value)} />
          <p class="hint" id="key-hint">{t("signIn.where")}</p>
        </div>
        {reason && <p class="hint" lang="en" role="status">{reason}</p>}
        <button type="submit" class="primary">{t("signIn.enter")}</button>
      </form>
    </main>
  );
}
