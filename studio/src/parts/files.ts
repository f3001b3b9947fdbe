// Files from and to this machine.

/** Lets the person choose a file; null where none is chosen. */
export function pickFile(accept: string): Promise<File | null> {
  return new Promise((resolve) => {
    const input = document.createElement("input");
    input.type = "file";
    input.accept = accept;
    input.addEventListener("cancel", () => resolve(null));
    input.addEventListener("change", () => resolve(input.files?.[0] ?? null));
    input.click();
  });
}

export function saveFile(name: string, kind: string, text: string): void {
  saveBlob(name, new Blob([text], { type: kind }));
}

export function saveBlob(name: string, blob: Blob): void {
  const address = URL.createObjectURL(blob);
  const link = document.createElement("a");
  link.href = address;
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(address), 10_000);
}

/** How a table's content is called, by the file's name. */
export function kindOf(name: string): string {
  if (/\.(jsonl|ndjson)$/i.test(name)) return "application/x-ndjson";
  if (/\.parquet$/i.test(name)) return "application/vnd.apache.parquet";
  return /\.tsv$/i.test(name) ? "text/tab-separated-values" : "text/csv";
}
