// Streams for ears: a screen reader that is told of every token says nothing well, so it is told sentences.

const END = /[.!?。！？…]+["'”’)\]]*(?=\s)|\n+/gu;

/** Collects pieces and hands out what is complete. */
export class SentenceReader {
  private rest = "";

  /** The sentences that are complete with this piece, as one text. */
  push(piece: string): string {
    this.rest += piece;
    let end = 0;
    for (const match of this.rest.matchAll(END)) end = match.index + match[0].length;
    const complete = this.rest.slice(0, end).trim();
    this.rest = this.rest.slice(end);
    return complete;
  }

  /** What is left when nothing more comes. */
  finish(): string {
    const rest = this.rest.trim();
    this.rest = "";
    return rest;
  }
}
