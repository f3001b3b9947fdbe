// A tuning before it begins: what learns what, in which words, and what that takes.
import type { JSX } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";
import { call, isAbort } from "../api/client";
import type { Dataset, TuningPlan } from "../api/studio";
import { METHODS, RANKED, ROWED, example, labelColumns, labelled, obstacle, planFor, taskOf, withMethod } from "../domain/tuning";
import type { Method, Plan, Settings } from "../domain/tuning";
import { number, percent, t } from "../i18n";
import type { Key } from "../i18n";
import { Bars } from "../parts/bars";
import { explain } from "../parts/explain";
import { LineField, NumberField, Select, Slider, TextArea } from "../parts/fields";
import { Icon } from "../parts/icons";
import { engines } from "../state/models";
import { size } from "./datasets";

/** Milliseconds of rest after which the memory is planned anew. */
const REST = 900;
/** Rows with fewer than which a tuned model learns by heart. */
const FEW_ROWS = 50;
const RECOMPUTES = ["none", "selective", "full"] as const;
const OPTIMIZERS = [["adamw", "AdamW"], ["adamw8bit", "AdamW, 8 bit"], ["muon", "Muon"]] as const;
const words = () => ({ task: t("tuning.default.task"), answer: t("tuning.default.answer") });

export function TuningForm({ dataset: wanted }: { dataset: string }): JSX.Element {
  const [datasets, setDatasets] = useState<Dataset[] | null>(null);
  const [id, setId] = useState(wanted);
  const [row, setRow] = useState<Record<string, unknown> | null>(null);
  const [base, setBase] = useState("");
  const [plan, setPlan] = useState<Plan | null>(null);
  const [name, setName] = useState("");
  const [error, setError] = useState("");
  const [busy, setBusy] = useState(false);
  // What is tuned already is tuned from its base.
  const bases = engines.value.filter((model) => !model.id.includes(":"));
  const dataset = datasets?.find((each) => each.id === id) ?? null;
  useEffect(() => {
    call("GET /api/studio/datasets", undefined).then((found) => {
      const all = found.datasets as Dataset[];
      setDatasets(all);
      setId((known) => (all.some((each) => each.id === known) ? known : (all[0]?.id ?? "")));
    }).catch((reason: unknown) => setError(explain(reason)));
  }, []);
  useEffect(() => {
    if (!dataset) return;
    setPlan(planFor(dataset, words()));
    setName(dataset.name.replace(/\.\w+$/, ""));
    call("GET /api/studio/datasets/{id}/rows", undefined, { path: { id: dataset.id }, query: { limit: "1" } }).then((found) => setRow(found.rows[0] ?? null)).catch(() => setRow(null));
  }, [dataset?.id]);
  const chosen = base || bases[0]?.id || "";
  const start = async () => {
    if (!plan || !dataset) return;
    setBusy(true);
    try {
      const made = await call("POST /api/studio/tunings", { name: name.trim(), task: taskOf(plan, dataset.id, chosen) });
      location.hash = `#/tunings/${made.id}`;
    } catch (reason) {
      setError(explain(reason));
    }
    setBusy(false);
  };
  const blocked = plan && dataset ? obstacle(plan, dataset.columns) : null;
  return (
    <>
      <header class="page-head">
        <p><a href="#/tunings">{t("page.tunings")}</a></p>
        <h1>{t("tunings.new")}</h1>
        <p class="lead">{t("tuning.about")}</p>
      </header>
      {error && <p class="error" role="alert">{error}</p>}
      {datasets?.length === 0 && <p class="empty">{t("tuning.noDataset")} <a href="#/datasets">{t("page.datasets")}</a></p>}
      {dataset && plan && (
        <div class="tuning-desk">
          <div class="steps">
            <section class="card form" aria-labelledby="step-what">
              <h2 id="step-what"><span class="ordinal-badge">1</span>{t("tuning.step.what")}</h2>
              <div class="pair">
                <Select label={t("tuning.dataset")} value={dataset.id} options={(datasets ?? []).map((each) => [each.id, `${each.name} · ${t("batches.rows", { count: each.rows })}`] as const)} onChange={setId} />
                <Select label={t("tuning.base")} value={chosen} options={bases.map((model) => [model.id, model.id] as const)} onChange={setBase} />
              </div>
              {dataset.rows < FEW_ROWS && <p class="hint">{t("tuning.few", { count: dataset.rows })}</p>}
            </section>
            <Methods value={plan.method} onChange={(method) => setPlan(withMethod(plan.method === "dpo" ? { ...planFor(dataset, words()), settings: plan.settings } : plan, method, dataset))} />
            <Template dataset={dataset} plan={plan} row={row} onChange={setPlan} />
            <Choices settings={plan.settings} method={plan.method} onChange={(settings) => setPlan({ ...plan, settings })} />
          </div>
          <aside class="tuning-side" aria-label={t("tuning.takes")}>
            <Takes plan={plan} dataset={dataset.id} base={chosen} blocked={blocked !== null} />
            <section class="card form" aria-label={t("tuning.start")}>
              <LineField label={t("tuning.name")} value={name} onInput={setName} />
              {blocked && <p class="hint" role="status">{t(`tuning.obstacle.${blocked}` as Key)}</p>}
              <button type="button" class="primary" disabled={busy || blocked !== null || name.trim() === "" || chosen === ""} onClick={() => void start()}><Icon name="run" />{t("tuning.start")}</button>
            </section>
          </aside>
        </div>
      )}
    </>
  );
}

