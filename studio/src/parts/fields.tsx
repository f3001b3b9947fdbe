// Fields with their labels, values and explanations.
import type { ComponentChildren, JSX, TargetedEvent, TargetedKeyboardEvent } from "preact";
import { useId, useMemo, useState } from "preact/hooks";
import { clamp } from "../domain/document";
import type { Range } from "../domain/document";
import { Composition } from "../domain/ime";
import { t } from "../i18n";
import { Icon } from "./icons";

interface SliderProps extends Range {
  label: string;
  hint: string;
  value: number;
  onChange: (value: number) => void;
}

/** A range and a number field that say the same. */
export function Slider({ label, hint, value, min, max, step, onChange }: SliderProps): JSX.Element {
  const id = useId();
  const read = (event: TargetedEvent<HTMLInputElement>) => {
    const next = event.currentTarget.valueAsNumber;
    if (Number.isFinite(next)) onChange(clamp(next, min, max));
  };
  return (
    <div class="field slider">
      <label for={id}>{label}</label>
      <input class="value" id={id} type="number" inputMode="decimal" min={min} max={max} step={step} value={value}
        aria-describedby={`${id}-hint`} onChange={read} />
      <input type="range" min={min} max={max} step={step} value={value} aria-label={label} onInput={read} />
      <p class="hint" id={`${id}-hint`}>{hint}</p>
    </div>
  );
}

interface NumberProps {
  label: string;
  hint?: string;
  value: number;
  min: number;
  max: number;
  onChange: (value: number) => void;
}

export function NumberField({ label, hint, value, min, max, onChange }: NumberProps): JSX.Element {
  const id = useId();
  return (
    <div class="field number">
      <label for={id}>{label}</label>
      <input class="value" id={id} type="number" inputMode="numeric" min={min} max={max} step={1} value={value}
        aria-describedby={hint ? `${id}-hint` : undefined}
        onChange={(event) => {
          const next = event.currentTarget.valueAsNumber;
          onChange(Number.isFinite(next) ? clamp(Math.round(next), min, max) : value);
          // What was out of range is shown as it was taken.
          event.currentTarget.value = String(Number.isFinite(next) ? clamp(Math.round(next), min, max) : value);
        }} />
      {hint && <p class="hint" id={`${id}-hint`}>{hint}</p>}
    </div>
  );
}

interface TextProps {
  label: string;
  value: string;
  onInput: (value: string) => void;
  hint?: string | undefined;
  rows?: number;
  placeholder?: string;
  hidesLabel?: boolean;
  readOnly?: boolean;
  className?: string;
  onKeyDown?: (event: TargetedKeyboardEvent<HTMLTextAreaElement>) => void;
}

/** A text that grows with its content. */
export function TextArea({ label, value, onInput, hint, rows = 2, placeholder, hidesLabel, readOnly, className, onKeyDown }: TextProps): JSX.Element {
  const id = useId();
  return (
    <div class={`field text ${className ?? ""}`}>
      <label for={id} class={hidesLabel ? "unseen" : ""}>{label}</label>
      <Grow id={id} rows={rows} value={value} placeholder={placeholder ?? ""} readOnly={readOnly ?? false}
        aria-describedby={hint ? `${id}-hint` : undefined}
        onInput={(event) => onInput(event.currentTarget.value)} onKeyDown={onKeyDown} />
      {hint && <p class="hint" id={`${id}-hint`}>{hint}</p>}
    </div>
  );
}

const GROWS = typeof CSS !== "undefined" && CSS.supports("field-sizing", "content");

/** A `textarea` as tall as its text, by style where the browser knows how and by hand where it does not. */
export function Grow(props: JSX.IntrinsicElements["textarea"]): JSX.Element {
  const fit = (area: HTMLTextAreaElement | null) => {
    if (GROWS || !area) return;
    area.style.height = "auto";
    area.style.height = `${area.scrollHeight}px`;
  };
  return <textarea spellcheck={false} {...props} ref={fit} />;
}

export function LineField({ label, value, onInput, hint, placeholder }: TextProps): JSX.Element {
  const id = useId();
  return (
    <div class="field line">
      <label for={id}>{label}</label>
      <input id={id} type="text" value={value} placeholder={placeholder ?? ""} spellcheck={false} autocomplete="off"
        aria-describedby={hint ? `${id}-hint` : undefined} onInput={(event) => onInput(event.currentTarget.value)} />
      {hint && <p class="hint" id={`${id}-hint`}>{hint}</p>}
    </div>
  );
}

