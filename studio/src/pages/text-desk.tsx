// Free text: one prompt, worked on in one of four ways.
import type { JSX } from "preact";
import { t } from "../i18n";
import { Segmented, TextArea } from "../parts/fields";
import { Icon } from "../parts/icons";
import { Answer, Facts } from "../parts/output";
import { clearRuns, runOf, running } from "../state/run";
import { current, main, update, updateVariant } from "../state/studio";
import { ExamplesTable } from "./examples-table";
import { Counter, RunButton } from "./run-bar";

export function KindSwitch(): JSX.Element {
  return (
    <Segmented label={t("kind.label")} showsLabel value={current.value.kind} onChange={(kind) => { clearRuns(); update({ kind }); }}
      options={[["rolling", t("kind.rolling")], ["once", t("kind.once")], ["multiple", t("kind.multiple")], ["examples", t("kind.examples")]]} />
  );
}

export function TextDesk(): JSX.Element {
  const { kind } = current.value;
  const variant = main.value;
  const run = runOf(variant);
  const rolls = kind === "rolling" && run?.status === "running";
  const partial = rolls ? variant.parameters.start + (run.candidates[0]?.text ?? "") : "";
  return (
    <section class="free" aria-label={t("mode.text")}>
      <KindSwitch />
      <p class="hint">{t(`kind.${kind}.hint`)}</p>
      {kind === "examples" ? (
        <>
          <TextArea label={t("examples.instruction")} rows={2} value={variant.text} placeholder={t("examples.instruction.placeholder")}
            onInput={(text) => updateVariant(variant.id, { text })} />
          <ExamplesTable instruction={variant.text} />
        </>
      ) : (
        <TextArea label={t("text.prompt")} className="prompt" rows={10} value={variant.text + partial} readOnly={rolls} placeholder={t("text.placeholder")}
          onInput={(text) => updateVariant(variant.id, { text })} />
      )}
      <div class="row run-row">
        <Counter />
        <p class="hint">{t("text.hint")}</p>
        <RunButton />
      </div>
      {run && kind !== "rolling" && (
        <section class="answers" aria-label={t("answer.title")}>
          <h2>{t("answer.title")}</h2>
          <div class={kind === "multiple" ? "columns" : ""}>
            {run.candidates.map((candidate, at) => (
              <article key={at} class="card">
                {kind === "multiple" && <h3>{t("answer.number", { number: at + 1 })}</h3>}
                <Answer candidate={candidate} run={run} />
                <UseAnswer text={candidate.text} />
              </article>
            ))}
          </div>
          <Facts run={run} />
        </section>
      )}
      {run && kind === "rolling" && (
        <div class="incoming">
          {run.status !== "running" && (run.candidates[0]?.tokens.length ?? 0) > 0 && run.candidates[0] && <Answer candidate={run.candidates[0]} run={run} />}
          <Facts run={run} />
        </div>
      )}
    </section>
  );
}

function UseAnswer({ text }: { text: string }): JSX.Element | null {
  if (text === "" || running.value) return null;
  return (
    <button type="button" class="quiet small" onClick={() => void navigator.clipboard?.writeText(text)}><Icon name="copy" />{t("action.copy")}</button>
  );
}
