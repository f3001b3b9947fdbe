// Tables that models are tuned on: brought here, looked over, kept.
import type { JSX } from "preact";
import { useEffect, useState } from "preact/hooks";
import { call, sendFile } from "../api/client";
import type { Column, Dataset } from "../api/studio";
import { date, number, t } from "../i18n";
import type { Key } from "../i18n";
import { explain } from "../parts/explain";
import { Bars } from "../parts/bars";
import { Drop } from "../parts/drop";
import { kindOf } from "../parts/files";
import { Icon } from "../parts/icons";
import { announce } from "../state/announcer";
import { route } from "../state/route";

const PAGE = 25;
const ACCEPT = ".csv,.tsv,.jsonl,.ndjson,.parquet";

export function Datasets(): JSX.Element {
  const id = route.value[1];
  return <main id="main" class="explorer">{id ? <DatasetView key={id} id={id} /> : <DatasetList />}</main>;
}

export function size(bytes: number): string {
  const units = ["B", "KB", "MB", "GB", "TB", "PB"];
  const step = bytes < 1000 ? 0 : Math.min(units.length - 1, Math.floor(Math.log10(bytes) / 3));
  const value = bytes / 1000 ** step;
  return `${number(value, value < 10 && step > 0 ? 1 : 0)} ${units[step]}`;
}

function DatasetList(): JSX.Element {
  const [datasets, setDatasets] = useState<Dataset[] | null>(null);
  const [busy, setBusy] = useState("");
  const [error, setError] = useState("");
  useEffect(() => {
    call("GET /api/studio/datasets", undefined).then((found) => setDatasets(found.datasets as Dataset[])).catch((reason: unknown) => setError(explain(reason)));
  }, []);
  const upload = async (file: File) => {
    setError("");
    setBusy(file.name);
    try {
      const made = await sendFile("POST /api/studio/datasets", file, kindOf(file.name), { name: file.name.normalize("NFC") }) as Dataset;
      announce(t("datasets.kept", { rows: made.rows }));
      location.hash = `#/datasets/${made.id}`;
    } catch (reason) {
      setError(explain(reason));
    }
    setBusy("");
  };
  return (
    <>
      <header class="page-head">
        <h1>{t("page.datasets")}</h1>
        <p class="lead">{t("datasets.about")}</p>
      </header>
      <Drop label={t("datasets.upload")} accept={ACCEPT} busy={busy !== ""} onFile={(file) => void upload(file)}>
        <p class="hint">{busy ? t("datasets.reading", { name: busy }) : t("datasets.drop")}</p>
      </Drop>
      {error && <p class="error" role="alert">{error}</p>}
      {datasets?.length === 0 && <p class="empty">{t("datasets.empty")}</p>}
      <ul class="projects">
        {datasets?.map((each) => (
          <li key={each.id} class="card">
            <a href={`#/datasets/${each.id}`}><strong>{each.name}</strong></a>
            <p class="facts">
              <span>{t("batches.rows", { count: each.rows })}</span><span>{t("datasets.columns", { count: each.columns.length })}</span><span>{size(each.bytes)}</span><span>{date(Date.parse(each.created_at))}</span>
              {each.faults_total > 0 && <span class="bad">{t("batches.faults", { count: each.faults_total })}</span>}
            </p>
          </li>
        ))}
      </ul>
    </>
  );
}

function DatasetView({ id }: { id: string }): JSX.Element {
  const [dataset, setDataset] = useState<Dataset | null>(null);
  const [error, setError] = useState("");
  const path = { id };
  useEffect(() => {
    call("GET /api/studio/datasets/{id}", undefined, { path }).then((found) => setDataset(found as Dataset)).catch((reason: unknown) => setError(explain(reason)));
  }, []);
  if (!dataset) return error ? <p class="error" role="alert">{error}</p> : <p class="empty">{t("app.waiting")}</p>;
  const remove = () => {
    if (!confirm(t("projects.confirm", { name: dataset.name }))) return;
    void call("DELETE /api/studio/datasets/{id}", undefined, { path }).then(() => { location.hash = "#/datasets"; }).catch((reason: unknown) => setError(explain(reason)));
  };
  return (
    <>
      <header class="page-head">
        <p><a href="#/datasets">{t("page.datasets")}</a></p>
        <h1>{dataset.name}</h1>
        <p class="facts"><span>{t("batches.rows", { count: dataset.rows })}</span><span>{size(dataset.bytes)}</span><span>{dataset.format.toUpperCase()} · {dataset.encoding.toUpperCase()}</span><span>{date(Date.parse(dataset.created_at))}</span></p>
      </header>
      {error && <p class="error" role="alert">{error}</p>}
      <div class="row">
        <a class="button primary" href={`#/tunings/new/${id}`}>{t("datasets.tune")}</a>
        <button type="button" class="quiet" onClick={remove}><Icon name="trash" />{t("action.remove")}</button>
      </div>
      <Problems dataset={dataset} />
      <section class="columns-report" aria-label={t("datasets.columnsTitle")}>
        <h2>{t("datasets.columnsTitle")}</h2>
        <div class="grid wide-grid">{dataset.columns.map((column) => <ColumnCard key={column.name} column={column} rows={dataset.rows} />)}</div>
      </section>
      <Preview dataset={dataset} />
    </>
  );
}

const FAULTS = ["cells", "object", "json", "nested", "bytes", "long"];

