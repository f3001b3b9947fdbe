// A tuning on its way and at its end: how far, how well, compared, published.
import type { JSX } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";
import { ApiError, call } from "../api/client";
import type { ComparedRow, Metric, NewKey, StudioApp, Tuning } from "../api/studio";
import { duration } from "../domain/tuning";
import { date, number, percent, t } from "../i18n";
import type { Key } from "../i18n";
import { Bars } from "../parts/bars";
import { explain } from "../parts/explain";
import { LineField } from "../parts/fields";
import { Icon } from "../parts/icons";
import { LineChart } from "../parts/line-chart";
import { announce } from "../state/announcer";
import { loadModels } from "../state/models";
import { KeyCard } from "./apps";

/** Milliseconds between two looks at a tuning that goes on. */
const PULSE = 1000;
/** Rows that are compared with one request, and rows of the table twin. */
const AT_ONCE = 4;
const MOST_TWIN = 200;
const GOES_ON = ["queued", "running", "stopping"];

export function time(seconds: number): string {
  return duration(seconds).map(([count, unit]) => t(`time.${unit}` as Key, { count })).join(" ");
}

export function TuningView({ id }: { id: string }): JSX.Element {
  const [tuning, setTuning] = useState<Tuning | null>(null);
  const [metrics, setMetrics] = useState<Metric[]>([]);
  const [error, setError] = useState("");
  const known = useRef<Metric[]>([]);
  const path = { id };
  const fail = (reason: unknown) => setError(explain(reason));
  const read = async () => {
    const next = await call("GET /api/studio/tunings/{id}", undefined, { path }) as Tuning;
    // Where a run goes on from a checkpoint, steps after it come again.
    const last = known.current.at(-1)?.step ?? 0;
    const from = (next.last?.step ?? 0) < last ? 0 : Math.max(0, last - 1);
    const more = (await call("GET /api/studio/tunings/{id}/metrics", undefined, { path, query: { after: String(from) } })).metrics as Metric[];
    known.current = [...known.current.filter((metric) => metric.step <= from), ...more];
    setMetrics(known.current);
    setTuning(next);
  };
  useEffect(() => void read().catch(fail), []);
  const state = tuning?.state ?? "";
  useEffect(() => {
    if (!GOES_ON.includes(state)) return;
    // A server that starts again goes on with the tuning, so a failed look is no end.
    const timer = setInterval(() => void read().then(() => setError("")).catch((reason: unknown) => {
      fail(reason);
      // It was deleted, or is nobody's to see any more.
      if (reason instanceof ApiError && (reason.status === 403 || reason.status === 404)) clearInterval(timer);
    }), PULSE);
    return () => clearInterval(timer);
  }, [state]);
  useEffect(() => {
    if (state === "done") announce(t("tuning.done"));
  }, [state]);
  if (!tuning) return error ? <p class="error" role="alert">{error}</p> : <p class="empty">{t("app.waiting")}</p>;
  const act = (work: Promise<unknown>) => void work.then((next) => { setTuning(next as Tuning); setError(""); }).catch(fail);
  const remove = () => {
    if (!confirm(t("projects.confirm", { name: tuning.name }))) return;
    void call("DELETE /api/studio/tunings/{id}", undefined, { path }).then(() => { location.hash = "#/tunings"; if (tuning.model) void loadModels(); }).catch(fail);
  };
  const step = tuning.last?.step ?? 0;
  return (
    <>
      <header class="page-head">
        <p><a href="#/tunings">{t("page.tunings")}</a></p>
        <h1>{tuning.name}</h1>
        <p class="facts">
          <span data-testid="tuning-state" class={`state-${tuning.state}`}>{t(`tuning.${tuning.state}` as Key)}</span>
          <span>{t(`method.${tuning.task.method.replace("-", "_")}` as Key)}</span><span>{tuning.task.base}</span><span>{tuning.dataset_name}</span>
          <span>{t("tuning.split", { rows: tuning.rows, held: tuning.held_out })}</span><span>{date(Date.parse(tuning.created_at))}</span>
        </p>
      </header>
      {error && <p class="error" role="alert">{error}</p>}
      {tuning.reason && <p class="error">{tuning.reason}</p>}
      <div class="meter">
        <progress max={tuning.steps} value={step} aria-label={t("tuning.progress")} />
        <p class="facts">
          <span>{t("tuning.stepOf", { step, steps: tuning.steps })}</span>
          {tuning.seconds_left != null && <span>{t("tuning.left", { time: time(tuning.seconds_left) })}</span>}
          {tuning.state === "running" && tuning.last?.tokens_per_second != null && <span>{t("run.speed", { rate: number(tuning.last.tokens_per_second) })}</span>}
          {tuning.state === "queued" && <span>{t("tuning.waits")}</span>}
        </p>
      </div>
      <div class="row">
        {["queued", "running"].includes(tuning.state) && <button type="button" class="quiet" onClick={() => act(call("POST /api/studio/tunings/{id}/stop", undefined, { path }))}><Icon name="stop" />{t("action.stop")}</button>}
        {["stopped", "failed"].includes(tuning.state) && <button type="button" class="quiet" onClick={() => act(call("POST /api/studio/tunings/{id}/start", undefined, { path }))}><Icon name="again" />{t("tuning.resume")}</button>}
        {!["running", "stopping"].includes(tuning.state) && <button type="button" class="quiet" onClick={remove}><Icon name="trash" />{t("action.remove")}</button>}
      </div>
      <Progress tuning={tuning} metrics={metrics} />
      {tuning.state === "done" && (
        <>
          {tuning.held_out > 0 && (tuning.result === "adapter" || tuning.model) && <Compare tuning={tuning} />}
          <Publish tuning={tuning} onChange={setTuning} />
          {tuning.result === "model" && tuning.path && <p class="card hint">{t("tuning.ownModel", { path: `$SAEM_HOME/${tuning.path}` })}</p>}
          {tuning.task.method === "classifier" && tuning.path && <p class="card hint">{t("tuning.ownClassifier", { path: `$SAEM_HOME/${tuning.path.replace(/adapter$/, "model")}` })}</p>}
        </>
      )}
    </>
  );
}

