// A table through a prompt: upload, start, watch, score, download.
import type { JSX } from "preact";
import { useEffect, useState } from "preact/hooks";
import { call, send, sendFile } from "../api/client";
import type { Batch, BatchRow, Project, Summary } from "../api/studio";
import { fromServer } from "../domain/exchange";
import { textsOf, variableNames } from "../domain/prompt";
import { date, number, t } from "../i18n";
import type { Key } from "../i18n";
import { explain } from "../parts/explain";
import { LineField, Select } from "../parts/fields";
import { kindOf, pickFile, saveBlob } from "../parts/files";
import { Icon } from "../parts/icons";
import { announce } from "../state/announcer";
import { route } from "../state/route";
import { VariantChecks, letter } from "../parts/variant-select";
import { ScoreTables, ScoresOfVariants } from "./score";

/** Milliseconds between two looks at a batch that runs. */
const PULSE = 1000;
const PAGE = 50;

export function Batches(): JSX.Element {
  const id = route.value[1];
  return <main id="main" class="explorer">{id ? <BatchView key={id} id={id} /> : <BatchList />}</main>;
}

function BatchList(): JSX.Element {
  const [batches, setBatches] = useState<Batch[] | null>(null);
  const [error, setError] = useState("");
  const read = () => call("GET /api/studio/batches", undefined).then((found) => setBatches(found.batches as Batch[])).catch((reason: unknown) => setError(explain(reason)));
  useEffect(() => void read(), []);
  const upload = async () => {
    const file = await pickFile(".csv,.tsv,.jsonl,.ndjson,.parquet");
    if (!file) return;
    setError("");
    try {
      const made = await sendFile("POST /api/studio/batches", file, kindOf(file.name), { name: file.name.normalize("NFC") });
      location.hash = `#/batches/${(made as Batch).id}`;
    } catch (reason) {
      setError(explain(reason));
    }
  };
  return (
    <>
      <header class="page-head">
        <h1>{t("page.batches")}</h1>
        <p class="lead">{t("batches.about")}</p>
      </header>
      <div class="row"><button type="button" class="primary" onClick={() => void upload()}><Icon name="upload" />{t("batches.upload")}</button></div>
      {error && <p class="error" role="alert">{error}</p>}
      {batches?.length === 0 && <p class="empty">{t("batches.empty")}</p>}
      <ul class="projects">
        {batches?.map((batch) => (
          <li key={batch.id} class="card">
            <a href={`#/batches/${batch.id}`}><strong>{batch.name}</strong></a>
            <p class="facts"><span>{t(`batches.${batch.state}` as Key)}</span><span>{t("batches.rows", { count: batch.rows })}</span><span>{date(Date.parse(batch.created_at))}</span></p>
          </li>
        ))}
      </ul>
    </>
  );
}

