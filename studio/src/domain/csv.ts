// Tables as spreadsheets write them (RFC 4180): quoted fields, commas or tabs, with or without a mark at the begin.

/** The rows of a table. Separators are commas, or tabs or semicolons where the first line has no comma. */
export function readCsv(text: string): string[][] {
  const source = text.replace(/^\uFEFF/, "").normalize("NFC");
  const separator = separatorOf(source);
  const rows: string[][] = [];
  let row: string[] = [];
  let field = "";
  let quoted = false;
  for (let at = 0; at < source.length; at += 1) {
    const character = source[at] ?? "";
    if (quoted) {
      if (character !== '"') field += character;
      else if (source[at + 1] === '"') {
        field += '"';
        at += 1;
      } else quoted = false;
    } else if (character === '"' && field === "") quoted = true;
    else if (character === separator) {
      row.push(field);
      field = "";
    } else if (character === "\n" || character === "\r") {
      if (character === "\r" && source[at + 1] === "\n") at += 1;
      row.push(field);
      rows.push(row);
      row = [];
      field = "";
    } else field += character;
  }
  if (field !== "" || row.length > 0) rows.push([...row, field]);
  return rows.filter((cells) => cells.some((cell) => cell.trim() !== ""));
}

function separatorOf(source: string): string {
  const line = source.split(/\r?\n/, 1)[0] ?? "";
  if (line.includes(",")) return ",";
  return ["\t", ";"].find((candidate) => line.includes(candidate)) ?? ",";
}

/** A table that spreadsheets open as it is: with a mark at the begin, without which Excel takes Korean for something else. */
export function writeCsv(rows: string[][]): string {
  const cell = (text: string) => (/[",\r\n\t;]|^\s|\s$/.test(text) ? `"${text.replaceAll('"', '""')}"` : text);
  return `\uFEFF${rows.map((row) => row.map(cell).join(",")).join("\r\n")}\r\n`;
}