function Methods({ value, onChange }: { value: Method; onChange: (method: Method) => void }): JSX.Element {
  return (
    <section class="card form" aria-labelledby="step-how">
      <h2 id="step-how"><span class="ordinal-badge">2</span>{t("tuning.step.how")}</h2>
      <div class="methods" role="radiogroup" aria-labelledby="step-how">
        {METHODS.map((method) => {
          const key = method.replace("-", "_");
          return (
            <label key={method} class="method">
              <input type="radio" name="method" value={method} checked={method === value} onChange={() => onChange(method)} />
              <span><strong>{t(`method.${key}` as Key)}</strong><span class="hint">{t(`method.${key}.about` as Key)}</span></span>
            </label>
          );
        })}
      </div>
    </section>
  );
}

interface TemplateProps {
  dataset: Dataset;
  plan: Plan;
  row: Record<string, unknown> | null;
  onChange: (plan: Plan) => void;
}

/** How a row becomes a question and an answer. */
function Template({ dataset, plan, row, onChange }: TemplateProps): JSX.Element {
  const place = useRef<"prompt" | "answer" | "rejected">("prompt");
  const prefers = plan.method === "dpo";
  const classifies = plan.method === "classifier";
  const fields = useRef<HTMLDivElement>(null);
  const chats = dataset.columns.filter((column) => column.kind === "messages");
  const labels = labelColumns(dataset);
  const insert = (column: string) => {
    const field = place.current;
    const area = fields.current?.querySelector<HTMLTextAreaElement>(`[data-field=${field}] textarea`);
    const text = plan[field];
    const at = area?.selectionStart ?? text.length;
    onChange({ ...plan, [field]: `${text.slice(0, at)}{{${column}}}${text.slice(area?.selectionEnd ?? at)}` });
    requestAnimationFrame(() => {
      area?.focus();
      area?.setSelectionRange(at + column.length + 4, at + column.length + 4);
    });
  };
  const shown = row && !plan.chat ? example(plan, row) : null;
  return (
    <section class="card form" aria-labelledby="step-words">
      <h2 id="step-words"><span class="ordinal-badge">3</span>{t("tuning.step.words")}</h2>
      {chats.length > 0 && !prefers && !classifies && (
        <Select label={t("tuning.chat")} hint={t("tuning.chat.hint")} value={plan.chat} options={[...chats.map((column) => [column.name, column.name] as const), ["", t("tuning.chat.none")]]} onChange={(chat) => onChange({ ...plan, chat })} />
      )}
      {!plan.chat && (
        <>
          <div ref={fields} class="form" onFocusIn={(event) => {
            const field = (event.target as HTMLElement).closest<HTMLElement>("[data-field]")?.dataset["field"];
            if (field === "prompt" || field === "answer" || field === "rejected") place.current = field;
          }}>
            <div data-field="prompt"><TextArea label={t("tuning.prompt")} hint={t("tuning.prompt.hint")} rows={4} value={plan.prompt} onInput={(prompt) => onChange({ ...plan, prompt })} /></div>
            {!classifies && <div data-field="answer"><TextArea label={t(prefers ? "tuning.better" : "tuning.answer")} hint={t("tuning.answer.hint")} rows={1} value={plan.answer} onInput={(answer) => onChange({ ...plan, answer })} /></div>}
            {prefers && <div data-field="rejected"><TextArea label={t("tuning.rejected")} hint={t("tuning.rejected.hint")} rows={1} value={plan.rejected} onInput={(rejected) => onChange({ ...plan, rejected })} /></div>}
            <ul class="column-chips" aria-label={t("tuning.chips")}>
              {dataset.columns.map((column) => <li key={column.name}><button type="button" class="quiet small" onClick={() => insert(column.name)}><Icon name="plus" />{column.name}</button></li>)}
            </ul>
          </div>
          {labels.length > 0 && !prefers && (
            <Select label={t("tuning.label")} hint={t("tuning.label.hint")} value={plan.label} options={[...(classifies ? [] : [["", t("tuning.label.none")] as const]), ...labels.map((column) => [column.name, column.name] as const)]}
              onChange={(label) => {
                const column = labels.find((each) => each.name === label);
                onChange(column ? { ...plan, ...labelled(column), answer: `{{${label}}}` } : { ...plan, label: "", labels: {} });
              }} />
          )}
          {plan.label && (
            <fieldset class="label-words">
              <legend>{t("tuning.words")}</legend>
              {Object.entries(plan.labels).map(([value, word]) => (
                <label key={value}><code>{value}</code><input type="text" value={word} spellcheck={false} autocomplete="off" onInput={(event) => onChange({ ...plan, labels: { ...plan.labels, [value]: event.currentTarget.value } })} /></label>
              ))}
            </fieldset>
          )}
          {shown && (
            <figure class="example-row">
              <figcaption class="hint">{t("tuning.example")}</figcaption>
              <pre><span class="asked">{shown.prompt}</span><mark>{shown.answer}</mark>{prefers && <>{"\n"}<del>{shown.rejected}</del></>}</pre>
            </figure>
          )}
        </>
      )}
    </section>
  );
}