function BatchView({ id }: { id: string }): JSX.Element {
  const [batch, setBatch] = useState<Batch | null>(null);
  const [error, setError] = useState("");
  const path = { id };
  const read = () => call("GET /api/studio/batches/{id}", undefined, { path }).then((found) => setBatch(found as Batch));
  useEffect(() => void read().catch((reason: unknown) => setError(explain(reason))), []);
  const state = batch?.state;
  useEffect(() => {
    if (state !== "running") return;
    // A server that starts again goes on with the batch, so a failed look is no end.
    const timer = setInterval(() => void read().then(() => setError("")).catch(() => setError(t("error.unreachable"))), PULSE);
    return () => clearInterval(timer);
  }, [state]);
  useEffect(() => {
    if (state === "done") announce(t("batches.done"));
  }, [state]);
  if (!batch) return error ? <p class="error" role="alert">{error}</p> : <p class="empty">{t("app.waiting")}</p>;
  const act = (work: Promise<unknown>) => work.then((next) => { setBatch(next as Batch); setError(""); }).catch((reason: unknown) => setError(explain(reason)));
  const download = async (format: "csv" | "jsonl") => {
    try {
      const response = await send("GET /api/studio/batches/{id}/download", undefined, { path, query: { format } });
      saveBlob(`${batch.name.replace(/\.\w+$/, "")}-output.${format}`, await response.blob());
    } catch (reason) {
      setError(explain(reason));
    }
  };
  const remove = () => {
    if (!confirm(t("projects.confirm", { name: batch.name }))) return;
    void call("DELETE /api/studio/batches/{id}", undefined, { path }).then(() => { location.hash = "#/batches"; }).catch((reason: unknown) => setError(explain(reason)));
  };
  const { waiting, done, failed } = batch.progress;
  const ways = batch.task?.variants ?? [];
  const goesOn = ["cancelled", "failed", "done"].includes(batch.state) && waiting + failed > 0;
  return (
    <>
      <header class="page-head">
        <p><a href="#/batches">{t("page.batches")}</a></p>
        <h1>{batch.name}</h1>
        <p class="facts"><span data-testid="batch-state">{t(`batches.${batch.state}` as Key)}</span><span>{t("batches.rows", { count: batch.rows })}</span><span>{batch.format.toUpperCase()} · {batch.encoding.toUpperCase()}</span>{batch.task && ways.length === 0 && <span>{batch.task.model}</span>}{ways.map((way) => <span key={way.variant}>{way.variant} · {way.model}</span>)}{batch.task?.variant != null && <span>{t("compare.variant", { name: letter(batch.task.variant + 1) })}</span>}</p>
      </header>
      {error && <p class="error" role="alert">{error}</p>}
      {batch.reason && <p class="error">{batch.reason}</p>}
      {batch.faults_total > 0 && (
        <details class="twin">
          <summary>{t("batches.faults", { count: batch.faults_total })}</summary>
          <ul>{batch.faults.map((fault) => <li key={fault.line}>{t("batches.fault", { line: fault.line, message: fault.message })}</li>)}</ul>
        </details>
      )}
      {batch.state === "draft" ? <Start batch={batch} onStart={(next) => setBatch(next)} /> : (
        <>
          <div class="meter">
            <progress max={waiting + done + failed} value={done + failed} aria-label={t("batches.progress")} />
            <p class="facts"><span>{t("batches.counts", { done, failed, waiting })}</span><span>{t("run.tokens", { prompt: batch.usage.prompt_tokens, answer: batch.usage.completion_tokens })}</span></p>
          </div>
          <div class="row">
            {batch.state === "running" && <button type="button" class="quiet" onClick={() => void act(call("POST /api/studio/batches/{id}/cancel", undefined, { path }))}><Icon name="stop" />{t("action.stop")}</button>}
            {goesOn && <button type="button" class="quiet" onClick={() => void act(call("POST /api/studio/batches/{id}/start", {}, { path }))}><Icon name="again" />{t("batches.resume")}</button>}
            <button type="button" class="quiet" onClick={() => void download("csv")}><Icon name="download" />CSV</button>
            <button type="button" class="quiet" onClick={() => void download("jsonl")}><Icon name="download" />JSONL</button>
            <button type="button" class="quiet" onClick={remove}><Icon name="trash" />{t("action.remove")}</button>
          </div>
          {batch.score && <ScoreTables score={batch.score} />}
          {batch.scores?.some((each) => each.score) && <ScoresOfVariants batch={batch} />}
          <Rows batch={batch} />
        </>
      )}
    </>
  );
}

/** Which project, which column for which variable, which answers are allowed, which are right. */
function Start({ batch, onStart }: { batch: Batch; onStart: (batch: Batch) => void }): JSX.Element {
  const [projects, setProjects] = useState<Summary[]>([]);
  const [project, setProject] = useState<Project | null>(null);
  const [columns, setColumns] = useState<Record<string, string>>({});
  const [choices, setChoices] = useState("");
  const [gold, setGold] = useState("");
  const [chosen, setChosen] = useState([0]);
  const [error, setError] = useState("");
  useEffect(() => {
    call("GET /api/studio/projects", undefined, { query: { limit: "200" } }).then((found) => {
      setProjects(found.projects as Summary[]);
      const first = found.projects[0];
      if (first) choose(first.id);
    }).catch((reason: unknown) => setError(explain(reason)));
  }, []);
  const choose = (id: string) => {
    call("GET /api/studio/projects/{id}", undefined, { path: { id } }).then((found) => {
      setProject(found as Project);
      setChosen([0]);
      setChoices((found as Project).document.choices.join(", "));
    }).catch((reason: unknown) => setError(explain(reason)));
  };
  const document = project && fromServer(project.document, project.name);
  const names = document ? variableNames(textsOf(document, document.variants.filter((_, at) => chosen.includes(at)))) : [];
  const columnOf = (name: string) => columns[name] ?? (batch.columns.includes(name) ? name : (batch.columns[0] ?? ""));
  const start = async () => {
    if (!project) return;
    const allowed = choices.split(",").map((choice) => choice.trim().normalize("NFC")).filter(Boolean);
    const body = {
      project: project.id,
      columns: Object.fromEntries(names.map((name) => [name, columnOf(name)])),
      choices: allowed,
      ...(gold ? { gold } : {}),
      ...(chosen.length > 1 ? { variants: chosen.map(letter) } : chosen[0] ? { variant: chosen[0] - 1 } : {}),
    };
    try {
      onStart(await call("POST /api/studio/batches/{id}/start", body, { path: { id: batch.id } }) as Batch);
    } catch (reason) {
      setError(explain(reason));
    }
  };
  const options = batch.columns.map((column) => [column, column] as const);
  return (
    <>
      <div class="scroll" tabIndex={0} role="region" aria-label={t("batches.sample")}>
        <table class="plain-table">
          <caption>{t("batches.sample")}</caption>
          <thead><tr>{batch.columns.map((column) => <th key={column} scope="col">{column}</th>)}</tr></thead>
          <tbody>{batch.sample?.map((row, at) => <tr key={at}>{batch.columns.map((column) => <td key={column}>{String(row[column] ?? "")}</td>)}</tr>)}</tbody>
        </table>
      </div>
      {projects.length === 0 && <p class="empty">{t("batches.noProject")}</p>}
      {/* A project brings its choices: what is entered before it has come would be lost. */}
      {project && (
        <div class="card form">
          <Select label={t("batches.project")} value={project.id} options={projects.map((each) => [each.id, each.name] as const)} onChange={choose} />
          {document && <VariantChecks variants={document.variants} chosen={chosen} onChange={setChosen} />}
          {names.length === 0 && <p class="error">{t("batches.noVariable")}</p>}
          {names.map((name) => <Select key={name} label={t("batches.column", { name })} value={columnOf(name)} options={options} onChange={(column) => setColumns({ ...columns, [name]: column })} />)}
          <LineField label={t("batches.choices")} hint={t("batches.choices.hint")} value={choices} onInput={setChoices} />
          <Select label={t("batches.gold")} hint={t("batches.gold.hint")} value={gold} options={[["", t("batches.gold.none")], ...options]} onChange={setGold} />
          {error && <p class="error" role="alert">{error}</p>}
          <button type="button" class="primary" disabled={chosen.length === 0} onClick={() => void start()}><Icon name="run" />{t("batches.start", { count: batch.rows })}</button>
        </div>
      )}
    </>
  );
}

