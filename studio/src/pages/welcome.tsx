// The first steps on a new server: a password if one likes, an engine, a first sentence.
import type { JSX } from "preact";
import { useState } from "preact/hooks";
import { t } from "../i18n";
import { Dialog } from "../parts/dialog";
import { Icon } from "../parts/icons";
import { PasswordField } from "../parts/password-field";
import { closeWelcome, setPassword } from "../state/account";
import { announce } from "../state/announcer";
import { clearRuns, start } from "../state/run";
import { session } from "../state/session";
import { current, main, update } from "../state/studio";
import { EngineNote } from "./engines-dialog";
import { EngineChooser } from "./settings";

export function Welcome(): JSX.Element {
  const isSet = session.value?.password ?? false;
  const first = () => {
    clearRuns();
    update({ mode: "chat", compare: false, message: t("welcome.sample") });
    closeWelcome();
    void start();
  };
  return (
    <section class="card welcome" aria-label={t("welcome.title")}>
      <header>
        <h2>{t("welcome.title")}</h2>
        <button type="button" class="plain" aria-label={t("welcome.close")} title={t("welcome.close")} onClick={closeWelcome}><Icon name="close" /></button>
      </header>
      <ol>
        <li>
          <h3>{t("welcome.password")}</h3>
          {isSet ? <p class="fine"><Icon name="check" />{t("password.isSet")}</p> : <NewPassword />}
        </li>
        <li>
          <h3>{t("welcome.engine")}</h3>
          <EngineChooser variant={main.value} />
          <EngineNote variant={main.value} />
        </li>
        <li>
          <h3>{t("welcome.first")}</h3>
          <p class="hint">{t("welcome.first.hint")}</p>
          <div class="row">
            <button type="button" class="primary" disabled={current.value.turns.length > 0} onClick={first}><Icon name="run" />{t("welcome.sample")}</button>
            <button type="button" class="quiet" onClick={closeWelcome}>{t("welcome.close")}</button>
          </div>
        </li>
      </ol>
    </section>
  );
}

/** Sets the first password. */
export function NewPassword({ onDone }: { onDone?: () => void }): JSX.Element {
  const [password, setText] = useState("");
  const [problem, setProblem] = useState("");
  const [busy, setBusy] = useState(false);
  const submit = async () => {
    setBusy(true);
    const wrong = await setPassword(password);
    setProblem(wrong);
    setBusy(false);
    if (wrong) return;
    announce(t("password.isSet"));
    onDone?.();
  };
  return (
    <form class="new-password" onSubmit={(event) => { event.preventDefault(); void submit(); }}>
      <p class="hint">{t("password.about")}</p>
      <PasswordField label={t("password.new")} kind="new-password" hint={t("password.rule")} value={password} onInput={setText} problem={problem} />
      <button type="submit" class="quiet" disabled={busy}>{t("password.set")}</button>
    </form>
  );
}

export function PasswordDialog({ onClose }: { onClose: () => void }): JSX.Element {
  return <Dialog title={t("password.set")} onClose={onClose}><NewPassword onDone={onClose} /></Dialog>;
}
