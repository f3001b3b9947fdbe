// A conversation with an instruction in front.
import type { JSX } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";
import { memo } from "../parts/memo";
import type { Turn } from "../domain/document";
import { t } from "../i18n";
import { TextArea } from "../parts/fields";
import { Icon } from "../parts/icons";
import { Answer, Facts } from "../parts/output";
import { clearRuns, runOf, running, start } from "../state/run";
import { checkpoint, current, main, newTurn, update, updateTurn, updateVariant } from "../state/studio";
import { Composer } from "./composer";

export function ChatDesk(): JSX.Element {
  const variant = main.value;
  return (
    <section class="chat" aria-label={t("mode.chat")}>
      <TextArea label={t("chat.system")} hint={t("chat.system.hint")} className="system" value={variant.system} placeholder={t("chat.system.placeholder")}
        onInput={(system) => updateVariant(variant.id, { system })} />
      <Turns />
      <Composer />
    </section>
  );
}

/** The turns so far and the answer that comes in. */
export function Turns(): JSX.Element {
  const { turns, compare } = current.value;
  const run = compare ? undefined : runOf(main.value);
  const isRunning = run?.status === "running";
  const end = useRef<HTMLDivElement>(null);
  const length = run?.candidates[0]?.text.length ?? 0;
  useEffect(() => {
    if (isRunning || turns.length > 0) end.current?.scrollIntoView({ block: "nearest" });
  }, [turns.length, length, isRunning]);
  const last = turns.at(-1);
  const candidate = run?.candidates[0];
  // What a finished answer says is in its turn; its tokens and figures are below.
  const showsTokens = !isRunning && run !== undefined && (candidate?.tokens.length ?? 0) > 0;
  return (
    <div class="turns">
      <h2 class="unseen">{t("chat.title")}</h2>
      {turns.length === 0 && !isRunning && <p class="empty">{t("chat.empty")}</p>}
      {turns.length > 0 && (
        <ol class="turn-list">
          {turns.map((turn) => <TurnItem key={turn.id} turn={turn} isLast={turn === last && !isRunning} />)}
        </ol>
      )}
      {run && candidate && (
        <div class={`incoming ${isRunning ? "live" : ""}`}>
          {isRunning && <><h3 class="speaker">{t("role.assistant")}</h3><Answer candidate={candidate} run={run} /></>}
          {showsTokens && <Answer candidate={candidate} run={run} />}
          <Facts run={run} />
        </div>
      )}
      {!isRunning && (
        <div class="row turn-tools">
          <button type="button" class="quiet small" onClick={() => update({ turns: [...turns, newTurn(last?.role === "user" ? "assistant" : "user")] })}>
            <Icon name="plus" />{t("chat.addTurn")}
          </button>
          {last?.role === "user" && !compare && <button type="button" class="quiet small" disabled={running.value} onClick={() => void start()}><Icon name="run" />{t("chat.answer")}</button>}
          {turns.length > 0 && (
            <button type="button" class="quiet small" onClick={() => { checkpoint(); clearRuns(); update({ turns: [] }); }}><Icon name="trash" />{t("chat.clear")}</button>
          )}
        </div>
      )}
      <div class="end" ref={end} />
    </div>
  );
}

const TurnItem = memo(function TurnItem({ turn, isLast }: { turn: Turn; isLast: boolean }): JSX.Element {
  const [edits, setEdits] = useState(turn.content === "");
  const speaker = t(turn.role === "user" ? "role.user" : "role.assistant");
  const remove = () => {
    checkpoint();
    clearRuns();
    update({ turns: current.value.turns.filter((other) => other.id !== turn.id) });
  };
  const again = () => {
    checkpoint();
    clearRuns();
    update({ turns: current.value.turns.filter((other) => other.id !== turn.id) });
    void start();
  };
  return (
    <li class={`turn ${turn.role}`}>
      <div class="turn-head">
        <h3 class="speaker">{speaker}</h3>
        <div class="turn-actions">
          {isLast && turn.role === "assistant" && <button type="button" class="plain" aria-label={t("chat.again")} title={t("chat.again")} onClick={again}><Icon name="again" /></button>}
          <button type="button" class="plain" aria-pressed={edits} aria-label={t("chat.edit", { speaker })} title={t("chat.edit", { speaker })} onClick={() => setEdits(!edits)}><Icon name={edits ? "check" : "edit"} /></button>
          <button type="button" class="plain" aria-label={t("chat.remove", { speaker })} title={t("chat.remove", { speaker })} onClick={remove}><Icon name="trash" /></button>
        </div>
      </div>
      {edits
        ? <TextArea label={speaker} hidesLabel rows={2} value={turn.content} onInput={(content) => updateTurn(turn.id, content)} />
        : <p class="said">{turn.content}</p>}
    </li>
  );
});
