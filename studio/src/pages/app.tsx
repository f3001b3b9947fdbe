// The frame around all pages.
import type { JSX } from "preact";
import { useEffect, useState } from "preact/hooks";
import { t } from "../i18n";
import { Icon, Mark } from "../parts/icons";
import { leave, welcomes } from "../state/account";
import { announced } from "../state/announcer";
import { engines, loadModels, models, modelsError } from "../state/models";
import { chooseLanguage, chooseTheme, language, theme } from "../state/preferences";
import type { Theme } from "../state/preferences";
import { route } from "../state/route";
import { key, refused, session } from "../state/session";
import { current } from "../state/studio";
import { Apps } from "./apps";
import { Batches } from "./batches";
import { Datasets } from "./datasets";
import { Explorer } from "./explorer";
import { Plan } from "./plan";
import { Playground } from "./playground";
import { Projects } from "./projects";
import { SignIn } from "./sign-in";
import { Tunings } from "./tunings";
import { PasswordDialog } from "./welcome";

const PAGES = [
  ["playground", "page.playground", Playground],
  ["projects", "page.projects", Projects],
  ["batches", "page.batches", Batches],
  ["datasets", "page.datasets", Datasets],
  ["tunings", "page.tunings", Tunings],
  ["plan", "page.plan", Plan],
  ["apps", "page.apps", Apps],
  ["explorer", "page.explorer", Explorer],
] as const;

export function App(): JSX.Element {
  const shown = PAGES.find(([name]) => name === route.value[0]) ?? PAGES[0];
  const [name, label, Page] = shown;
  const [setsPassword, setSetsPassword] = useState(false);
  const known = session.value;
  const signedIn = key.value !== "" || (known?.signed_in ?? false);
  useEffect(() => {
    const title = name === "playground" ? current.value.title : "";
    document.title = `${title || t(label)} · Saem Studio`;
  });
  return (
    <>
      <a class="skip" href="#main" onClick={(event) => { event.preventDefault(); focusMain(); }}>{t("app.skip")}</a>
      <header class="top">
        <a class="home" href="#/playground"><Mark /><span lang="ko" class="word">샘</span><span class="word latin">Studio</span></a>
        <nav aria-label={t("app.pages")}>
          {PAGES.map(([each, text]) => <a key={each} href={`#/${each}`} aria-current={each === name ? "page" : undefined}>{t(text)}</a>)}
        </nav>
        <div class="preferences">
          {signedIn && refused.value === null && <button type="button" class="quiet small" onClick={() => void leave()}><Icon name="leave" /><span class="foldable">{t(key.value ? "app.signOut" : "app.leave")}</span></button>}
          {known?.may_set_password && !known.guarded && !welcomes.value && <button type="button" class="quiet small" onClick={() => setSetsPassword(true)}><Icon name="lock" /><span class="foldable">{t("password.set")}</span></button>}
          <label>
            <span class="unseen">{t("app.theme")}</span>
            <select value={theme.value} onChange={(event) => chooseTheme(event.currentTarget.value as Theme)}>
              {(["system", "light", "dark"] as const).map((each) => <option key={each} value={each} selected={each === theme.value}>{t(`theme.${each}`)}</option>)}
            </select>
          </label>
          <div class="languages" role="group" aria-label={t("app.language")}>
            <button type="button" lang="ko" aria-pressed={language.value === "ko"} onClick={() => chooseLanguage("ko")}>한국어</button>
            <button type="button" lang="en" aria-pressed={language.value === "en"} onClick={() => chooseLanguage("en")}>English</button>
          </div>
        </div>
      </header>
      <Content page={Page} />
      {setsPassword && <PasswordDialog onClose={() => setSetsPassword(false)} />}
      <div class="unseen" role="status" aria-live="polite">{announced.value}</div>
    </>
  );
}

function Content({ page: Page }: { page: () => JSX.Element }): JSX.Element {
  if (refused.value !== null) return <SignIn />;
  if (modelsError.value) {
    return (
      <main id="main" class="message">
        <h1>{modelsError.value.status === 0 ? t("error.unreachable") : modelsError.value.message}</h1>
        <button type="button" class="primary" onClick={() => void loadModels()}>{t("app.retry")}</button>
      </main>
    );
  }
  if (models.value === null) return <main id="main" class="message"><h1 class="quiet-title">{t("app.loading")}</h1></main>;
  if (engines.value.length === 0) return <main id="main" class="message"><h1>{t("app.noEngine")}</h1></main>;
  return <Page />;
}

function focusMain(): void {
  const main = document.getElementById("main");
  main?.setAttribute("tabindex", "-1");
  main?.focus();
}
