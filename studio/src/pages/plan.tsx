// "What would 600B take?": devices, memory, days, energy and money for any size, while a slider moves.
import type { JSX } from "preact";
import { useEffect, useId, useState } from "preact/hooks";
import { call, isAbort } from "../api/client";
import type { Arrangement, ClusterPlan } from "../api/plan";
import { atPlace, parseCount, placeOf, short } from "../domain/scale";
import { number, percent, t } from "../i18n";
import type { Key } from "../i18n";
import { Bars } from "../parts/bars";
import { explain } from "../parts/explain";
import { Select } from "../parts/fields";
import { announce } from "../state/announcer";
import { size } from "./datasets";

interface Question { parameters: number; tokens: number; images: number; days: number }

const BOUNDS: Record<keyof Question, [number, number]> = { parameters: [1e8, 2e12], tokens: [1e9, 2e13], images: [1e5, 1e10], days: [1, 365] };
/** Sizes that were asked for, in 2021 and since. */
const SIZES: [Key, Question][] = [
  ["plan.preset.lab", { parameters: 6e8, tokens: 1.2e10, images: 0, days: 30 }],
  ["plan.preset.hyperclova", { parameters: 8.2e10, tokens: 1.5e11, images: 0, days: 14 }],
  ["plan.preset.exaone", { parameters: 3e11, tokens: 6e11, images: 2.5e8, days: 90 }],
  ["plan.preset.seed", { parameters: 6e11, tokens: 6e11, images: 2.5e8, days: 90 }],
];
/** Milliseconds of rest after which is asked. */
const REST = 120;

export function Plan(): JSX.Element {
  const [question, setQuestion] = useState<Question>(SIZES[3]?.[1] ?? { parameters: 6e11, tokens: 6e11, images: 0, days: 90 });
  const [answer, setAnswer] = useState<ClusterPlan | null>(null);
  const [device, setDevice] = useState("a100-80g");
  const [error, setError] = useState("");
  const asked = JSON.stringify(question);
  useEffect(() => {
    const stop = new AbortController();
    const timer = setTimeout(() => {
      call("POST /api/studio/plan", JSON.parse(asked), { signal: stop.signal })
        .then((next) => { setAnswer(next as unknown as ClusterPlan); setError(""); })
        .catch((reason: unknown) => { if (!isAbort(reason)) setError(explain(reason)); });
    }, REST);
    return () => {
      clearTimeout(timer);
      stop.abort();
    };
  }, [asked]);
  const on = answer?.hardware.find((each) => each.device.name === device) ?? answer?.hardware[0];
  const set = (change: Partial<Question>) => setQuestion({ ...question, ...change });
  return (
    <main id="main" class="explorer wide">
      <header class="page-head">
        <h1>{t("plan.title")}</h1>
        <p class="lead">{t("plan.about")}</p>
      </header>
      <div class="presets row" role="group" aria-label={t("plan.presets")}>
        {SIZES.map(([label, each]) => (
          <button key={label} type="button" class="quiet small" aria-pressed={JSON.stringify(each) === asked} onClick={() => { setQuestion(each); announce(t(label)); }}>{t(label)}</button>
        ))}
      </div>
      <div class="tuning-desk plan-desk">
        <section class="card form" aria-label={t("plan.question")}>
          <Scale label={t("plan.parameters")} hint={t("plan.parameters.hint")} name="parameters" value={question.parameters} onChange={(parameters) => set({ parameters })} />
          <Scale label={t("plan.tokens")} hint={t("plan.tokens.hint")} name="tokens" value={question.tokens} onChange={(tokens) => set({ tokens })} />
          <Scale label={t("plan.images")} hint={t("plan.images.hint")} name="images" zero value={question.images} onChange={(images) => set({ images })} />
          <Scale label={t("plan.days")} hint={t("plan.days.hint")} name="days" value={question.days} onChange={(days) => set({ days })} />
          {answer && <Select label={t("plan.device")} value={on?.device.name ?? ""} options={answer.hardware.map((each) => [each.device.name, each.device.title] as const)} onChange={setDevice} />}
        </section>
        <div class="tuning-side" aria-live="off">
          {error && <p class="error" role="alert">{error}</p>}
          {on && <Figures device={on.device.title} chosen={on.chosen} minimum={on.minimum} />}
          {on?.chosen && <Memory device={on.device.title} of={on.chosen} />}
        </div>
      </div>
      {answer && <Devices answer={answer} />}
      {answer && <Laws answer={answer} />}
      {answer && <Checks answer={answer} />}
    </main>
  );
}

