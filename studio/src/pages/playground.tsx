// The workshop: a prompt, its settings, and what comes of it.
import type { JSX } from "preact";
import { useEffect, useState } from "preact/hooks";
import { MOST_VARIANTS } from "../domain/document";
import { t } from "../i18n";
import { Segmented } from "../parts/fields";
import { Icon } from "../parts/icons";
import { welcomes } from "../state/account";
import { clearRuns, running, start, stop } from "../state/run";
import { addVariant, canUndo, current, undo, update } from "../state/studio";
import { ChatDesk } from "./chat-desk";
import { CodeDialog } from "./code-dialog";
import { CompareDesk } from "./compare-desk";
import { ProjectBar } from "./project-bar";
import { Settings } from "./settings";
import { TemplatesDialog } from "./templates-dialog";
import { TextDesk } from "./text-desk";
import { Variables } from "./variables";
import { Welcome } from "./welcome";

type Open = "code" | "templates" | null;

/** Whether there is room for the settings beside the desk. */
function useWide(): boolean {
  const query = "(min-width: 64rem)";
  const [wide, setWide] = useState(() => matchMedia(query).matches);
  useEffect(() => {
    const list = matchMedia(query);
    const change = () => setWide(list.matches);
    list.addEventListener("change", change);
    return () => list.removeEventListener("change", change);
  }, []);
  return wide;
}

function useKeys(): void {
  useEffect(() => {
    const press = (event: KeyboardEvent) => {
      if (document.querySelector("dialog[open]")) return;
      if (event.key === "Escape" && running.value) {
        event.preventDefault();
        stop();
      }
      if (event.key === "Enter" && (event.ctrlKey || event.metaKey) && !event.isComposing) {
        event.preventDefault();
        void start();
      }
    };
    addEventListener("keydown", press);
    return () => removeEventListener("keydown", press);
  }, []);
}

export function Playground(): JSX.Element {
  const [open, setOpen] = useState<Open>(null);
  const wide = useWide();
  useKeys();
  const { title, mode, compare, variants } = current.value;
  const compares = (on: boolean) => {
    clearRuns();
    if (on && variants.length < 2) addVariant();
    update({ compare: on });
  };
  const settings = <Settings />;
  return (
    <main id="main" class={`playground ${compare ? "comparing" : ""}`}>
      <div class="desk">
        <header class="desk-head">
          <h1 class="unseen">{t("playground.title")}</h1>
          <input class="title" type="text" value={title} placeholder={t("playground.untitled")} aria-label={t("playground.name")}
            spellcheck={false} onInput={(event) => update({ title: event.currentTarget.value })} />
          <ProjectBar />
          <div class="row">
            <Segmented label={t("playground.mode")} value={mode} onChange={(value) => { clearRuns(); update({ mode: value }); }}
              options={[["chat", t("mode.chat")], ["text", t("mode.text")]]} />
            <div class="actions">
              <button type="button" class="quiet" onClick={() => setOpen("templates")}><Icon name="book" />{t("templates.open")}</button>
              <button type="button" class="quiet" aria-pressed={compare} onClick={() => compares(!compare)}><Icon name="columns" />{t("compare.open")}</button>
              <button type="button" class="quiet" onClick={() => setOpen("code")}><Icon name="code" />{t("code.open")}</button>
              <button type="button" class="quiet" disabled={!canUndo.value || running.value} onClick={() => { clearRuns(); undo(); }}><Icon name="undo" />{t("action.undo")}</button>
            </div>
          </div>
        </header>
        {welcomes.value && <Welcome />}
        {!compare && !wide && (
          <details class="settings-fold">
            <summary><Icon name="sliders" />{t("settings.title")}</summary>
            {settings}
          </details>
        )}
        {compare ? (
          <CompareDesk onAdd={variants.length < MOST_VARIANTS ? addVariant : undefined} />
        ) : (
          <>
            <Variables />
            {mode === "chat" ? <ChatDesk /> : <TextDesk />}
          </>
        )}
      </div>
      {!compare && wide && <aside class="settings-side" aria-label={t("settings.title")}>{settings}</aside>}
      {open === "code" && <CodeDialog onClose={() => setOpen(null)} />}
      {open === "templates" && <TemplatesDialog onClose={() => setOpen(null)} />}
    </main>
  );
}
