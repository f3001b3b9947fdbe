// Every engine that could answer: what it is good for, what it takes, whether that fits.
import type { JSX } from "preact";
import { useEffect, useState } from "preact/hooks";
import type { Variant } from "../domain/document";
import { t } from "../i18n";
import { Dialog } from "../parts/dialog";
import { Icon } from "../parts/icons";
import { announce } from "../state/announcer";
import { loadEngine, loadShelf, shelf } from "../state/engines";
import type { Engine } from "../state/engines";
import { language } from "../state/preferences";
import { updateVariant } from "../state/studio";
import { size } from "./datasets";

/** What the chosen engine takes and what is free, and the way to others. */
export function EngineNote({ variant }: { variant: Variant }): JSX.Element {
  const [open, setOpen] = useState(false);
  useEffect(() => {
    if (shelf.value === null) void loadShelf();
  }, []);
  const engine = shelf.value?.engines.find((each) => each.name === variant.model);
  const memory = shelf.value?.memory;
  return (
    <div class="engine-note">
      {engine?.bytes != null && <span class="hint">{t("engines.takes", { size: size(engine.bytes) })}{memory != null && ` · ${t("engines.free", { size: size(memory) })}`}</span>}
      <button type="button" class="quiet small" onClick={() => setOpen(true)}>{t("engines.open")}</button>
      {open && <EnginesDialog variant={variant} onClose={() => setOpen(false)} />}
    </div>
  );
}

function EnginesDialog({ variant, onClose }: { variant: Variant; onClose: () => void }): JSX.Element {
  const [busy, setBusy] = useState("");
  const [problem, setProblem] = useState("");
  useEffect(() => void loadShelf().then(setProblem), []);
  const choose = (name: string) => {
    updateVariant(variant.id, { model: name });
    onClose();
  };
  const load = async (name: string) => {
    setBusy(name);
    const wrong = await loadEngine(name);
    setBusy("");
    setProblem(wrong);
    if (wrong) return;
    announce(t("engines.loaded", { name }));
    choose(name);
  };
  const found = shelf.value;
  return (
    <Dialog title={t("engines.title")} onClose={onClose} wide>
      <p class="hint">{t("engines.about")}{found?.memory != null && ` ${t("engines.free", { size: size(found.memory) })}.`}</p>
      {problem && <p class="error" role="alert">{problem}</p>}
      <ul class="engines">
        {found?.engines.map((engine) => (
          <li key={engine.name} class="card">
            <div class="engine-head">
              <h3>{engine.name}</h3>
              <Fit engine={engine} />
            </div>
            {engine.about && <p>{engine.about[language.value]}</p>}
            {engine.licence && <p class="hint">{engine.licence}</p>}
            <div class="row">
              {engine.state === "served" && <button type="button" class="quiet small" aria-pressed={engine.name === variant.model} onClick={() => choose(engine.name)}>{t("engines.choose", { name: engine.name })}</button>}
              {engine.state === "here" && engine.fits === true && <button type="button" class="quiet small" disabled={busy !== ""} onClick={() => void load(engine.name)}><Icon name="run" />{busy === engine.name ? t("engines.loading") : t("engines.load", { name: engine.name })}</button>}
              {engine.state === "away" && <p class="hint">{t("engines.fetch")} <code>saem pull {engine.name}</code></p>}
            </div>
          </li>
        ))}
      </ul>
    </Dialog>
  );
}

function Fit({ engine }: { engine: Engine }): JSX.Element {
  const { state, bytes, fits } = engine;
  const amount = bytes == null ? "" : t(state === "away" ? "engines.about.size" : "engines.takes", { size: size(bytes) });
  const word = state === "served" ? "engines.served" : fits == null ? "engines.unknown" : fits ? "engines.fits" : "engines.tooLarge";
  return <p class="facts"><span class={word === "engines.tooLarge" ? "bad" : "fits"}>{t(word)}</span>{amount && <span>{amount}</span>}</p>;
}
