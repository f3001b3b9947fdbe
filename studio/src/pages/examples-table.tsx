// Rows of input and output that become a few-shot prompt.
import type { JSX } from "preact";
import { useState } from "preact/hooks";
import { readCsv, writeCsv } from "../domain/csv";
import { newId } from "../domain/document";
import { examplesPrompt } from "../domain/prompt";
import { t } from "../i18n";
import { Grow, LineField, TextArea } from "../parts/fields";
import { pickFile, saveFile } from "../parts/files";
import { Icon } from "../parts/icons";
import { announce } from "../state/announcer";
import { current, updateExamples, updateRow } from "../state/studio";

/** Rows that a prompt can have; more would fill any context. */
const MOST_ROWS = 200;

/** What a column is called: `문장` of `문장: `. */
const nameOf = (prefix: string) => prefix.replace(/[\s:：=>-]+$/u, "").trim();

export function ExamplesTable({ instruction }: { instruction: string }): JSX.Element {
  const { examples } = current.value;
  const { rows } = examples;
  const [problem, setProblem] = useState("");
  const inputName = nameOf(examples.inputPrefix) || t("examples.input");
  const outputName = nameOf(examples.outputPrefix) || t("examples.output");
  const add = () => updateExamples({ rows: [...rows, { id: newId(), input: "", output: "" }] });
  const take = async () => {
    const file = await pickFile(".csv,.tsv,text/csv,text/tab-separated-values");
    if (!file) return;
    const table = readCsv(await file.text());
    const wrong = table.findIndex((cells) => cells.length < 2);
    if (table.length === 0 || wrong >= 0) {
      setProblem(t("examples.badRow", { row: wrong + 1 }));
      return;
    }
    const [head, ...body] = table;
    // A first row that repeats the names of the columns, or their common names, is a heading.
    const names = [inputName, outputName, "input", "output", "입력", "출력"].map((name) => name.trim().toLowerCase());
    const isHead = head?.slice(0, 2).every((cell) => names.includes(cell.trim().toLowerCase())) ?? false;
    const read = (isHead ? body : table).map(([input = "", output = ""]) => ({ id: newId(), input, output }));
    const kept = read.slice(0, MOST_ROWS);
    setProblem(read.length > kept.length ? t("examples.tooMany", { most: MOST_ROWS }) : "");
    updateExamples({ rows: [...rows.filter((row) => row.input !== "" || row.output !== ""), ...kept].slice(0, MOST_ROWS) });
    announce(t("examples.imported", { count: kept.length }));
  };
  const give = () => {
    const table = [[inputName, outputName], ...rows.map((row) => [row.input, row.output])];
    saveFile("examples.csv", "text/csv;charset=utf-8", writeCsv(table));
  };
  return (
    <div class="examples">
      <div class="pair">
        <LineField label={t("examples.inputPrefix")} value={examples.inputPrefix} placeholder={t("examples.inputPrefix.placeholder")} onInput={(inputPrefix) => updateExamples({ inputPrefix })} />
        <LineField label={t("examples.outputPrefix")} value={examples.outputPrefix} placeholder={t("examples.outputPrefix.placeholder")} onInput={(outputPrefix) => updateExamples({ outputPrefix })} />
      </div>
      <table class="rows">
        <caption class="unseen">{t("examples.caption")}</caption>
        <thead><tr><th scope="col" class="ordinal">{t("examples.number")}</th><th scope="col">{inputName}</th><th scope="col">{outputName}</th><th scope="col"><span class="unseen">{t("action.remove")}</span></th></tr></thead>
        <tbody>
          {rows.map((row, at) => (
            <tr key={row.id}>
              <td class="ordinal">{at + 1}</td>
              <td><Grow rows={1} aria-label={t("examples.cell", { column: t("examples.input"), row: at + 1 })} value={row.input} onInput={(event) => updateRow(row.id, { input: event.currentTarget.value })} /></td>
              <td><Grow rows={1} aria-label={t("examples.cell", { column: t("examples.output"), row: at + 1 })} value={row.output} onInput={(event) => updateRow(row.id, { output: event.currentTarget.value })} /></td>
              <td><button type="button" class="plain" aria-label={t("examples.removeRow", { row: at + 1 })} onClick={() => updateExamples({ rows: rows.filter((other) => other.id !== row.id) })}><Icon name="trash" /></button></td>
            </tr>
          ))}
        </tbody>
      </table>
      {rows.length === 0 && <p class="empty">{t("examples.empty")}</p>}
      <div class="row">
        <button type="button" class="quiet small" disabled={rows.length >= MOST_ROWS} onClick={add}><Icon name="plus" />{t("examples.add")}</button>
        <button type="button" class="quiet small" onClick={() => void take()}><Icon name="upload" />{t("examples.import")}</button>
        <button type="button" class="quiet small" disabled={rows.length === 0} onClick={give}><Icon name="download" />{t("examples.export")}</button>
      </div>
      {problem && <p class="error" role="alert">{problem}</p>}
      <TextArea label={t("examples.query")} rows={2} value={examples.query} placeholder={t("examples.query.placeholder")} onInput={(query) => updateExamples({ query })} />
      <details class="twin">
        <summary>{t("examples.preview")}</summary>
        <pre tabIndex={0}>{examplesPrompt(instruction, examples)}</pre>
      </details>
    </div>
  );
}