/** The figures of now, the line of the loss, and the same as a table. */
function Progress({ tuning, metrics }: { tuning: Tuning; metrics: Metric[] }): JSX.Element | null {
  if (metrics.length === 0) return null;
  const points = (field: "loss" | "validation_loss") => metrics.filter((metric) => metric[field] != null).map((metric) => ({ x: metric.step, y: metric[field] as number }));
  const last = (field: keyof Metric) => [...metrics].reverse().find((metric) => metric[field] != null)?.[field];
  const figure = (name: Key, value: number | null | undefined, shown: (value: number) => string) => value == null ? null : <div><dt>{t(name)}</dt><dd>{shown(value)}</dd></div>;
  const three = (value: number) => number(value, 3);
  const stride = Math.ceil(metrics.length / MOST_TWIN);
  const rows = metrics.filter((metric, at) => at % stride === 0 || at === metrics.length - 1 || metric.validation_loss != null);
  return (
    <section class="card training" aria-label={t("tuning.learning")}>
      <dl class="figures">
        {figure("tuning.loss", last("loss"), three)}
        {figure("tuning.validationLoss", last("validation_loss"), three)}
        {figure("tuning.validationAccuracy", last("validation_accuracy"), percent)}
        {figure("score.f1", last("validation_f1"), three)}
      </dl>
      <LineChart label={t("tuning.chart", { steps: metrics.at(-1)?.step ?? 0 })} most={tuning.steps} line={points("loss")} dots={points("validation_loss")}
        names={{ line: t("tuning.loss"), dots: t("tuning.validationLoss"), x: t("tuning.chart.about") }} />
      <details class="twin">
        <summary>{t("usage.table")}</summary>
        <div class="scroll" tabIndex={0} role="region" aria-label={t("tuning.steps")}>
          <table>
            <thead><tr><th scope="col" class="amount">{t("tuning.step")}</th><th scope="col" class="amount">{t("tuning.loss")}</th><th scope="col" class="amount">{t("tuning.validationLoss")}</th><th scope="col" class="amount">{t("tuning.validationAccuracy")}</th><th scope="col" class="amount">{t("tuning.speed")}</th></tr></thead>
            <tbody>
              {rows.map((metric) => (
                <tr key={metric.step}>
                  <td class="amount">{number(metric.step)}</td><td class="amount">{metric.loss == null ? "" : number(metric.loss, 4)}</td><td class="amount">{metric.validation_loss == null ? "" : number(metric.validation_loss, 4)}</td>
                  <td class="amount">{metric.validation_accuracy == null ? "" : percent(metric.validation_accuracy)}</td><td class="amount">{metric.tokens_per_second == null ? "" : number(metric.tokens_per_second)}</td>
                </tr>
              ))}
            </tbody>
          </table>
        </div>
      </details>
    </section>
  );
}