interface ScaleProps { label: string; hint: string; name: keyof Question; value: number; zero?: boolean; onChange: (value: number) => void }

/** A slider through powers of ten, and a field that takes what people write: 600B, 1.3T. */
function Scale({ label, hint, name, value, zero, onChange }: ScaleProps): JSX.Element {
  const id = useId();
  const [least, most] = BOUNDS[name];
  const within = (next: number) => (zero && next <= 0 ? 0 : Math.min(most, Math.max(least, next)));
  return (
    <div class="field slider">
      <label for={id}>{label}</label>
      <input class="value" id={id} type="text" inputMode="text" spellcheck={false} autocomplete="off" value={short(value)} aria-describedby={`${id}-hint`}
        onChange={(event) => {
          const text = event.currentTarget.value;
          const next = zero && /^\s*0*\s*$/.test(text) ? 0 : parseCount(text);
          if (next !== null) onChange(within(next));
          event.currentTarget.value = short(next === null ? value : within(next));
        }} />
      <input type="range" min={0} max={1000} step={1} aria-label={label} aria-valuetext={short(value)} value={value === 0 ? 0 : placeOf(value, least, most) * 1000}
        onInput={(event) => {
          const place = event.currentTarget.valueAsNumber / 1000;
          onChange(zero && place === 0 ? 0 : name === "days" ? Math.round(atPlace(place, least, most)) : atPlace(place, least, most));
        }} />
      <p class="hint" id={`${id}-hint`}>{hint}</p>
    </div>
  );
}

const days = (value: number) => t("time.d", { count: number(value, value < 10 ? 1 : 0) });
const energy = (kwh: number) => (kwh >= 1e6 ? `${number(kwh / 1e6, 1)} GWh` : kwh >= 1e3 ? `${number(kwh / 1e3, kwh < 1e4 ? 1 : 0)} MWh` : `${number(kwh)} kWh`);
const money = (dollars: number | null) => (dollars === null ? "–" : `$${dollars >= 1e3 ? short(dollars) : number(dollars)}`);
const layout = (each: Arrangement) => `${number(each.data)} × ${number(each.tensor)} × ${number(each.pipeline)}`;

function Figures({ device, chosen, minimum }: { device: string; chosen: Arrangement | null; minimum: Arrangement | null }): JSX.Element {
  return (
    <section class="card form" aria-label={t("plan.answer")}>
      <h2>{device}</h2>
      {chosen ? (
        <>
          <p class="figure-line"><strong data-testid="plan-devices">{number(chosen.devices)}</strong> <span class="hint">{t("plan.devices", { nodes: chosen.nodes })}</span></p>
          <dl class="pairs">
            <div><dt>{t("plan.time")}</dt><dd>{days(chosen.days)} <span class="soft">({number(chosen.days_least, 0)}–{number(chosen.days_most, 0)})</span></dd></div>
            <div><dt>{t("plan.energy")}</dt><dd>{energy(chosen.energy_kwh)}</dd></div>
            <div><dt>{t("plan.cost")}</dt><dd>{money(chosen.cost)}</dd></div>
            <div><dt>{t("plan.layout")}</dt><dd>{layout(chosen)}</dd></div>
            <div><dt>{t("plan.utilisation")}</dt><dd>{percent(chosen.utilisation)}</dd></div>
            {minimum && <div><dt>{t("plan.minimum")}</dt><dd>{t("plan.minimumOf", { devices: minimum.devices, days: number(minimum.days) })}</dd></div>}
          </dl>
          <p class="hint">{t("plan.layout.hint")} {t(`plan.sharding.${chosen.sharding}` as Key)} {t(`plan.recompute.${chosen.recompute}` as Key)}</p>
        </>
      ) : <p class="hint">{t("plan.none")}</p>}
    </section>
  );
}

const KINDS = ["weights", "gradients", "optimizer", "activations", "logits", "working"] as const;

function Memory({ device, of }: { device: string; of: Arrangement }): JSX.Element {
  const { memory } = of;
  const bars = KINDS.map((kind, at) => ({ name: t(`plan.memory.${kind}` as Key), value: memory[kind], text: size(memory[kind]), tone: at })).filter((bar) => bar.value > 0);
  return (
    <section class="card form" aria-label={t("plan.memory")}>
      <h2>{t("plan.memory")}</h2>
      <Gauge parts={bars} limit={memory.limit} label={t("plan.gauge", { total: size(memory.total), limit: size(memory.limit), device })} />
      <Bars caption={t("plan.memory.about", { total: size(memory.total), limit: size(memory.limit) })} head={[t("tuning.kind"), t("tuning.bytes")]} whole={memory.limit} bars={bars} />
    </section>
  );
}

