// How answers are made: the controls of CLOVA Studio, with its ranges and defaults.
import type { JSX } from "preact";
import { DEFAULTS, MOST_CANDIDATES, MOST_SEED, PRESETS, RANGES, presetOf } from "../domain/document";
import type { Variant } from "../domain/document";
import { number, t } from "../i18n";
import { Check, NumberField, Segmented, Select, Slider, StopSequences, TextArea } from "../parts/fields";
import { contextOf, engines } from "../state/models";
import { probabilities } from "../state/run";
import { current, main, update, updateParameters, updateVariant } from "../state/studio";
import { EngineNote } from "./engines-dialog";

export function EngineChooser({ variant, explains }: { variant: Variant; explains?: boolean }): JSX.Element {
  const options: [string, string][] = engines.value.map((model) => {
    const tokens = number(model.max_model_len ?? 0);
    return [model.id, t("engine.option", { name: model.id, tokens })];
  });
  if (variant.model !== "" && !options.some(([id]) => id === variant.model)) {
    options.push([variant.model, t("engine.missing", { name: variant.model })]);
  }
  return (
    <Select label={t("engine.label")} value={variant.model} options={options} {...(explains ? { hint: t("engine.hint") } : {})}
      onChange={(model) => updateVariant(variant.id, { model })} />
  );
}

export function Sampling({ variant }: { variant: Variant }): JSX.Element {
  const { parameters, id } = variant;
  const { mode, kind, candidates } = current.value;
  const set = (change: Partial<typeof parameters>) => updateParameters(id, change);
  return (
    <>
      <Segmented label={t("preset.label")} showsLabel value={presetOf(parameters)} onChange={(preset) => set(PRESETS[preset])}
        options={[["consistency", t("preset.consistency")], ["creativity", t("preset.creativity")]]} />
      <Slider label={t("field.topP")} hint={t("field.topP.hint")} {...RANGES.topP} value={parameters.topP} onChange={(topP) => set({ topP })} />
      <Slider label={t("field.topK")} hint={t("field.topK.hint")} {...RANGES.topK} value={parameters.topK} onChange={(topK) => set({ topK: Math.round(topK) })} />
      <Slider label={t("field.maxTokens")} hint={t("field.maxTokens.hint")} min={1} max={Math.max(contextOf(variant.model) ?? 2048, 1)} step={1}
        value={parameters.maxTokens} onChange={(maxTokens) => set({ maxTokens: Math.round(maxTokens) })} />
      <Slider label={t("field.temperature")} hint={t("field.temperature.hint")} {...RANGES.temperature} value={parameters.temperature} onChange={(temperature) => set({ temperature })} />
      <Slider label={t("field.repetition")} hint={t("field.repetition.hint")} {...RANGES.repeatPenalty} value={parameters.repeatPenalty} onChange={(repeatPenalty) => set({ repeatPenalty })} />
      <StopSequences value={parameters.stop} onChange={(stop) => set({ stop })} />
      {mode === "text" && (
        <>
          <TextArea label={t("field.start")} hint={t("field.start.hint")} rows={1} value={parameters.start} onInput={(start) => set({ start })} />
          <TextArea label={t("field.restart")} hint={t("field.restart.hint")} rows={1} value={parameters.restart} onInput={(restart) => set({ restart })} />
          {kind === "multiple" && (
            <NumberField label={t("field.candidates")} min={2} max={MOST_CANDIDATES} value={candidates} onChange={(count) => update({ candidates: count })} />
          )}
        </>
      )}
      <NumberField label={t("field.seed")} hint={t("field.seed.hint")} min={0} max={MOST_SEED} value={parameters.seed} onChange={(seed) => set({ seed })} />
      <button type="button" class="quiet small" onClick={() => set({ ...DEFAULTS, stop: [] })}>{t("settings.reset")}</button>
    </>
  );
}

export function Probabilities(): JSX.Element {
  return <Check label={t("probabilities.show")} checked={probabilities.value} onChange={(on) => { probabilities.value = on; }} />;
}

export function Settings(): JSX.Element {
  return (
    <div class="settings">
      <h2>{t("settings.title")}</h2>
      <EngineChooser variant={main.value} explains />
      <EngineNote variant={main.value} />
      <Sampling variant={main.value} />
      <Probabilities />
    </div>
  );
}
