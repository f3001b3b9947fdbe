// Prompts to begin with, each in the language of the person: what CLOVA Studio was shown to do in 2021.
import { DEFAULTS, SEPARATOR, newDocument, newId, newVariant } from "./document";
import type { Parameters, StudioDocument } from "./document";

export interface Template {
  name: string;
  about: string;
  document: StudioDocument;
}

type Words = { en: string; ko: string };

function make(title: string, model: string, parameters: Partial<Parameters>, change: Partial<StudioDocument>, texts: { system?: string; text?: string } = {}): StudioDocument {
  const variant = { ...newVariant(model), parameters: { ...DEFAULTS, stop: [], ...parameters }, ...texts };
  return { ...newDocument(model), title, ...change, variants: [variant] };
}

const rows = (pairs: [string, string][]) => pairs.map(([input, output]) => ({ id: newId(), input, output }));

export function templates(language: "en" | "ko", model: string): Template[] {
  const say = (words: Words) => words[language];
  const list: [Words, Words, (title: string) => StudioDocument][] = [
    [
      { en: "Mood of a review", ko: "리뷰 감정 분류" },
      { en: "A few rows of examples teach two labels. Try it on a table later.", ko: "예시 몇 줄로 긍정과 부정을 가르칩니다. 나중에 표 전체에 돌려 볼 수 있습니다." },
      (title) => make(title, model, { maxTokens: 5, temperature: 0, stop: ["\n"] }, {
        mode: "text", kind: "examples",
        examples: {
          inputPrefix: say({ en: "Review: ", ko: "문장: " }),
          outputPrefix: say({ en: "Mood: ", ko: "감정: " }),
          separator: SEPARATOR,
          rows: rows(language === "ko"
            ? [["배송이 빠르고 포장도 꼼꼼해요", "긍정"], ["두 번 다시 사지 않을래요", "부정"], ["색이 사진보다 훨씬 예뻐요", "긍정"], ["일주일 만에 고장 났습니다", "부정"]]
            : [["Fast delivery, packed with care", "positive"], ["I will never buy this again", "negative"], ["The colour is even nicer than in the picture", "positive"], ["It broke within a week", "negative"]]),
          query: say({ en: "Sits well and feels soft", ko: "착용감이 좋고 부드러워요" }),
        },
      }, {
        text: say({ en: "Tell whether a review is positive or negative.\n", ko: "문장이 긍정인지 부정인지 분류합니다.\n" }),
      }),
    ],
    [
      { en: "Titles for a sale", ko: "기획전 제목 만들기" },
      { en: "Keywords become titles; several candidates lie side by side.", ko: "키워드로 제목을 짓고 여러 후보를 나란히 봅니다." },
      (title) => make(title, model, { maxTokens: 24, temperature: 0.9, topP: 0.95, stop: ["\n"] }, {
        mode: "text", kind: "multiple", candidates: 3,
        variables: { [say({ en: "keywords", ko: "키워드" })]: say({ en: "picnic, mat, basket", ko: "피크닉, 돗자리, 바구니" }) },
      }, {
        text: say({
          en: "Keywords: raincoat, boots, umbrella\nTitle: Let it rain: everything for a dry walk\n###\nKeywords: jacket, spring, light\nTitle: One layer for the first warm days\n###\nKeywords: {{keywords}}\nTitle:",
          ko: "키워드: 우비, 장화, 우산\n제목: 비 오는 날이 기다려지는 장마 준비\n###\n키워드: 자켓, 간절기, 봄\n제목: 아침저녁 쌀쌀할 때, 봄 자켓 모음\n###\n키워드: {{키워드}}\n제목:",
        }),
      }),
    ],
    [
      { en: "Answers for customers", ko: "고객 문의 답변" },
      { en: "A chat with an instruction: polite, brief, within your rules.", ko: "지시문이 있는 대화: 정중하고 짧게, 정해 둔 범위 안에서 답합니다." },
      (title) => make(title, model, { maxTokens: 160 }, { mode: "chat" }, {
        system: say({
          en: "You answer customers of a small furniture shop. Be polite and brief. Delivery takes three days; returns are free within 14 days. Say so when you do not know something.",
          ko: "당신은 작은 가구 가게의 상담원입니다. 존댓말로 짧게 답합니다. 배송은 사흘 걸리고, 14일 안에는 무료로 반품할 수 있습니다. 모르는 것은 모른다고 말합니다.",
        }),
      }),
    ],
    [
      { en: "A letter, step by step", ko: "자기소개서 이어 쓰기" },
      { en: "The answer joins the text, you correct it and go on.", ko: "답이 글에 이어 붙습니다. 고쳐 가며 계속 씁니다." },
      (title) => make(title, model, { maxTokens: 80, repeatPenalty: 6 }, { mode: "text", kind: "rolling" }, {
        text: say({
          en: "Position: product planner\nStrengths: patient, curious, three years in customer service\n\nLetter:\nFor three years I listened to customers every day, and",
          ko: "지원 분야: 서비스 기획\n강점: 끈기, 호기심, 고객 상담 3년\n\n자기소개서:\n3년 동안 매일 고객의 목소리를 들으면서 저는",
        }),
      }),
    ],
    [
      { en: "Summary of a text", ko: "글 요약" },
      { en: "Paste a text into the box of the variable and get three sentences.", ko: "변수 칸에 글을 붙여 넣으면 세 문장으로 줄여 줍니다." },
      (title) => make(title, model, { maxTokens: 120, temperature: 0.2 }, {
        mode: "chat",
        variables: { [say({ en: "text", ko: "글" })]: "" },
        message: say({ en: "Summarise the following text in three sentences.\n\n{{text}}", ko: "다음 글을 세 문장으로 요약해 주세요.\n\n{{글}}" }),
      }),
    ],
    [
      { en: "Questions about a text", ko: "글에 묻고 답하기" },
      { en: "A text and a question: the answer keeps to what is written.", ko: "글과 질문을 넣으면 글에 있는 내용으로 답합니다." },
      (title) => make(title, model, { maxTokens: 100, temperature: 0.1 }, {
        mode: "chat",
        variables: { [say({ en: "text", ko: "글" })]: "", [say({ en: "question", ko: "질문" })]: "" },
        message: say({ en: "{{text}}\n\nQuestion: {{question}}", ko: "{{글}}\n\n질문: {{질문}}" }),
      }, {
        system: say({ en: "Answer the question in one sentence, from the text alone. Where the text does not say it, say so.", ko: "글에 있는 내용만으로 질문에 한 문장으로 답합니다. 글에 없으면 없다고 말합니다." }),
      }),
    ],
  ];
  return list.map(([name, about, build]) => ({ name: say(name), about: say(about), document: build(say(name)) }));
}
