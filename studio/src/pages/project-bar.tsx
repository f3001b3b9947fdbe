// Save, versions, share: what is known of the project on the desk.
import type { JSX } from "preact";
import { useEffect, useState } from "preact/hooks";
import { t } from "../i18n";
import { Dialog } from "../parts/dialog";
import { Check, LineField } from "../parts/fields";
import { Icon } from "../parts/icons";
import { announce } from "../state/announcer";
import { begin, changed, opened, problem, save, saveCopy, saveOver, saving, share, takeTheirs } from "../state/project";
import { VersionsDialog } from "./versions-dialog";

type Open = "versions" | "share" | null;

function useSaveKey(): void {
  useEffect(() => {
    const press = (event: KeyboardEvent) => {
      if (event.key.toLowerCase() !== "s" || !(event.ctrlKey || event.metaKey) || event.altKey) return;
      event.preventDefault();
      void save();
    };
    addEventListener("keydown", press);
    return () => removeEventListener("keydown", press);
  }, []);
}

export function ProjectBar(): JSX.Element {
  const [open, setOpen] = useState<Open>(null);
  useSaveKey();
  const project = opened.value;
  const busy = saving.value === "saving";
  const state = busy ? t("project.saving")
    : saving.value === "failed" ? t("project.failed", { reason: problem.value })
    : saving.value === "conflict" ? t("project.conflict")
    : project === null ? t("project.none")
    : !project.writable ? t("project.foreign")
    : changed.value ? t("project.changed") : t("project.current", { version: project.version });
  return (
    <>
      <div class="project-bar">
        <p class={`state ${saving.value}`} data-testid="project-state">{state}</p>
        <div class="actions">
          <button type="button" class="quiet small" onClick={() => begin()}><Icon name="plus" />{t("project.new")}</button>
          <button type="button" class="quiet small" disabled={busy} onClick={() => void save()}><Icon name="check" />{t("project.save")}</button>
          {project && <button type="button" class="quiet small" onClick={() => setOpen("versions")}><Icon name="undo" />{t("versions.open")}</button>}
          {project && <a class="button small" href="#/apps/new">{t("apps.publish")}</a>}
          {project?.writable && <button type="button" class="quiet small" onClick={() => setOpen("share")}><Icon name="leave" />{t("share.open")}</button>}
        </div>
      </div>
      {saving.value === "conflict" && <Conflict />}
      {open === "versions" && <VersionsDialog onClose={() => setOpen(null)} />}
      {open === "share" && <ShareDialog onClose={() => setOpen(null)} />}
    </>
  );
}

/** Somebody else saved meanwhile: nothing is lost until the person has chosen, and nothing after. */
function Conflict(): JSX.Element {
  return (
    <section class="clash" role="alert">
      <p>{t("project.conflict.about")}</p>
      <div class="row">
        <button type="button" class="quiet small" onClick={() => void saveOver()}>{t("project.conflict.mine")}</button>
        <button type="button" class="quiet small" onClick={() => void takeTheirs()}>{t("project.conflict.theirs")}</button>
        <button type="button" class="quiet small" onClick={() => void saveCopy()}>{t("project.conflict.copy")}</button>
      </div>
    </section>
  );
}

function ShareDialog({ onClose }: { onClose: () => void }): JSX.Element | null {
  const project = opened.value;
  const [error, setError] = useState("");
  if (!project) return null;
  const link = `${location.origin}/#/playground/${project.id}`;
  return (
    <Dialog title={t("share.title")} onClose={onClose}>
      <p class="hint">{t("share.hint")}</p>
      <Check label={t("share.on")} checked={project.shared} onChange={(on) => void share(on).catch((reason: unknown) => setError(String(reason)))} />
      <LineField label={t("share.link")} value={link} onInput={() => {}} />
      {error && <p class="error" role="alert">{error}</p>}
      <div class="row">
        <button type="button" class="quiet" onClick={() => void navigator.clipboard.writeText(link).then(() => announce(t("action.copied")))}><Icon name="copy" />{t("action.copy")}</button>
      </div>
    </Dialog>
  );
}