function Choices({ settings, method, onChange }: { settings: Settings; method: Method; onChange: (settings: Settings) => void }): JSX.Element {
  const set = (change: Partial<Settings>) => onChange({ ...settings, ...change });
  return (
    <section class="card form" aria-labelledby="step-settings">
      <h2 id="step-settings"><span class="ordinal-badge">4</span>{t("settings.title")}</h2>
      <Slider label={t("tuning.epochs")} hint={t("tuning.epochs.hint")} min={0.5} max={10} step={0.5} value={settings.epochs} onChange={(epochs) => set({ epochs })} />
      <Slider label={t("tuning.heldOut")} hint={t("tuning.heldOut.hint", { share: percent(settings.heldOut) })} min={0} max={0.5} step={0.05} value={settings.heldOut} onChange={(heldOut) => set({ heldOut })} />
      <details>
        <summary>{t("tuning.advanced")}</summary>
        <div class="form advanced">
          <NumberField label={t("tuning.batch")} hint={t("tuning.batch.hint")} min={1} max={1024} value={settings.batch} onChange={(batch) => set({ batch })} />
          <NumberField label={t("tuning.sequence")} hint={t("tuning.sequence.hint")} min={8} max={32768} value={settings.sequence} onChange={(sequence) => set({ sequence })} />
          <NumberField label={t("tuning.microBatch")} hint={t("tuning.microBatch.hint")} min={0} max={1024} value={settings.microBatch} onChange={(microBatch) => set({ microBatch })} />
          <Select label={t("tuning.recompute")} hint={t("tuning.recompute.hint")} value={settings.recompute} options={RECOMPUTES.map((way) => [way, t(`recompute.${way}`)] as const)} onChange={(recompute) => set({ recompute })} />
          <Select label={t("tuning.optimizer")} hint={t("tuning.optimizer.hint")} value={settings.optimizer} options={OPTIMIZERS} onChange={(optimizer) => set({ optimizer })} />
          {RANKED.includes(method) && <NumberField label={t("tuning.rank")} hint={t("tuning.rank.hint")} min={1} max={64} value={settings.rank} onChange={(rank) => set({ rank })} />}
          {ROWED.includes(method) && <NumberField label={t("tuning.virtualTokens")} hint={t("tuning.virtualTokens.hint")} min={1} max={512} value={settings.virtualTokens} onChange={(virtualTokens) => set({ virtualTokens })} />}
          <LineField label={t("tuning.learningRate")} hint={t("tuning.learningRate.hint")} placeholder="0.0003" value={settings.learningRate} onInput={(learningRate) => set({ learningRate })} />
          <NumberField label={t("field.seed")} hint={t("tuning.seed.hint")} min={0} max={4294967295} value={settings.seed} onChange={(seed) => set({ seed })} />
          <NumberField label={t("tuning.threads")} hint={t("tuning.threads.hint")} min={0} max={1024} value={settings.threads} onChange={(threads) => set({ threads })} />
        </div>
      </details>
    </section>
  );
}