/** All kinds one after the other on one bar as long as the memory. */
function Gauge({ parts, limit, label }: { parts: { value: number; tone: number }[]; limit: number; label: string }): JSX.Element {
  return (
    <div class="gauge" role="img" aria-label={label}>
      {parts.map((part) => <span key={part.tone} class={`tone-${part.tone}`} style={{ width: `${(part.value / limit) * 100}%` }} />)}
    </div>
  );
}

function Devices({ answer }: { answer: ClusterPlan }): JSX.Element {
  return (
    <div class="card form plan-all">
      <h2>{t("plan.all")}</h2>
      <div class="scroll" tabIndex={0} role="region" aria-label={t("plan.all")}>
        <table class="plain-table">
          <thead><tr><th scope="col">{t("plan.device")}</th><th scope="col" class="amount">{t("plan.memoryOf")}</th><th scope="col" class="amount">{t("plan.minimum")}</th><th scope="col" class="amount">{t("plan.count")}</th><th scope="col" class="amount">{t("plan.layout")}</th><th scope="col" class="amount">{t("plan.time")}</th><th scope="col" class="amount">{t("plan.energy")}</th><th scope="col" class="amount">{t("plan.cost")}</th></tr></thead>
          <tbody>
            {answer.hardware.map(({ device, minimum, chosen }) => (
              <tr key={device.name}>
                <th scope="row" title={device.source}>{device.title}</th><td class="amount">{size(device.memory)}</td><td class="amount">{minimum ? number(minimum.devices) : "–"}</td>
                <td class="amount">{chosen ? number(chosen.devices) : "–"}</td><td class="amount">{chosen ? layout(chosen) : "–"}</td><td class="amount">{chosen ? days(chosen.days) : "–"}</td><td class="amount">{chosen ? energy(chosen.energy_kwh) : "–"}</td><td class="amount">{chosen ? money(chosen.cost) : "–"}</td>
              </tr>
            ))}
          </tbody>
        </table>
      </div>
      <p class="hint">{t("plan.formulas", { operations: answer.operations.total.toExponential(1), steps: Math.round(answer.steps), batch: short(answer.batch_tokens) })}</p>
    </div>
  );
}

const LAWS: Record<string, string> = { "kaplan-2020": "Kaplan 2020", "hoffmann-2022": "Hoffmann 2022 (Chinchilla)", "besiroglu-2024": "Besiroglu 2024" };

function Laws({ answer }: { answer: ClusterPlan }): JSX.Element {
  return (
    <div class="card form">
      <h2>{t("plan.optimal")}</h2>
      <p class="hint">{t("plan.optimal.about")}</p>
      <div class="scroll" tabIndex={0} role="region" aria-label={t("plan.optimal")}>
        <table class="plain-table">
          <thead><tr><th scope="col">{t("plan.law")}</th><th scope="col" class="amount">{t("plan.parameters")}</th><th scope="col" class="amount">{t("plan.tokens")}</th><th scope="col" class="amount">{t("plan.loss")}</th><th scope="col" class="amount">{t("plan.lossAsked")}</th></tr></thead>
          <tbody>
            {answer.optimal.map((each) => (
              <tr key={each.law}><th scope="row">{LAWS[each.law] ?? each.law}</th><td class="amount">{short(each.parameters)}</td><td class="amount">{short(each.tokens)}</td><td class="amount">{each.loss == null ? "–" : number(each.loss, 3)}</td><td class="amount">{each.loss_asked == null ? "–" : number(each.loss_asked, 3)}</td></tr>
            ))}
          </tbody>
        </table>
      </div>
    </div>
  );
}

function Checks({ answer }: { answer: ClusterPlan }): JSX.Element {
  return (
    <details class="card twin">
      <summary>{t("plan.checks")}</summary>
      <div class="scroll" tabIndex={0} role="region" aria-label={t("plan.checks")}>
        <table>
          <thead><tr><th scope="col">{t("plan.run")}</th><th scope="col" class="amount">{t("plan.count")}</th><th scope="col" class="amount">{t("plan.published")}</th><th scope="col" class="amount">{t("plan.planned")}</th></tr></thead>
          <tbody>{answer.checks.map((each) => <tr key={each.run}><th scope="row" title={each.source}>{each.run}</th><td class="amount">{number(each.devices)} × {each.hardware}</td><td class="amount">{days(each.days)}</td><td class="amount">{days(each.planned)}</td></tr>)}</tbody>
        </table>
      </div>
    </details>
  );
}
