// The tools of the API, one at a time.
import type { ComponentChildren, JSX } from "preact";
import { useState } from "preact/hooks";
import { t } from "../i18n";
import type { Key } from "../i18n";
import { explain } from "../parts/explain";
import { announce } from "../state/announcer";
import { route } from "../state/route";
import { EmbeddingTool, SegmentationTool, SlidingTool, SummaryTool, TokensTool } from "./explorer-tools";

const TOOLS = [["tokens", TokensTool], ["segmentation", SegmentationTool], ["summary", SummaryTool], ["sliding", SlidingTool], ["embedding", EmbeddingTool]] as const;

export function Explorer(): JSX.Element {
  const [name, Tool] = TOOLS.find(([each]) => each === route.value[1]) ?? TOOLS[0];
  return (
    <main id="main" class="explorer">
      <header class="page-head">
        <h1>{t("explorer.title")}</h1>
        <p class="lead">{t("explorer.about")}</p>
      </header>
      <nav class="tabs" aria-label={t("explorer.tool")}>
        {TOOLS.map(([each]) => <a key={each} href={`#/explorer/${each}`} aria-current={each === name ? "page" : undefined}>{t(`explorer.${each}` as Key)}</a>)}
      </nav>
      <section class="tool" key={name} aria-labelledby="tool-name">
        <h2 id="tool-name">{t(`explorer.${name}` as Key)}</h2>
        <p class="lead">{t(`explorer.${name}.about` as Key)}</p>
        <Tool />
      </section>
    </main>
  );
}

/** A tool that was asked: what it is doing, what came of it. */
export function useAnswer<T>(): { answer: T | null; error: string; busy: boolean; ask: (work: () => Promise<T>) => Promise<void> } {
  const [answer, setAnswer] = useState<T | null>(null);
  const [error, setError] = useState("");
  const [busy, setBusy] = useState(false);
  const ask = async (work: () => Promise<T>) => {
    setBusy(true);
    setError("");
    try {
      setAnswer(await work());
      announce(t("run.done"));
    } catch (reason) {
      setAnswer(null);
      setError(explain(reason));
    }
    setBusy(false);
  };
  return { answer, error, busy, ask };
}

export function Outcome({ error, children }: { error: string; children: ComponentChildren }): JSX.Element {
  return (
    <section class="outcome" aria-label={t("explorer.result")}>
      {error && <p class="error" role="alert">{error}</p>}
      {children}
    </section>
  );
}
