// Prompts that other programs call: published, limited, watched.
import type { JSX } from "preact";
import { useEffect, useState } from "preact/hooks";
import { call } from "../api/client";
import type { AppCall, NewKey, StudioApp, UsageDay } from "../api/studio";
import { appSnippet } from "../domain/snippets";
import type { Language } from "../domain/snippets";
import { date, number, t } from "../i18n";
import type { Key } from "../i18n";
import { explain } from "../parts/explain";
import { Check, LineField, Segmented } from "../parts/fields";
import { Icon } from "../parts/icons";
import { VariantSelect, letter } from "../parts/variant-select";
import { announce } from "../state/announcer";
import { changed, opened, save } from "../state/project";
import { route } from "../state/route";
import { current } from "../state/studio";
import { UsageChart } from "./usage-chart";


export function Apps(): JSX.Element {
  const [, id] = route.value;
  return <main id="main" class="explorer">{id === "new" ? <Publish /> : id ? <AppView key={id} id={id} /> : <AppList />}</main>;
}

function AppList(): JSX.Element {
  const [apps, setApps] = useState<StudioApp[] | null>(null);
  const [error, setError] = useState("");
  useEffect(() => {
    call("GET /api/studio/apps", undefined).then((found) => setApps(found.apps as StudioApp[])).catch((reason: unknown) => setError(explain(reason)));
  }, []);
  return (
    <>
      <header class="page-head">
        <h1>{t("page.apps")}</h1>
        <p class="lead">{t("apps.about")}</p>
      </header>
      {error && <p class="error" role="alert">{error}</p>}
      {apps?.length === 0 && <p class="empty">{t("apps.empty")}</p>}
      <ul class="projects">
        {apps?.map((app) => (
          <li key={app.id} class="card">
            <a href={`#/apps/${app.id}`}><strong>{app.name}</strong></a>
            <p class="facts"><span>{t(`apps.${app.stage}` as Key)}</span><span>{app.model}</span><span>{t("versions.number", { version: app.version })}</span><span>{date(Date.parse(app.changed_at))}</span></p>
          </li>
        ))}
      </ul>
    </>
  );
}

/** What a field with an optional number says. */
const optional = (text: string) => (/^\s*\d+\s*$/.test(text) ? Number(text) : null);

interface Access {
  requests: string;
  tokens: string;
  origins: string;
  keeps: boolean;
}

function accessOf(app?: StudioApp): Access {
  const text = (value: number | null | undefined) => (value == null ? "" : String(value));
  return {
    requests: app ? text(app.limits.requests_per_minute) : "60",
    tokens: text(app?.limits.tokens_per_minute),
    origins: app?.allowed_origins.join("\n") ?? "",
    keeps: app?.keep_calls ?? false,
  };
}

function limitsOf(access: Access) {
  return { requests_per_minute: optional(access.requests), tokens_per_minute: optional(access.tokens) };
}

const originsOf = (access: Access) => access.origins.split(/[\s,]+/).filter(Boolean);

function AccessFields({ value, onChange }: { value: Access; onChange: (value: Access) => void }): JSX.Element {
  return (
    <>
      <div class="pair">
        <LineField label={t("apps.requests")} hint={t("apps.unlimited")} value={value.requests} onInput={(requests) => onChange({ ...value, requests })} />
        <LineField label={t("apps.tokens")} hint={t("apps.unlimited")} value={value.tokens} onInput={(tokens) => onChange({ ...value, tokens })} />
      </div>
      <LineField label={t("apps.origins")} hint={t("apps.origins.hint")} placeholder="https://shop.example" value={value.origins} onInput={(origins) => onChange({ ...value, origins })} />
      <Check label={t("apps.keepCalls")} checked={value.keeps} onChange={(keeps) => onChange({ ...value, keeps })} />
    </>
  );
}

/** A key, shown once. */
export function KeyCard({ app, made }: { app: StudioApp; made: NewKey }): JSX.Element {
  return (
    <section class="card key-card" aria-label={t("apps.key")}>
      <h2>{t("apps.key")}</h2>
      <p>{t("apps.key.once")}</p>
      <div class="row">
        <code class="key" data-testid="app-key">{made.text}</code>
        <button type="button" class="quiet small" onClick={() => void navigator.clipboard.writeText(made.text).then(() => announce(t("action.copied")))}><Icon name="copy" />{t("action.copy")}</button>
      </div>
      {made.expires_at && <p class="hint">{t("apps.key.ends", { date: date(Date.parse(made.expires_at)) })}</p>}
      <Code app={app} apiKey={made.text} />
    </section>
  );
}

