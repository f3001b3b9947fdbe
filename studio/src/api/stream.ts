// Server-sent events, as they come over `fetch`.

/** Cuts a stream of bytes into the data of its events. Pieces may end anywhere, within a character too. */
export class EventReader {
  private rest = "";
  private readonly decoder = new TextDecoder();

  /** The events that end within these bytes. */
  push(bytes: Uint8Array): string[] {
    this.rest += this.decoder.decode(bytes, { stream: true });
    const blocks = this.rest.split(/\r?\n\r?\n/);
    this.rest = blocks.pop() ?? "";
    return blocks.map(dataOf).filter((data) => data !== "");
  }
}

function dataOf(block: string): string {
  const lines = block.split(/\r?\n/).filter((line) => line.startsWith("data:"));
  return lines.map((line) => line.slice(5).replace(/^ /, "")).join("\n");
}

/** The events of a response as JSON, up to `[DONE]`. */
export async function* events<T>(response: Response): AsyncGenerator<T> {
  const reader = response.body?.getReader();
  if (!reader) return;
  const cut = new EventReader();
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      for (const data of cut.push(value)) {
        if (data === "[DONE]") return;
        yield JSON.parse(data) as T;
      }
    }
  } finally {
    reader.releaseLock();
  }
}