/** Memory by kind and what becomes of the rows, as the program says that will do it. */
function Takes({ plan, dataset, base, blocked }: { plan: Plan; dataset: string; base: string; blocked: boolean }): JSX.Element {
  const [told, setTold] = useState<TuningPlan | null>(null);
  const [error, setError] = useState("");
  const [busy, setBusy] = useState(false);
  const task = JSON.stringify(taskOf(plan, dataset, base));
  useEffect(() => {
    if (blocked || base === "") {
      setTold(null);
      setError("");
      setBusy(false);
      return;
    }
    const stop = new AbortController();
    setBusy(true);
    const timer = setTimeout(() => {
      call("POST /api/studio/tunings/plan", JSON.parse(task), { signal: stop.signal })
        .then((next) => { setTold(next as TuningPlan); setError(""); })
        .catch((reason: unknown) => { if (!isAbort(reason)) { setTold(null); setError(explain(reason)); } })
        .finally(() => { if (!stop.signal.aborted) setBusy(false); });
    }, REST);
    return () => {
      clearTimeout(timer);
      stop.abort();
    };
  }, [task, blocked]);
  return (
    <section class={`card form takes${busy ? " busy" : ""}`} aria-label={t("tuning.takes")} aria-busy={busy}>
      <h2>{t("tuning.takes")}</h2>
      {error && <p class="error" role="alert">{error}</p>}
      {!told && !error && <p class="hint">{t(blocked || base === "" ? "tuning.unplanned" : "tuning.planning")}</p>}
      {told && (
        <>
          <p class="figure-line"><strong data-testid="plan-total">{size(told.total)}</strong> <span class="hint">{t("tuning.memory")}</span></p>
          <Bars caption={t("tuning.memory.about")} head={[t("tuning.kind"), t("tuning.bytes")]} bars={told.memory.map((part, at) => ({ name: t(`memory.${part.kind}` as Key), value: part.bytes, text: size(part.bytes), tone: at }))} />
          <dl class="pairs">
            <div><dt>{t("tuning.rows")}</dt><dd>{number(told.rows)} + {number(told.held_out)}</dd></div>
            <div><dt>{t("tuning.steps")}</dt><dd>{number(told.steps)}</dd></div>
            {told.parameters != null && <div><dt>{t("tuning.parameters")}</dt><dd>{number(told.parameters)}</dd></div>}
            {told.data && told.data.lengths.length === 4 && <div><dt>{t("tuning.lengths")}</dt><dd>{told.data.lengths.map((length) => number(length)).join(" · ")}</dd></div>}
          </dl>
          {told.data && told.data.cut > 0 && <p class="hint">{t("tuning.cut", { count: told.data.cut })}</p>}
          {told.data && told.data.refused > 0 && <p class="bad">{t("tuning.refused", { count: told.data.refused })}</p>}
        </>
      )}
    </section>
  );
}