function Code({ app, apiKey }: { app: StudioApp; apiKey: string }): JSX.Element {
  const [language, setLanguage] = useState<Language>("curl");
  const tried = app.definition?.variables ?? [];
  const values = app.variables.map((name) => [name, tried.find((variable) => variable.name === name)?.value || current.value.variables[name] || "…"]);
  const code = appSnippet(language, { url: location.origin + app.url, variables: Object.fromEntries(values), key: apiKey });
  return (
    <>
      <div class="row">
        <Segmented label={t("code.language")} value={language} onChange={setLanguage} options={[["curl", "curl"], ["python", "Python"], ["javascript", "JavaScript"]]} />
        <button type="button" class="quiet small" onClick={() => void navigator.clipboard.writeText(code).then(() => announce(t("action.copied")))}><Icon name="copy" />{t("code.copy")}</button>
      </div>
      <pre class="code" tabIndex={0} aria-label={t("code.title")}><code>{code}</code></pre>
    </>
  );
}

function Publish(): JSX.Element {
  const project = opened.value;
  const [name, setName] = useState(project?.name ?? "");
  const [access, setAccess] = useState(accessOf());
  const [variant, setVariant] = useState("");
  const [made, setMade] = useState<{ app: StudioApp; key: NewKey } | null>(null);
  const [error, setError] = useState("");
  const publish = async () => {
    if (!project) return;
    // What is published is what was saved, and that is what is on the desk.
    if (changed.value) await save("", true);
    const body = { project: project.id, ...(variant ? { variant: Number(variant) } : {}), name: name.trim(), limits: limitsOf(access), allowed_origins: originsOf(access), keep_calls: access.keeps };
    try {
      setMade(await call("POST /api/studio/apps", body) as { app: StudioApp; key: NewKey });
      announce(t("apps.published"));
    } catch (reason) {
      setError(explain(reason));
    }
  };
  return (
    <>
      <header class="page-head"><p><a href="#/apps">{t("page.apps")}</a></p><h1>{t("apps.publish")}</h1><p class="lead">{t("apps.publish.about")}</p></header>
      {!project ? <p class="empty">{t("apps.noProject")}</p> : made ? (
        <>
          <KeyCard app={made.app} made={made.key} />
          <p><a href={`#/apps/${made.app.id}`}>{t("apps.goOn", { name: made.app.name })}</a></p>
        </>
      ) : (
        <div class="card form">
          <p class="hint">{t("apps.from", { name: project.name, version: project.version })}</p>
          <LineField label={t("apps.name")} value={name} onInput={setName} />
          <VariantSelect count={current.value.variants.length} value={variant} onChange={setVariant} />
          <AccessFields value={access} onChange={setAccess} />
          {error && <p class="error" role="alert">{error}</p>}
          <button type="button" class="primary" disabled={name.trim() === ""} onClick={() => void publish()}>{t("apps.publish")}</button>
        </div>
      )}
    </>
  );
}

