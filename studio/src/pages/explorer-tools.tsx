// Each tool: what it takes, what it gives.
import type { JSX } from "preact";
import { useState } from "preact/hooks";
import { call } from "../api/client";
import { samples } from "../domain/samples";
import { number, t } from "../i18n";
import { Check, NumberField, Slider, TextArea } from "../parts/fields";
import { encoders } from "../state/models";
import { language } from "../state/preferences";
import { main } from "../state/studio";
import { EngineChooser } from "./settings";
import { Outcome, useAnswer } from "./explorer";

function Buttons({ busy, empty, onTry, onSample }: { busy: boolean; empty: boolean; onTry: () => void; onSample: () => void }): JSX.Element {
  return (
    <div class="row">
      <button type="button" class="primary" disabled={busy || empty} aria-busy={busy} onClick={onTry}>{t("explorer.try")}</button>
      <button type="button" class="quiet" onClick={onSample}>{t("explorer.sample")}</button>
    </div>
  );
}

export function TokensTool(): JSX.Element {
  const [text, setText] = useState("");
  const { answer, error, busy, ask } = useAnswer<{ tokens: string[]; count: number; characters: number }>();
  const count = () => ask(async () => {
    const prompt = text.normalize("NFC");
    const counted = await call("POST /tokenize", { model: main.value.model, prompt, return_token_strs: true });
    return { tokens: counted.token_strs ?? [], count: counted.count, characters: [...prompt].length };
  });
  return (
    <>
      <EngineChooser variant={main.value} />
      <TextArea label={t("explorer.text")} rows={5} value={text} onInput={setText} />
      <Buttons busy={busy} empty={text === ""} onTry={() => void count()} onSample={() => setText(samples.topics[language.value].split(". ").slice(0, 2).join(". "))} />
      <Outcome error={error}>
        {answer && (
          <>
            <p class="facts">{t("explorer.tokens.result", { count: answer.count, characters: answer.characters })}</p>
            <p class="cut">{answer.tokens.map((token, at) => <span key={at} class="piece">{token.replaceAll("\n", "↵").replaceAll("\uFFFD", "·") || "·"}</span>)}</p>
          </>
        )}
      </Outcome>
    </>
  );
}

export function SegmentationTool(): JSX.Element {
  const [text, setText] = useState("");
  const [auto, setAuto] = useState(true);
  const [alpha, setAlpha] = useState(0);
  const { answer, error, busy, ask } = useAnswer<string[][]>();
  const part = () => ask(async () => {
    const body = { text: text.normalize("NFC"), alpha: auto ? -100 : alpha, segCnt: -1, postProcess: false };
    return (await call("POST /v1/api-tools/segmentation", body)).result.topicSeg;
  });
  return (
    <>
      <TextArea label={t("explorer.text")} rows={7} value={text} onInput={setText} />
      <Check label={t("explorer.segmentation.auto")} checked={auto} onChange={setAuto} />
      {!auto && <Slider label={t("explorer.segmentation.alpha")} hint={t("explorer.segmentation.alpha.hint")} min={-1.5} max={1.5} step={0.1} value={alpha} onChange={setAlpha} />}
      <Buttons busy={busy} empty={text.trim() === ""} onTry={() => void part()} onSample={() => setText(samples.topics[language.value])} />
      <Outcome error={error}>
        {answer?.map((sentences, at) => (
          <article class="card" key={at}>
            <h3>{t("explorer.segmentation.paragraph", { number: at + 1 })}</h3>
            <p>{sentences.join(" ")}</p>
          </article>
        ))}
      </Outcome>
    </>
  );
}

export function SummaryTool(): JSX.Element {
  const [text, setText] = useState("");
  const { answer, error, busy, ask } = useAnswer<string>();
  const sum = () => ask(async () => {
    const body = { texts: [text.normalize("NFC")], segCount: -1, segMinSize: 0, segMaxSize: 1000 };
    return (await call("POST /v1/api-tools/summarization/v2", body)).result.text;
  });
  return (
    <>
      <TextArea label={t("explorer.text")} rows={7} value={text} onInput={setText} />
      <Buttons busy={busy} empty={text.trim() === ""} onTry={() => void sum()} onSample={() => setText(samples.topics[language.value])} />
      <Outcome error={error}>{answer !== null && <p class="answer">{answer}</p>}</Outcome>
    </>
  );
}

