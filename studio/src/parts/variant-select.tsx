// Which of a project's variants: the document itself is A.
import type { JSX } from "preact";
import { useId } from "preact/hooks";
import type { Variant } from "../domain/document";
import { t } from "../i18n";
import { Check, Select } from "./fields";

export const letter = (at: number) => String.fromCharCode(65 + at);

/** Nothing where there is no choice. The value is the server's number of the variant; empty for the document itself. */
export function VariantSelect({ count, value, onChange }: { count: number; value: string; onChange: (value: string) => void }): JSX.Element | null {
  if (count < 2) return null;
  const options = Array.from({ length: count }, (_, at) => [at === 0 ? "" : String(at - 1), t("compare.variant", { name: letter(at) })] as const);
  return <Select label={t("variant.label")} hint={t("variant.hint")} value={value} options={options} onChange={onChange} />;
}

/** Several of them at once, by their places. Nothing where there is no choice. */
export function VariantChecks({ variants, chosen, onChange }: { variants: Variant[]; chosen: number[]; onChange: (chosen: number[]) => void }): JSX.Element | null {
  const id = useId();
  if (variants.length < 2) return null;
  const set = (at: number, on: boolean) => onChange([...chosen.filter((each) => each !== at), ...(on ? [at] : [])].sort());
  return (
    <fieldset class="variant-checks" aria-describedby={id}>
      <legend>{t("variant.several")}</legend>
      {variants.map((variant, at) => <Check key={variant.id} label={`${t("compare.variant", { name: letter(at) })} · ${variant.model}`} checked={chosen.includes(at)} onChange={(on) => set(at, on)} />)}
      <p class="hint" id={id}>{t("variant.several.hint")}</p>
    </fieldset>
  );
}