interface SelectProps<T extends string> {
  label: string;
  value: T;
  options: readonly (readonly [T, string])[];
  onChange: (value: T) => void;
  hint?: string;
}

export function Select<T extends string>({ label, value, options, onChange, hint }: SelectProps<T>): JSX.Element {
  const id = useId();
  return (
    <div class="field select">
      <label for={id}>{label}</label>
      <select id={id} value={value} aria-describedby={hint ? `${id}-hint` : undefined}
        onChange={(event) => onChange(event.currentTarget.value as T)}>
        {options.map(([key, text]) => <option key={key} value={key} selected={key === value}>{text}</option>)}
      </select>
      {hint && <p class="hint" id={`${id}-hint`}>{hint}</p>}
    </div>
  );
}

interface SwitchProps<T extends string> {
  label: string;
  value: T | null;
  options: readonly (readonly [T, string])[];
  onChange: (value: T) => void;
  showsLabel?: boolean;
}

/** A few choices side by side; none is pressed where the value is something else. */
export function Segmented<T extends string>({ label, value, options, onChange, showsLabel }: SwitchProps<T>): JSX.Element {
  const id = useId();
  return (
    <div class="segmented" role="group" aria-labelledby={showsLabel ? id : undefined} aria-label={showsLabel ? undefined : label}>
      {showsLabel && <span class="label" id={id}>{label}</span>}
      <div class="choices">
        {options.map(([key, text]) => (
          <button key={key} type="button" aria-pressed={key === value} onClick={() => onChange(key)}>{text}</button>
        ))}
      </div>
    </div>
  );
}

export function Check({ label, checked, onChange, children }: { label: string; checked: boolean; onChange: (on: boolean) => void; children?: ComponentChildren }): JSX.Element {
  return (
    <label class="check">
      <input type="checkbox" checked={checked} onChange={(event) => onChange(event.currentTarget.checked)} />
      <span>{label}{children}</span>
    </label>
  );
}

/** How a stop sequence is shown: a line feed has no shape of its own. */
const shown = (text: string) => text.replaceAll("\n", "↵").replaceAll("\t", "⇥");
/** And how it is typed. */
const meant = (text: string) => text.replaceAll("\\n", "\n").replaceAll("\\t", "\t").normalize("NFC");

/** Texts that end an answer. Tab and Enter add what is written; an empty field lets Tab go on. */
export function StopSequences({ value, onChange }: { value: string[]; onChange: (value: string[]) => void }): JSX.Element {
  const id = useId();
  const [text, setText] = useState("");
  const composition = useMemo(() => new Composition(), []);
  const add = (field: HTMLInputElement) => {
    const stop = meant(field.value);
    if (stop !== "" && !value.includes(stop)) onChange([...value, stop]);
    setText("");
    field.value = "";
  };
  return (
    <div class="field stops">
      <label for={id}>{t("field.stop")}</label>
      {value.length > 0 && (
        <ul class="chips" aria-label={t("field.stop")}>
          {value.map((stop) => (
            <li key={stop}>
              <code>{shown(stop)}</code>
              <button type="button" class="plain" aria-label={t("field.stop.remove", { text: shown(stop) })}
                onClick={() => onChange(value.filter((other) => other !== stop))}><Icon name="close" /></button>
            </li>
          ))}
        </ul>
      )}
      <input id={id} type="text" value={text} spellcheck={false} autocomplete="off" aria-describedby={`${id}-hint`}
        {...composition.handlers}
        onInput={(event) => setText(event.currentTarget.value)}
        onKeyDown={(event) => {
          const field = event.currentTarget;
          const adds = event.key === "Enter" || (event.key === "Tab" && !event.shiftKey);
          if (adds && (field.value !== "" || event.key === "Enter")) composition.key(event, () => add(field));
          if (event.key === "Backspace" && field.value === "" && value.length > 0) onChange(value.slice(0, -1));
        }} />
      <p class="hint" id={`${id}-hint`}>{t("field.stop.hint")}</p>
    </div>
  );
}