const ROLES = ["system", "user", "assistant"] as const;

export function SlidingTool(): JSX.Element {
  const [text, setText] = useState("");
  const [room, setRoom] = useState(100);
  const { answer, error, busy, ask } = useAnswer<{ kept: { role: string; content: string }[]; all: number }>();
  const slide = () => ask(async () => {
    const lines = text.normalize("NFC").split("\n").filter((line) => line.trim() !== "");
    const messages = lines.map((line, at) => {
      const [, role, content = ""] = /^\s*(\w+)\s*:\s*(.*)$/.exec(line) ?? [];
      const known = ROLES.find((each) => each === role);
      if (!known) throw new Error(t("explorer.sliding.badLine", { line: at + 1 }));
      return { role: known, content };
    });
    const result = await call("POST /v1/api-tools/sliding/chat-messages/{model}", { messages, maxTokens: room }, { path: { model: main.value.model } });
    return { kept: result.result.messages, all: messages.length };
  });
  return (
    <>
      <EngineChooser variant={main.value} />
      <TextArea label={t("explorer.sliding.conversation")} rows={7} value={text} onInput={setText} />
      <NumberField label={t("explorer.sliding.room")} min={1} max={4096} value={room} onChange={setRoom} />
      <Buttons busy={busy} empty={text.trim() === ""} onTry={() => void slide()} onSample={() => setText(samples.conversation[language.value])} />
      <Outcome error={error}>
        {answer && (
          <>
            <p class="facts">{t("explorer.sliding.kept", { kept: answer.kept.length, all: answer.all })}</p>
            <ol class="turn-list">
              {answer.kept.map((message, at) => <li key={at} class={`turn ${message.role}`}><h3 class="speaker">{message.role}</h3><p class="said">{message.content}</p></li>)}
            </ol>
          </>
        )}
      </Outcome>
    </>
  );
}

export function EmbeddingTool(): JSX.Element {
  const [text, setText] = useState("");
  const encoder = encoders.value[0];
  const { answer, error, busy, ask } = useAnswer<{ texts: string[]; vectors: number[][]; tokens: number }>();
  if (!encoder) return <p class="error">{t("explorer.embedding.none")}</p>;
  const embed = () => ask(async () => {
    const texts = text.normalize("NFC").split("\n").map((line) => line.trim()).filter(Boolean);
    if (texts.length < 2) throw new Error(t("explorer.embedding.few"));
    const made = await call("POST /v1/embeddings", { model: encoder.id, input: texts });
    const vectors = made.data.map((each) => each.embedding).filter((vector): vector is number[] => Array.isArray(vector));
    return { texts, vectors, tokens: made.usage.prompt_tokens };
  });
  return (
    <>
      <TextArea label={t("explorer.embedding.texts")} rows={5} value={text} onInput={setText} />
      <Buttons busy={busy} empty={text.trim() === ""} onTry={() => void embed()} onSample={() => setText(samples.lines[language.value])} />
      <Outcome error={error}>
        {answer && (
          <>
            <p class="facts">{t("explorer.embedding.result", { count: answer.vectors.length, size: answer.vectors[0]?.length ?? 0, tokens: answer.tokens })}</p>
            <div class="scroll" tabIndex={0} role="region" aria-label={t("explorer.embedding.similarity")}>
              <table class="similarity">
                <caption>{t("explorer.embedding.similarity")}</caption>
                <thead><tr><td />{answer.texts.map((_, at) => <th key={at} scope="col">{at + 1}</th>)}</tr></thead>
                <tbody>
                  {answer.texts.map((line, row) => (
                    <tr key={row}>
                      <th scope="row">{row + 1}. {line}</th>
                      {answer.vectors.map((_, column) => {
                        const value = cosine(answer.vectors[row] ?? [], answer.vectors[column] ?? []);
                        return <td key={column} class={`amount warm-${Math.round(Math.max(0, value) * 4)}`}>{number(value, 2)}</td>;
                      })}
                    </tr>
                  ))}
                </tbody>
              </table>
            </div>
          </>
        )}
      </Outcome>
    </>
  );
}

function cosine(a: number[], b: number[]): number {
  const dot = (x: number[], y: number[]) => x.reduce((sum, value, at) => sum + value * (y[at] ?? 0), 0);
  return dot(a, b) / Math.sqrt(dot(a, a) * dot(b, b));
}
