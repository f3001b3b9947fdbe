// Tunings: which there are, and the way to each.
import type { JSX } from "preact";
import { useEffect, useState } from "preact/hooks";
import { call } from "../api/client";
import type { Tuning } from "../api/studio";
import { date, number, percent, t } from "../i18n";
import type { Key } from "../i18n";
import { explain } from "../parts/explain";
import { Icon } from "../parts/icons";
import { route } from "../state/route";
import { TuningForm } from "./tuning-form";
import { TuningView } from "./tuning-view";

/** Milliseconds between two looks at tunings that run. */
const PULSE = 3000;

export function Tunings(): JSX.Element {
  const [, id, dataset] = route.value;
  return (
    <main id="main" class={id === "new" ? "explorer wide" : "explorer"}>
      {id === "new" ? <TuningForm key={dataset} dataset={dataset ?? ""} /> : id ? <TuningView key={id} id={id} /> : <TuningList />}
    </main>
  );
}

function TuningList(): JSX.Element {
  const [tunings, setTunings] = useState<Tuning[] | null>(null);
  const [error, setError] = useState("");
  const read = () => call("GET /api/studio/tunings", undefined).then((found) => { setTunings(found.tunings as Tuning[]); setError(""); }).catch((reason: unknown) => setError(explain(reason)));
  const goes = tunings?.some((tuning) => ["queued", "running", "stopping"].includes(tuning.state)) ?? false;
  useEffect(() => {
    void read();
    if (!goes) return;
    const timer = setInterval(() => void read(), PULSE);
    return () => clearInterval(timer);
  }, [goes]);
  return (
    <>
      <header class="page-head">
        <h1>{t("page.tunings")}</h1>
        <p class="lead">{t("tunings.about")}</p>
      </header>
      <div class="row"><a class="button primary" href="#/tunings/new"><Icon name="plus" />{t("tunings.new")}</a></div>
      {error && <p class="error" role="alert">{error}</p>}
      {tunings?.length === 0 && <p class="empty">{t("tunings.empty")}</p>}
      <ul class="projects">
        {tunings?.map((tuning) => (
          <li key={tuning.id} class="card">
            <a href={`#/tunings/${tuning.id}`}><strong>{tuning.name}</strong></a>
            <p class="facts">
              <span class={`state-${tuning.state}`}>{t(`tuning.${tuning.state}` as Key)}{tuning.state === "running" && tuning.last ? ` · ${percent(tuning.last.step / tuning.steps)}` : ""}</span>
              <span>{t(`method.${tuning.task.method.replace("-", "_")}` as Key)}</span><span>{tuning.model ?? tuning.task.base}</span><span>{t("batches.rows", { count: tuning.rows })}</span>
              {tuning.last?.validation_accuracy != null && <span>{t("tuning.accuracyShort", { accuracy: percent(tuning.last.validation_accuracy) })}</span>}
              {tuning.last?.loss != null && <span>{t("tuning.lossShort", { loss: number(tuning.last.loss, 3) })}</span>}
              <span>{date(Date.parse(tuning.created_at))}</span>
            </p>
          </li>
        ))}
      </ul>
    </>
  );
}
