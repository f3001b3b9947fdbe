// A place for a file: dropped by mouse, or chosen by a button.
import type { ComponentChildren, JSX } from "preact";
import { useState } from "preact/hooks";
import { Icon } from "./icons";
import { pickFile } from "./files";

interface Props {
  label: string;
  accept: string;
  busy?: boolean;
  onFile: (file: File) => void;
  children?: ComponentChildren;
}

export function Drop({ label, accept, busy, onFile, children }: Props): JSX.Element {
  const [over, setOver] = useState(false);
  return (
    <div class={`drop-zone${over ? " over" : ""}`}
      onDragOver={(event) => { event.preventDefault(); setOver(true); }}
      onDragLeave={() => setOver(false)}
      onDrop={(event) => {
        event.preventDefault();
        setOver(false);
        const file = event.dataTransfer?.files[0];
        if (file && !busy) onFile(file);
      }}>
      <button type="button" class="primary" disabled={busy} onClick={() => void pickFile(accept).then((file) => file && onFile(file))}><Icon name="upload" />{label}</button>
      {children}
    </div>
  );
}