function AppView({ id }: { id: string }): JSX.Element {
  const [app, setApp] = useState<StudioApp | null>(null);
  const [access, setAccess] = useState<Access>(accessOf());
  const [key, setKey] = useState<NewKey | null>(null);
  const [days, setDays] = useState<UsageDay[]>([]);
  const [error, setError] = useState("");
  const path = { id };
  const fail = (reason: unknown) => setError(explain(reason));
  const take = (next: StudioApp) => {
    setApp(next);
    setAccess(accessOf(next));
    setError("");
  };
  useEffect(() => {
    call("GET /api/studio/apps/{id}", undefined, { path }).then((found) => take(found as StudioApp)).catch(fail);
    call("GET /api/studio/apps/{id}/usage", undefined, { path, query: { days: "30" } }).then((found) => setDays(found.days as UsageDay[])).catch(fail);
  }, []);
  if (!app) return error ? <p class="error" role="alert">{error}</p> : <p class="empty">{t("app.waiting")}</p>;
  const change = () => call("PUT /api/studio/apps/{id}", { limits: limitsOf(access), allowed_origins: originsOf(access), keep_calls: access.keeps }, { path })
    .then((found) => { take(found as StudioApp); announce(t("apps.changed")); }).catch(fail);
  const renew = () => call("PUT /api/studio/apps/{id}", { project: app.project, ...(app.variant == null ? {} : { variant: app.variant }) }, { path }).then((found) => take(found as StudioApp)).catch(fail);
  const publish = () => call("POST /api/studio/apps/{id}/publish", { limits: limitsOf(access) }, { path }).then((found) => {
    const made = found as { app: StudioApp; key: NewKey };
    take(made.app);
    setKey(made.key);
  }).catch(fail);
  const fresh = () => call("POST /api/studio/apps/{id}/keys", {}, { path }).then((found) => setKey((found as { key: NewKey }).key)).catch(fail);
  const remove = () => {
    if (!confirm(t("projects.confirm", { name: app.name }))) return;
    void call("DELETE /api/studio/apps/{id}", undefined, { path }).then(() => { location.hash = "#/apps"; }).catch(fail);
  };
  return (
    <>
      <header class="page-head">
        <p><a href="#/apps">{t("page.apps")}</a></p>
        <h1>{app.name}</h1>
        <p class="facts"><span data-testid="app-stage">{t(`apps.${app.stage}` as Key)}</span><span>{app.model}</span><span>{t("versions.number", { version: app.version })}</span>{app.variant != null && <span>{t("compare.variant", { name: letter(app.variant + 1) })}</span>}<span>{app.url}</span></p>
      </header>
      {error && <p class="error" role="alert">{error}</p>}
      {key ? <KeyCard app={app} made={key} /> : <section class="card form" aria-label={t("code.title")}><h2>{t("code.title")}</h2><Code app={app} apiKey="" /></section>}
      <div class="row">
        {app.stage === "test" && <button type="button" class="primary" onClick={() => void publish()}>{t("apps.toService")}</button>}
        <button type="button" class="quiet" onClick={() => void fresh()}>{t("apps.newKey")}</button>
        <button type="button" class="quiet" onClick={() => void renew()}>{t("apps.renew")}</button>
        <a class="button" href={`#/playground/${app.project}`}>{t("apps.openProject")}</a>
        <button type="button" class="quiet" onClick={remove}><Icon name="trash" />{t("action.remove")}</button>
      </div>
      <section class="card form" aria-label={t("apps.access")}>
        <h2>{t("apps.access")}</h2>
        <AccessFields value={access} onChange={setAccess} />
        <button type="button" class="quiet" onClick={() => void change()}>{t("project.save")}</button>
      </section>
      <UsageChart days={days} />
      <Calls app={app} />
    </>
  );
}

function Calls({ app }: { app: StudioApp }): JSX.Element {
  const [calls, setCalls] = useState<AppCall[]>([]);
  const [more, setMore] = useState(false);
  const [error, setError] = useState("");
  const read = (before?: string) => call("GET /api/studio/apps/{id}/calls", undefined, { path: { id: app.id }, query: { limit: "20", ...(before ? { before } : {}) } })
    .then((found) => {
      setCalls((known) => [...(before ? known : []), ...(found.calls as AppCall[])]);
      setMore(found.has_more);
    }).catch((reason: unknown) => setError(explain(reason)));
  useEffect(() => void read(), [app.keep_calls]);
  return (
    <div class="calls">
      <h2>{t("calls.title")}</h2>
      <p class="hint">{t(app.keep_calls ? "calls.kept" : "calls.notKept")}</p>
      {error && <p class="error" role="alert">{error}</p>}
      {calls.length > 0 && (
        <div class="scroll" tabIndex={0} role="region" aria-label={t("calls.title")}>
          <table class="plain-table">
            <thead><tr><th scope="col">{t("calls.at")}</th><th scope="col">{t("variables.title")}</th><th scope="col">{t("examples.output")}</th><th scope="col">{t("calls.state")}</th><th scope="col" class="amount">{t("explorer.tokens")}</th><th scope="col" class="amount">ms</th></tr></thead>
            <tbody>
              {calls.map((each) => (
                <tr key={each.id}>
                  <td>{date(Date.parse(each.at))}</td>
                  <td>{Object.entries(each.variables).map(([name, value]) => `${name}: ${value}`).join("\n")}</td>
                  <td><span class="said small">{each.output.trim()}</span></td>
                  <td>{t(`calls.${each.outcome}` as Key)}</td>
                  <td class="amount">{number(each.prompt_tokens + each.completion_tokens)}</td>
                  <td class="amount">{number(each.millis)}</td>
                </tr>
              ))}
            </tbody>
          </table>
        </div>
      )}
      <div class="row">
        {more && <button type="button" class="quiet small" onClick={() => void read(calls.at(-1)?.id)}>{t("projects.more")}</button>}
        {calls.length > 0 && <button type="button" class="quiet small" onClick={() => void call("DELETE /api/studio/apps/{id}/calls", undefined, { path: { id: app.id } }).then(() => setCalls([])).catch((reason: unknown) => setError(explain(reason)))}><Icon name="trash" />{t("calls.clear")}</button>}
      </div>
    </div>
  );
}
