// Korean particles depend on whether the word before ends in a consonant, and words come from people: `[은/는]`.

/** Digits as they are read: 0 영, 1 일, 3 삼, 6 육, 7 칠, 8 팔 end in a consonant. */
const CONSONANT_DIGITS = "013678";
const CONSONANT_LETTERS = "lmnr";

/** Replaces `[은/는]` by what fits the word before it. 로 follows ㄹ as it follows a vowel. */
export function withParticles(text: string): string {
  return text.replace(/(.?)(["'”’»)\]]*)\[([가-힣]+)\/([가-힣]+)\]/gu, (_, before: string, marks: string, closed: string, open: string) => {
    const final = finalOf(before);
    const isClosed = closed === "으로" ? final !== 0 && final !== RIEUL : final !== 0;
    return before + marks + (isClosed ? closed : open);
  });
}

/** The place of ㄹ among the final consonants of Unicode's syllables. */
const RIEUL = 8;

function finalOf(character: string): number {
  const code = character.codePointAt(0) ?? 0;
  if (code >= 0xac00 && code <= 0xd7a3) return (code - 0xac00) % 28;
  if (CONSONANT_DIGITS.includes(character)) return "178".includes(character) ? RIEUL : 1;
  const letter = character.toLowerCase();
  if (letter === "l" || letter === "r") return RIEUL;
  return character !== "" && CONSONANT_LETTERS.includes(letter) ? 1 : 0;
}
