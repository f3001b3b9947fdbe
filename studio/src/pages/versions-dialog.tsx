// The versions of a project: what each changed, and the way back.
import type { JSX } from "preact";
import { useEffect, useState } from "preact/hooks";
import { call } from "../api/client";
import type { ServerDocument, Version } from "../api/studio";
import { difference, excerpt } from "../domain/difference";
import { fromServer, toServer } from "../domain/exchange";
import { presetOf } from "../domain/document";
import type { StudioDocument } from "../domain/document";
import { date, t } from "../i18n";
import { Dialog } from "../parts/dialog";
import { opened, restore } from "../state/project";
import { current } from "../state/studio";

export function VersionsDialog({ onClose }: { onClose: () => void }): JSX.Element {
  const project = opened.value;
  const [versions, setVersions] = useState<Version[] | null>(null);
  const [shown, setShown] = useState<{ version: number; document: ServerDocument } | null>(null);
  const [error, setError] = useState("");
  const fail = (reason: unknown) => setError(reason instanceof Error ? reason.message : String(reason));
  useEffect(() => {
    if (!project) return;
    call("GET /api/studio/projects/{id}/versions", undefined, { path: { id: project.id }, query: { limit: "100" } })
      .then((found) => setVersions(found.versions as Version[]))
      .catch(fail);
  }, [project?.id, project?.version]);
  const look = (version: number) => {
    if (!project) return;
    call("GET /api/studio/projects/{id}/versions/{version}", undefined, { path: { id: project.id, version: String(version) } })
      .then((found) => setShown({ version, document: found.document as ServerDocument }))
      .catch(fail);
  };
  const back = (version: number) => restore(version).then(onClose).catch(fail);
  return (
    <Dialog title={t("versions.title")} onClose={onClose} wide>
      {error && <p class="error" role="alert">{error}</p>}
      <ol class="versions" reversed>
        {versions?.map((version) => (
          <li key={version.version}>
            <button type="button" class="plain-row" aria-expanded={shown?.version === version.version} onClick={() => look(version.version)}>
              <strong>{t("versions.number", { version: version.version })}</strong>
              <span>{date(Date.parse(version.saved_at))}</span>
              <span>{[version.autosave ? t("versions.autosave") : "", version.restored_from == null ? "" : t("versions.restored", { version: version.restored_from }), version.note].filter(Boolean).join(" · ")}</span>
            </button>
            {shown?.version === version.version && (
              <div class="version-detail">
                <Changes from={fromServer(shown.document, "")} to={current.value} />
                {project?.writable && version.version !== project.version && (
                  <button type="button" class="quiet small" onClick={() => void back(version.version)}>{t("versions.restore")}</button>
                )}
              </div>
            )}
          </li>
        ))}
      </ol>
    </Dialog>
  );
}

/** What the desk has that a version had not, and the other way round. */
function Changes({ from, to }: { from: StudioDocument; to: StudioDocument }): JSX.Element {
  // Through the server's form, so that only what is saved is compared.
  const lines = difference(describe(fromServer(toServer(from), "")), describe(fromServer(toServer(to), "")));
  if (lines.every((line) => line.kind === "same")) return <p class="hint">{t("versions.same")}</p>;
  return (
    <div class="scroll" tabIndex={0} role="region" aria-label={t("versions.changes")}>
      <pre class="changes">
        {excerpt(lines).map((line, at) => {
          if (line === null) return <span key={at} class="gap">⋯{"\n"}</span>;
          if (line.kind === "same") return <span key={at}>{`  ${line.text}\n`}</span>;
          return line.kind === "added" ? <ins key={at}>{`+ ${line.text}\n`}</ins> : <del key={at}>{`− ${line.text}\n`}</del>;
        })}
      </pre>
    </div>
  );
}

const PARAMETERS = [
  ["topP", "field.topP"], ["topK", "field.topK"], ["maxTokens", "field.maxTokens"], ["temperature", "field.temperature"],
  ["repeatPenalty", "field.repetition"], ["stop", "field.stop"], ["start", "field.start"], ["restart", "field.restart"], ["seed", "field.seed"],
] as const;

/** A setting; texts in quotes, since spaces and line feeds matter. */
const text = (value: number | string | string[]) =>
  typeof value === "number" ? String(value) : [value].flat().filter(Boolean).map((each) => JSON.stringify(each)).join(" ");

/** A document in lines that people can read. */
function describe(document: StudioDocument): string[] {
  const block = (title: string, body: string) => (body === "" ? [] : [`${title}:`, ...body.split("\n").map((line) => `  ${line}`)]);
  const { examples } = document;
  return [
    `${t("playground.mode")}: ${t(document.mode === "chat" ? "mode.chat" : "mode.text")}`,
    ...(document.mode === "text" ? [`${t("kind.label")}: ${t(`kind.${document.kind}`)}`] : []),
    ...document.variants.flatMap((variant, at) => [
      ...(document.variants.length > 1 ? [`— ${t("compare.variant", { name: String.fromCharCode(65 + at) })} —`] : []),
      `${t("engine.label")}: ${variant.model}`,
      ...block(t("chat.system"), variant.system),
      ...block(t("text.prompt"), variant.text),
      ...PARAMETERS.map(([name, key]) => `${t(key)}: ${text(variant.parameters[name])}`),
      ...(presetOf(variant.parameters) ? [`${t("preset.label")}: ${t(`preset.${presetOf(variant.parameters) ?? "consistency"}`)}`] : []),
    ]),
    ...document.turns.flatMap((turn) => block(t(`role.${turn.role}`), turn.content)),
    ...block(t("chat.message"), document.message),
    ...(examples.rows.length > 0 ? [`${t("kind.examples")}: ${JSON.stringify([examples.inputPrefix, examples.outputPrefix, examples.separator])}`] : []),
    ...examples.rows.map((row, at) => `  ${at + 1}. ${row.input} → ${row.output}`),
    ...block(t("examples.query"), examples.query),
    ...Object.entries(document.variables).map(([name, value]) => `{{${name}}}: ${value}`),
  ];
}
