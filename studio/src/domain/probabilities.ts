// Tokens and how sure the model was of them.
import type { ChatLogprobs, TextLogprobs } from "../api/schema";

export interface Alternative {
  text: string;
  probability: number;
}

/** A token. A part of a character is `\uFFFD` in its text. */
export interface Token {
  text: string;
  probability: number;
  alternatives: Alternative[];
  /** How many characters begin in it; or else where it begins, in characters. */
  begins?: number;
  offset?: number;
}

/** One or more tokens that make whole characters. */
export interface Group {
  text: string;
  /** Of all of them together. */
  probability: number;
  /** Places of its tokens. */
  from: number;
  to: number;
}

export function chatTokens(logprobs: ChatLogprobs): Token[] {
  return logprobs.content.map((token) => ({
    text: token.token,
    // All bytes but those that go on with a character begin one.
    begins: token.bytes.filter((byte) => (byte & 0xc0) !== 0x80).length,
    probability: Math.exp(token.logprob),
    alternatives: token.top_logprobs.map((other) => ({ text: other.token, probability: Math.exp(other.logprob) })),
  }));
}

export function textTokens(logprobs: TextLogprobs): Token[] {
  return logprobs.tokens.map((text, at) => ({
    text,
    offset: logprobs.text_offset[at] ?? 0,
    probability: Math.exp(logprobs.token_logprobs[at] ?? 0),
    alternatives: Object.entries(logprobs.top_logprobs[at] ?? {})
      .map(([other, logprob]) => ({ text: other, probability: Math.exp(logprob) }))
      .sort((a, b) => b.probability - a.probability),
  }));
}

/** Joins the tokens that share a character: what a byte says alone cannot be shown. `text` is what they say together. */
export function groups(tokens: Token[], text: string): Group[] {
  const characters = [...text];
  const all: Group[] = [];
  let place = 0;
  for (const [at, token] of tokens.entries()) {
    const next = tokens[at + 1]?.offset;
    const pieces = [...token.text].length;
    const begins = token.begins ?? (next === undefined || token.offset === undefined ? pieces : next - token.offset);
    const said = characters.slice(place, place + begins).join("");
    place += begins;
    const last = all.at(-1);
    // More pieces than begin in it: the first goes on with a character of the token before.
    if (last && pieces > begins) {
      last.text += said;
      last.probability *= token.probability;
      last.to = at + 1;
    } else {
      all.push({ text: said || token.text.replaceAll("\uFFFD", "·"), probability: token.probability, from: at, to: at + 1 });
    }
  }
  return all;
}

/** 0 (unlikely) to 4 (certain): as many steps as colours can tell apart. */
export function level(probability: number): 0 | 1 | 2 | 3 | 4 {
  if (probability >= 0.9) return 4;
  if (probability >= 0.6) return 3;
  if (probability >= 0.3) return 2;
  return probability >= 0.1 ? 1 : 0;
}
