// Which of a project's variants: the document itself is A.
import type { JSX } from "preact";
import { t } from "../i18n";
import { Select } from "./fields";

export const letter = (at: number) => String.fromCharCode(65 + at);

/** Nothing where there is no choice. The value is the server's number of the variant; empty for the document itself. */
export function VariantSelect({ count, value, onChange }: { count: number; value: string; onChange: (value: string) => void }): JSX.Element | null {
  if (count < 2) return null;
  const options = Array.from({ length: count }, (_, at) => [at === 0 ? "" : String(at - 1), t("compare.variant", { name: letter(at) })] as const);
  return <Select label={t("variant.label")} hint={t("variant.hint")} value={value} options={options} onChange={onChange} />;
}
