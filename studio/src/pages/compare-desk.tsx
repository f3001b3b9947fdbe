// Up to four ways to answer the same, in columns.
import type { JSX } from "preact";
import type { Variant } from "../domain/document";
import { t } from "../i18n";
import { TextArea } from "../parts/fields";
import { Icon } from "../parts/icons";
import { Answer, Facts } from "../parts/output";
import { clearRuns, runOf, running } from "../state/run";
import { checkpoint, current, main, newTurn, removeVariant, update, updateVariant } from "../state/studio";
import { Turns } from "./chat-desk";
import { Composer } from "./composer";
import { ExamplesTable } from "./examples-table";
import { Counter, RunButton } from "./run-bar";
import { EngineChooser, Probabilities, Sampling } from "./settings";
import { KindSwitch } from "./text-desk";
import { Variables } from "./variables";

/** The letter of a variant. */
const letter = (at: number) => String.fromCharCode(65 + at);

export function CompareDesk({ onAdd }: { onAdd?: (() => void) | undefined }): JSX.Element {
  const { mode, kind, variants } = current.value;
  return (
    <section class="compare" aria-label={t("compare.open")}>
      <Variables />
      {mode === "chat" ? <><Turns /><Composer /></> : (
        <>
          <KindSwitch />
          {kind === "examples" && <ExamplesTable instruction={main.value.text} />}
          <div class="row run-row"><Counter /><p class="hint">{t("text.hint")}</p><RunButton /></div>
        </>
      )}
      <div class="row">
        <Probabilities />
        {onAdd && <button type="button" class="quiet small" disabled={running.value} onClick={onAdd}><Icon name="plus" />{t("compare.add")}</button>}
      </div>
      <div class="columns variants">
        {variants.map((variant, at) => <Column key={variant.id} variant={variant} name={letter(at)} removable={variants.length > 2} />)}
      </div>
    </section>
  );
}

function Column({ variant, name, removable }: { variant: Variant; name: string; removable: boolean }): JSX.Element {
  const { mode, kind } = current.value;
  const run = runOf(variant);
  const goOn = (text: string) => {
    checkpoint();
    clearRuns();
    update({ turns: [...current.value.turns, newTurn("assistant", text)] });
  };
  return (
    <section class="card variant" aria-label={t("compare.variant", { name })}>
      <header>
        <h2>{t("compare.variant", { name })}</h2>
        {removable && <button type="button" class="plain" aria-label={t("compare.remove", { name })} disabled={running.value} onClick={() => removeVariant(variant.id)}><Icon name="close" /></button>}
      </header>
      <EngineChooser variant={variant} />
      {mode === "chat" ? (
        <TextArea label={t("chat.system")} rows={2} value={variant.system} placeholder={t("chat.system.placeholder")} onInput={(system) => updateVariant(variant.id, { system })} />
      ) : (
        <TextArea label={t(kind === "examples" ? "examples.instruction" : "text.prompt")} rows={4} value={variant.text}
          placeholder={t(kind === "examples" ? "examples.instruction.placeholder" : "text.placeholder")} onInput={(text) => updateVariant(variant.id, { text })} />
      )}
      <details>
        <summary>{t("settings.title")}</summary>
        <Sampling variant={variant} />
      </details>
      {run && (
        <div class="outcome">
          {run.candidates.map((candidate, index) => <Answer key={index} candidate={candidate} run={run} />)}
          <Facts run={run} />
          {mode === "chat" && run.status !== "running" && run.candidates[0]?.text && (
            <button type="button" class="quiet small" onClick={() => goOn(run.candidates[0]?.text ?? "")}>{t("compare.goOn")}</button>
          )}
        </div>
      )}
    </section>
  );
}