const same = (a: string, b: string) => a.trim().normalize("NFC") === b.trim().normalize("NFC");

/** Base and tuned model answer what neither has seen. */
function Compare({ tuning }: { tuning: Tuning }): JSX.Element {
  const [rows, setRows] = useState<ComparedRow[]>([]);
  const [choices, setChoices] = useState<string[]>([]);
  const [busy, setBusy] = useState(false);
  const [error, setError] = useState("");
  const stop = useRef<AbortController | null>(null);
  useEffect(() => () => stop.current?.abort(), []);
  const goal = Math.min(tuning.held_out, rows.length + (rows.length === 0 ? 12 : 24));
  const run = async () => {
    const control = new AbortController();
    stop.current = control;
    setBusy(true);
    setError("");
    try {
      let all = rows;
      while (all.length < goal) {
        const found = await call("POST /api/studio/tunings/{id}/compare", { offset: all.length, limit: Math.min(AT_ONCE, goal - all.length) }, { path: { id: tuning.id }, signal: control.signal });
        if (found.rows.length === 0) break;
        all = [...all, ...(found.rows as ComparedRow[])];
        setRows(all);
        setChoices(found.choices);
      }
      announce(t("run.done"));
    } catch (reason) {
      if (!control.signal.aborted) setError(explain(reason));
    }
    setBusy(false);
  };
  const right = (which: "base" | "tuned") => rows.filter((row) => same(row[which], row.expected)).length;
  const mark = (row: ComparedRow, which: "base" | "tuned") => choices.length === 0 ? null : same(row[which], row.expected)
    ? <span class="right"><Icon name="check" /><span class="unseen">{t("compare.right")}</span></span>
    : <span class="wrong"><Icon name="close" /><span class="unseen">{t("compare.wrong")}</span></span>;
  return (
    <section class="card comparison" aria-labelledby="compare-title">
      <h2 id="compare-title">{t("compare.title")}</h2>
      <p class="hint">{t("compare.about", { count: tuning.held_out })}</p>
      {error && <p class="error" role="alert">{error}</p>}
      {rows.length > 0 && choices.length > 0 && (
        <div data-testid="compare-score"><Bars caption={t("compare.score", { count: rows.length })} head={[t("engine.label"), t("compare.right")]} whole={rows.length}
          bars={[{ name: t("compare.base"), value: right("base"), tone: 3 }, { name: t("compare.tuned"), value: right("tuned"), tone: 0 }]} /></div>
      )}
      {rows.length > 0 && (
        <div class="scroll" tabIndex={0} role="region" aria-label={t("compare.answers")}>
          <table class="plain-table compared">
            <thead><tr><th scope="col">{t("compare.asked")}</th><th scope="col">{t("compare.expected")}</th><th scope="col">{t("compare.base")}</th><th scope="col">{t("compare.tuned")}</th></tr></thead>
            <tbody>
              {rows.map((row) => (
                <tr key={row.row}>
                  <td><span class="said small">{row.prompt.trim()}</span></td><td>{row.expected}</td>
                  <td>{mark(row, "base")}<span class="said small">{row.base}</span></td><td>{mark(row, "tuned")}<span class="said small">{row.tuned}</span></td>
                </tr>
              ))}
            </tbody>
          </table>
        </div>
      )}
      <div class="row">
        {busy ? <button type="button" class="quiet" onClick={() => stop.current?.abort()}><Icon name="stop" />{t("action.stop")}</button>
          : rows.length < tuning.held_out && <button type="button" class={rows.length === 0 ? "primary" : "quiet"} onClick={() => void run()}>{t(rows.length === 0 ? "compare.start" : "compare.more", { count: goal - rows.length })}</button>}
        {busy && <span class="hint" role="status">{t("compare.busy", { done: rows.length, goal })}</span>}
      </div>
    </section>
  );
}

