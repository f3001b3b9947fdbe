// All projects of this installation that one may see.
import type { JSX } from "preact";
import { useEffect, useState } from "preact/hooks";
import { call } from "../api/client";
import type { Summary } from "../api/studio";
import { date, t } from "../i18n";
import { LineField } from "../parts/fields";
import { Icon } from "../parts/icons";
import { announce } from "../state/announcer";
import { begin, opened } from "../state/project";

const REST = 250;

export function Projects(): JSX.Element {
  const [projects, setProjects] = useState<Summary[] | null>(null);
  const [more, setMore] = useState(false);
  const [query, setQuery] = useState("");
  const [error, setError] = useState("");
  const fail = (reason: unknown) => setError(reason instanceof Error ? reason.message : String(reason));
  const read = async (before?: string) => {
    const search: Record<string, string> = { limit: "50", query: query.normalize("NFC") };
    if (before) search["before"] = before;
    const found = await call("GET /api/studio/projects", undefined, { query: search });
    setProjects((known) => [...(before ? (known ?? []) : []), ...(found.projects as Summary[])]);
    setMore(found.has_more);
    setError("");
  };
  useEffect(() => {
    const timer = setTimeout(() => void read().catch(fail), projects === null ? 0 : REST);
    return () => clearTimeout(timer);
  }, [query]);
  const duplicate = async (project: Summary) => {
    await call("POST /api/studio/projects/{id}/duplicate", {}, { path: { id: project.id } });
    await read();
  };
  const remove = async (project: Summary) => {
    if (!confirm(t("projects.confirm", { name: project.name }))) return;
    await call("DELETE /api/studio/projects/{id}", undefined, { path: { id: project.id } });
    if (opened.value?.id === project.id) opened.value = null;
    announce(t("projects.removed", { name: project.name }));
    await read();
  };
  return (
    <main id="main" class="explorer">
      <header class="page-head row">
        <h1>{t("page.projects")}</h1>
        <button type="button" class="primary" onClick={() => begin()}><Icon name="plus" />{t("project.new")}</button>
      </header>
      <LineField label={t("projects.search")} value={query} onInput={setQuery} />
      {error && <p class="error" role="alert">{error}</p>}
      {projects?.length === 0 && <p class="empty">{query ? t("projects.nothing") : t("projects.empty")}</p>}
      <ul class="projects">
        {projects?.map((project) => (
          <li key={project.id} class="card">
            <a href={`#/playground/${project.id}`}><strong>{project.name}</strong></a>
            <p class="facts">
              <span>{t(project.mode === "chat" ? "mode.chat" : "mode.text")}</span>
              <span>{project.model}</span>
              <span>{t("versions.number", { version: project.version })}</span>
              <span>{date(Date.parse(project.changed_at))}</span>
              {project.shared && <span>{t("projects.shared")}</span>}
            </p>
            <div class="turn-actions">
              <button type="button" class="plain" aria-label={t("projects.duplicate", { name: project.name })} title={t("projects.duplicate", { name: project.name })} onClick={() => void duplicate(project).catch(fail)}><Icon name="copy" /></button>
              <button type="button" class="plain" aria-label={t("projects.remove", { name: project.name })} title={t("projects.remove", { name: project.name })} onClick={() => void remove(project).catch(fail)}><Icon name="trash" /></button>
            </div>
          </li>
        ))}
      </ul>
      {more && <button type="button" class="quiet" onClick={() => void read(projects?.at(-1)?.id).catch(fail)}>{t("projects.more")}</button>}
    </main>
  );
}