/** Rows that were left out and rows that somebody should look at, with the lines of the file. */
function Problems({ dataset }: { dataset: Dataset }): JSX.Element {
  const { faults, faults_total: total, notices } = dataset;
  if (total === 0 && notices.length === 0) return <p class="fine"><Icon name="check" />{t("datasets.fine")}</p>;
  const lines = (all: number[], count: number) => {
    if (all.length === 0) return "";
    const text = all.map((line) => number(line)).join(", ");
    return t(count > all.length ? "datasets.linesMore" : "datasets.lines", { lines: text });
  };
  return (
    <section class="card problems" aria-label={t("datasets.problems")}>
      <h2>{t("datasets.problems")}</h2>
      {total > 0 && (
        <>
          <p class="bad">{t("datasets.leftOut", { count: total })}</p>
          <div class="scroll" tabIndex={0} role="region" aria-label={t("batches.faults", { count: total })}>
            <table class="plain-table">
              <thead><tr><th scope="col" class="amount">{t("datasets.line")}</th><th scope="col">{t("datasets.problem")}</th></tr></thead>
              <tbody>
                {faults.map((fault) => (
                  <tr key={fault.line}><td class="amount">{number(fault.line)}</td><td title={fault.message}>{FAULTS.includes(fault.code ?? "") ? t(`fault.${fault.code}` as Key) : fault.message}</td></tr>
                ))}
              </tbody>
            </table>
          </div>
        </>
      )}
      {notices.length > 0 && (
        <ul class="notices">
          {notices.map((notice) => (
            <li key={`${notice.code} ${notice.column} ${notice.label}`}>
              {t(`notice.${notice.code}` as Key, { column: notice.column ?? "", label: notice.label ?? "", count: notice.count })}
              <span class="hint"> {lines(notice.lines, notice.count)}</span>
            </li>
          ))}
        </ul>
      )}
    </section>
  );
}

function ColumnCard({ column, rows }: { column: Column; rows: number }): JSX.Element {
  const { lengths, labels } = column;
  return (
    <section class="card column-card" aria-label={column.name}>
      <header><h3>{column.name}</h3><span class="tag">{t(`column.${column.kind}` as Key)}</span></header>
      {labels.length > 0 ? (
        <Bars caption={t("column.balance")} head={[t("score.label"), t("score.support")]} whole={rows} bars={labels.slice(0, 12).map((label) => ({ name: label.value, value: label.count }))} />
      ) : (
        <dl class="pairs">
          <div><dt>{t("column.typical")}</dt><dd>{t("column.characters", { count: lengths.median })}</dd></div>
          <div><dt>{t("column.range")}</dt><dd>{t("column.between", { least: lengths.least, most: lengths.most })}</dd></div>
          <div><dt>{t("column.p95")}</dt><dd>{t("column.characters", { count: lengths.p95 })}</dd></div>
        </dl>
      )}
      <p class="hint">{t("column.distinct", { count: column.distinct })}{column.empty > 0 && ` · ${t("column.empty", { count: column.empty })}`}{labels.length > 12 && ` · ${t("column.more", { count: labels.length - 12 })}`}</p>
    </section>
  );
}

/** A cell as text: conversations turn by turn. */
export function cell(value: unknown): string {
  if (!Array.isArray(value)) return String(value ?? "");
  return value.map((turn: { role?: string; content?: string }) => `${turn.role ?? ""}: ${turn.content ?? ""}`).join("\n");
}

function Preview({ dataset }: { dataset: Dataset }): JSX.Element {
  const [offset, setOffset] = useState(0);
  const [rows, setRows] = useState<Record<string, unknown>[]>([]);
  const [error, setError] = useState("");
  useEffect(() => {
    call("GET /api/studio/datasets/{id}/rows", undefined, { path: { id: dataset.id }, query: { offset: String(offset), limit: String(PAGE) } })
      .then((found) => setRows(found.rows)).catch((reason: unknown) => setError(explain(reason)));
  }, [offset]);
  return (
    <div class="batch-rows">
      <h2>{t("datasets.preview")}</h2>
      {error && <p class="error" role="alert">{error}</p>}
      <div class="scroll" tabIndex={0} role="region" aria-label={t("datasets.preview")}>
        <table class="plain-table preview">
          <thead><tr><th scope="col" class="amount">{t("examples.number")}</th>{dataset.columns.map((column) => <th key={column.name} scope="col">{column.name}</th>)}</tr></thead>
          <tbody>
            {rows.map((row, at) => (
              <tr key={offset + at}>
                <td class="amount soft">{number(offset + at + 1)}</td>
                {dataset.columns.map((column) => <td key={column.name}><span class="said small">{cell(row[column.name])}</span></td>)}
              </tr>
            ))}
          </tbody>
        </table>
      </div>
      {dataset.rows > PAGE && (
        <div class="row">
          <button type="button" class="quiet small" disabled={offset === 0} onClick={() => setOffset(Math.max(0, offset - PAGE))}>{t("batches.before")}</button>
          <span class="hint">{t("batches.page", { from: offset + 1, to: Math.min(offset + PAGE, dataset.rows), total: dataset.rows })}</span>
          <button type="button" class="quiet small" disabled={offset + PAGE >= dataset.rows} onClick={() => setOffset(offset + PAGE)}>{t("batches.after")}</button>
        </div>
      )}
    </div>
  );
}