/** The result beside its base, and as an app with a key. */
function Publish({ tuning, onChange }: { tuning: Tuning; onChange: (tuning: Tuning) => void }): JSX.Element {
  const [name, setName] = useState("");
  const [made, setMade] = useState<{ app: StudioApp; key: NewKey } | null>(null);
  const [error, setError] = useState("");
  const [busy, setBusy] = useState(false);
  const path = { id: tuning.id };
  const app = async (project: string) => {
    setMade(await call("POST /api/studio/apps", { project, name: `${tuning.name} ${tuning.id.slice(0, 4)}` }) as { app: StudioApp; key: NewKey });
    announce(t("apps.published"));
  };
  const work = async (each: () => Promise<void>) => {
    setBusy(true);
    setError("");
    await each().catch((reason: unknown) => setError(explain(reason)));
    setBusy(false);
  };
  const publish = (withApp: boolean) => work(async () => {
    const next = await call("POST /api/studio/tunings/{id}/publish", { name: name.trim() }, { path }) as Tuning;
    onChange(next);
    await loadModels();
    if (withApp && next.project) await app(next.project);
  });
  const withdraw = () => work(async () => {
    onChange(await call("DELETE /api/studio/tunings/{id}/publish", undefined, { path }) as Tuning);
    await loadModels();
  });
  return (
    <>
      <section class="card form" aria-labelledby="publish-title">
        <h2 id="publish-title">{t("tuning.publish")}</h2>
        {error && <p class="error" role="alert">{error}</p>}
        {tuning.model ? (
          <>
            <p>{t("tuning.served")} <code data-testid="tuned-model">{tuning.model}</code></p>
            <div class="row">
              {tuning.project && <a class="button" href={`#/playground/${tuning.project}`}>{t("tuning.try")}</a>}
              {tuning.project && !made && <button type="button" class="quiet" disabled={busy} onClick={() => void work(() => app(tuning.project ?? ""))}>{t("tuning.asApp")}</button>}
              <button type="button" class="quiet" disabled={busy} onClick={() => void withdraw()}>{t("tuning.withdraw")}</button>
            </div>
          </>
        ) : (
          <>
            <p class="hint">{t("tuning.publish.about", { base: tuning.task.base })}</p>
            <LineField label={t("tuning.modelName")} hint={t("tuning.modelName.hint", { base: tuning.task.base })} placeholder="reviews" value={name} onInput={setName} />
            <div class="row">
              <button type="button" class="primary" disabled={busy || name.trim() === ""} onClick={() => void publish(true)}>{t("tuning.publishApp")}</button>
              <button type="button" class="quiet" disabled={busy || name.trim() === ""} onClick={() => void publish(false)}>{t("tuning.serveOnly")}</button>
            </div>
          </>
        )}
      </section>
      {made && (
        <>
          <KeyCard app={made.app} made={made.key} />
          <p><a href={`#/apps/${made.app.id}`}>{t("apps.goOn", { name: made.app.name })}</a></p>
        </>
      )}
    </>
  );
}
