// The project that is on the desk: saved, saved by itself, and never saved over what somebody else saved.
import { computed, effect, signal } from "@preact/signals";
import { ApiError, call } from "../api/client";
import type { Project } from "../api/studio";
import { newDocument } from "../domain/document";
import type { StudioDocument } from "../domain/document";
import { essence, fromServer, toServer } from "../domain/exchange";
import { t } from "../i18n";
import { announce } from "./announcer";
import { loadModels } from "./models";
import { route } from "./route";
import { clearRuns, running } from "./run";
import { current, main, open, update } from "./studio";

/** What is known of the project on the desk. */
export interface Opened {
  id: string;
  version: number;
  name: string;
  shared: boolean;
  writable: boolean;
  /** The document as it was saved or read. */
  saved: string;
}

export type Saving = "idle" | "saving" | "conflict" | "failed";

const PLACE = "saem-project";
/** Milliseconds of rest after which changes are saved by themselves. */
const REST = 2500;

export const opened = signal<Opened | null>(recall());
export const saving = signal<Saving>("idle");
export const problem = signal("");
/** Whether the desk has something that the project has not. */
export const changed = computed(() => {
  const project = opened.value;
  return project !== null && (essence(current.value) !== project.saved || current.value.title.trim() !== project.name);
});

function recall(): Opened | null {
  try {
    return JSON.parse(sessionStorage.getItem(PLACE) ?? "null") as Opened | null;
  } catch {
    return null;
  }
}

effect(() => {
  const text = JSON.stringify(opened.value);
  try {
    sessionStorage.setItem(PLACE, text);
  } catch {
    // The tab forgets on a reload which project it had.
  }
});

function take(project: Project, document = current.peek()): void {
  opened.value = {
    id: project.id, version: project.version, name: project.name, shared: project.shared, writable: project.writable,
    saved: essence(document),
  };
  saving.value = "idle";
  problem.value = "";
}

function nameOf(): string {
  return current.value.title.trim().replace(/\s+/g, " ") || t("playground.untitled");
}

/** Saves what is on the desk: as a new project where it belongs to none, or where it is somebody else's. */
export async function save(note = "", autosave = false): Promise<void> {
  const project = opened.value;
  if (saving.value === "saving") return;
  saving.value = "saving";
  const document = current.value;
  const body = { name: nameOf(), document: toServer(document) };
  try {
    const made = project?.writable
      ? await call("PUT /api/studio/projects/{id}", { ...body, note, autosave, based_on: project.version }, { path: { id: project.id } })
      : await call("POST /api/studio/projects", body);
    if (current.value.title.trim() === "") update({ title: made.name });
    take(made as Project, { ...document, title: made.name });
    go(made.id);
    if (!autosave) announce(t("project.saved", { version: made.version }));
  } catch (error) {
    fail(error);
  }
}

function fail(error: unknown): void {
  const isConflict = error instanceof ApiError && error.code === "project_changed";
  saving.value = isConflict ? "conflict" : "failed";
  problem.value = error instanceof ApiError && error.status === 0 ? t("error.unreachable") : error instanceof Error ? error.message : String(error);
  announce(isConflict ? t("project.conflict") : problem.value);
}

/** Puts a project on the desk. */
export async function load(id: string): Promise<void> {
  try {
    show(await call("GET /api/studio/projects/{id}", undefined, { path: { id } }) as Project);
  } catch (error) {
    opened.value = null;
    fail(error);
  }
}

/** Opens a document; undoing that opens again what was on the desk. */
function replace(document: StudioDocument): void {
  const before = opened.peek();
  clearRuns();
  open(document, () => {
    opened.value = before;
    saving.value = "idle";
    go(before?.id);
  });
}

function show(project: Project): void {
  replace(fromServer(project.document, project.name));
  take(project);
  go(project.id);
  // A model that is no longer served is replaced by one that is.
  void loadModels();
}

/** Takes what somebody else saved meanwhile in place of what is on the desk. */
export async function takeTheirs(): Promise<void> {
  if (opened.value) await load(opened.value.id);
}

/** Saves what is on the desk after what somebody else saved meanwhile; both are among the versions. */
export async function saveOver(): Promise<void> {
  const project = opened.value;
  if (!project) return;
  try {
    const theirs = await call("GET /api/studio/projects/{id}", undefined, { path: { id: project.id } });
    opened.value = { ...project, version: theirs.version };
    saving.value = "idle";
    await save();
  } catch (error) {
    fail(error);
  }
}

/** Saves what is on the desk as a project of its own. */
export async function saveCopy(): Promise<void> {
  opened.value = null;
  saving.value = "idle";
  update({ title: t("project.copyOf", { name: nameOf() }) });
  await save();
}

export async function restore(version: number): Promise<void> {
  // What is on the desk becomes a version of its own first.
  if (changed.value) await save("", true);
  const project = opened.value;
  if (!project || saving.value !== "idle") return;
  const made = await call("POST /api/studio/projects/{id}/versions/{version}/restore", { based_on: project.version }, { path: { id: project.id, version: String(version) } });
  show(made as Project);
  announce(t("project.restored", { version }));
}

export async function share(shared: boolean): Promise<void> {
  const project = opened.value;
  if (!project) return;
  const made = await call("PATCH /api/studio/projects/{id}", { shared }, { path: { id: project.id } });
  opened.value = { ...project, shared: made.shared };
}

/** Clears the desk for something new. */
export function begin(document = newDocument(main.value.model)): void {
  replace(document);
  opened.value = null;
  saving.value = "idle";
  problem.value = "";
  go();
}

/** Puts the project into the address, so that it can be kept as a bookmark and survives a reload. */
function go(id?: string): void {
  const address = id ? `#/playground/${id}` : "#/playground";
  if (location.hash !== address) history.replaceState(null, "", address);
  route.value = id ? ["playground", id] : ["playground"];
}

/** Follows the address to its project, and saves changes by themselves. */
export function startSaving(): void {
  effect(() => {
    const [page, id] = route.value;
    if (page === "playground" && id && opened.peek()?.id !== id) void load(id);
  });
  let timer: ReturnType<typeof setTimeout> | undefined;
  effect(() => {
    const project = opened.value;
    void current.value;
    clearTimeout(timer);
    if (!project?.writable || running.value || saving.value !== "idle" || !changed.value) return;
    timer = setTimeout(() => void save("", true), REST);
  });
}