/** Whether an answer is the label. */
function Mark({ correct }: { correct: boolean | null | undefined }): JSX.Element | null {
  if (correct == null) return null;
  return <span class={correct ? "right" : "wrong"}><Icon name={correct ? "check" : "close"} /><span class="unseen">{t(correct ? "compare.right" : "compare.wrong")}</span></span>;
}

/** What one of several variants made of a row. */
function AnswerCell({ answer }: { answer: NonNullable<BatchRow["answers"]>[number] | undefined }): JSX.Element {
  return <td>{answer?.error ? <span class="bad">{answer.error}</span> : <><Mark correct={answer?.correct} /><span class="said small">{answer?.output?.trim()}</span></>}</td>;
}

const STATES = ["", "done", "failed", "waiting"] as const;

function Rows({ batch }: { batch: Batch }): JSX.Element {
  const [state, setState] = useState<(typeof STATES)[number]>("");
  const [offset, setOffset] = useState(0);
  const [rows, setRows] = useState<BatchRow[]>([]);
  const [total, setTotal] = useState(0);
  const { done, failed } = batch.progress;
  const ways = batch.task?.variants ?? [];
  useEffect(() => {
    const query: Record<string, string> = { offset: String(offset), limit: String(PAGE) };
    if (state) query["state"] = state;
    void call("GET /api/studio/batches/{id}/rows", undefined, { path: { id: batch.id }, query }).then((found) => {
      setRows(found.rows as BatchRow[]);
      setTotal(found.total);
    }).catch(() => {});
  }, [state, offset, done, failed, batch.state]);
  return (
    <div class="batch-rows">
      <div class="row">
        <h2>{t("batches.rowsTitle")}</h2>
        <Select label={t("batches.filter")} value={state} options={STATES.map((each) => [each, t((each ? `batches.row.${each}` : "batches.row.all") as Key)] as const)} onChange={(next) => { setState(next); setOffset(0); }} />
      </div>
      <div class="scroll" tabIndex={0} role="region" aria-label={t("batches.rowsTitle")}>
        <table class="plain-table">
          <thead><tr><th scope="col" class="amount">{t("examples.number")}</th>{batch.columns.map((column) => <th key={column} scope="col">{column}</th>)}{ways.length > 0 ? ways.map((way) => <th key={way.variant} scope="col">{t("compare.variant", { name: way.variant })}</th>) : <th scope="col">{t("examples.output")}</th>}<th scope="col">{t("batches.state")}</th></tr></thead>
          <tbody>
            {rows.map((row) => (
              <tr key={row.row}>
                <td class="amount">{number(row.row)}</td>
                {batch.columns.map((column) => <td key={column}>{String(row.input[column] ?? "")}</td>)}
                {ways.length > 0 ? ways.map((way) => <AnswerCell key={way.variant} answer={row.answers?.find((each) => each.variant === way.variant)} />) : <td><Mark correct={row.correct} /><span class="said small">{row.output?.trim()}</span></td>}
                <td>{row.error ? <span class="bad">{row.error}</span> : t(`batches.row.${row.state}` as Key)}</td>
              </tr>
            ))}
          </tbody>
        </table>
      </div>
      {total > PAGE && (
        <div class="row">
          <button type="button" class="quiet small" disabled={offset === 0} onClick={() => setOffset(Math.max(0, offset - PAGE))}>{t("batches.before")}</button>
          <span class="hint">{t("batches.page", { from: offset + 1, to: Math.min(offset + PAGE, total), total })}</span>
          <button type="button" class="quiet small" disabled={offset + PAGE >= total} onClick={() => setOffset(offset + PAGE)}>{t("batches.after")}</button>
        </div>
      )}
    </div>
  );
}
