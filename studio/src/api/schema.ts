// Made by tools/api-types.mjs from the server's OpenAPI document. Do not edit.

/** What each route takes and gives. */
export interface Operations {
  "GET /v1/models": { body: undefined; result: Models };
  "POST /v1/chat/completions": { body: ChatRequest; result: ChatCompletion };
  "POST /v1/completions": { body: CompletionRequest; result: TextCompletion };
  "POST /v1/embeddings": { body: EmbeddingsRequest; result: Vectors };
  "POST /tokenize": { body: TokenizeRequest; result: Tokenized };
  "POST /v1/api-tools/segmentation": { body: ClovaSegmentationRequest; result: Clova_ClovaSegmentationResult };
  "POST /v1/api-tools/summarization/v2": { body: ClovaSummarizationRequest; result: Clova_ClovaSummarizationResult };
  "POST /v1/api-tools/sliding/chat-messages/{model}": { body: ClovaSlidingRequest; result: Clova_ClovaSlidingResult };
  "GET /api/studio/session": { body: undefined; result: StudioSession };
  "POST /api/studio/session": { body: StudioPassword; result: undefined };
  "DELETE /api/studio/session": { body: undefined; result: undefined };
  "POST /api/studio/password": { body: StudioPassword; result: undefined };
  "GET /api/studio/engines": { body: undefined; result: StudioEngines };
  "POST /api/studio/engines/load": { body: StudioEngineLoad; result: StudioEngine };
  "GET /api/studio/projects": { body: undefined; result: StudioProjects };
  "POST /api/studio/projects": { body: StudioNewProject; result: StudioProject };
  "GET /api/studio/projects/{id}": { body: undefined; result: StudioProject };
  "PUT /api/studio/projects/{id}": { body: StudioSave; result: StudioProject };
  "PATCH /api/studio/projects/{id}": { body: StudioChange; result: StudioProject };
  "DELETE /api/studio/projects/{id}": { body: undefined; result: undefined };
  "POST /api/studio/projects/{id}/duplicate": { body: StudioDuplicate; result: StudioProject };
  "GET /api/studio/projects/{id}/versions": { body: undefined; result: StudioVersions };
  "GET /api/studio/projects/{id}/versions/{version}": { body: undefined; result: StudioVersion };
  "POST /api/studio/projects/{id}/versions/{version}/restore": { body: StudioRestore; result: StudioProject };
  "GET /api/studio/apps": { body: undefined; result: StudioApps };
  "POST /api/studio/apps": { body: StudioNewApp; result: StudioPublished };
  "GET /api/studio/apps/{id}": { body: undefined; result: StudioApp };
  "PUT /api/studio/apps/{id}": { body: StudioAppChange; result: StudioApp };
  "DELETE /api/studio/apps/{id}": { body: undefined; result: undefined };
  "POST /api/studio/apps/{id}/publish": { body: StudioPublish; result: StudioPublished };
  "POST /api/studio/apps/{id}/keys": { body: StudioNewAppKey; result: StudioNewKey };
  "GET /api/studio/apps/{id}/usage": { body: undefined; result: StudioAppUsage };
  "GET /api/studio/apps/{id}/calls": { body: undefined; result: StudioCalls };
  "DELETE /api/studio/apps/{id}/calls": { body: undefined; result: undefined };
  "GET /api/studio/batches": { body: undefined; result: StudioBatches };
  "POST /api/studio/batches": { body: string; result: StudioBatch };
  "GET /api/studio/batches/{id}": { body: undefined; result: StudioBatch };
  "DELETE /api/studio/batches/{id}": { body: undefined; result: undefined };
  "GET /api/studio/batches/{id}/rows": { body: undefined; result: StudioBatchRows };
  "GET /api/studio/batches/{id}/download": { body: undefined; result: string };
  "POST /api/studio/batches/{id}/start": { body: StudioBatchStart; result: StudioBatch };
  "POST /api/studio/batches/{id}/cancel": { body: undefined; result: StudioBatch };
  "GET /api/studio/datasets": { body: undefined; result: StudioDatasets };
  "POST /api/studio/datasets": { body: string; result: StudioDataset };
  "GET /api/studio/datasets/{id}": { body: undefined; result: StudioDataset };
  "DELETE /api/studio/datasets/{id}": { body: undefined; result: undefined };
  "GET /api/studio/datasets/{id}/rows": { body: undefined; result: StudioDatasetRows };
  "GET /api/studio/tunings": { body: undefined; result: StudioTunings };
  "POST /api/studio/tunings": { body: StudioNewTuning; result: StudioTuning };
  "POST /api/studio/tunings/plan": { body: StudioTuningTask; result: StudioTuningPlan };
  "GET /api/studio/tunings/{id}": { body: undefined; result: StudioTuning };
  "DELETE /api/studio/tunings/{id}": { body: undefined; result: undefined };
  "GET /api/studio/tunings/{id}/metrics": { body: undefined; result: StudioTuningMetrics };
  "POST /api/studio/tunings/{id}/start": { body: undefined; result: StudioTuning };
  "POST /api/studio/tunings/{id}/stop": { body: undefined; result: StudioTuning };
  "POST /api/studio/tunings/{id}/compare": { body: StudioCompareRequest; result: StudioComparison };
  "POST /api/studio/tunings/{id}/publish": { body: StudioPublishTuning; result: StudioTuning };
  "DELETE /api/studio/tunings/{id}/publish": { body: undefined; result: StudioTuning };
  "POST /api/studio/plan": { body: StudioPlanRequest; result: Record<string, unknown> };
}

/** What the model says. */
export interface Answer {
  content?: string | null;
  /** Always null: models refuse in their own words. */
  refusal?: string | null;
  /** Always `assistant`. */
  role: string;
  tool_calls?: Array<ToolCall>;
}

/** One of the choices of an answer. */
export interface ChatChoice {
  /** `stop`, `length` or `tool_calls`. */
  finish_reason: string;
  index: number;
  logprobs?: ChatLogprobs | null;
  message: Answer;
}

/** An answer. */
export interface ChatCompletion {
  choices: Array<ChatChoice>;
  created: number;
  id: string;
  model: string;
  /** Always `chat.completion`. */
  object: string;
  system_fingerprint: string;
  usage: Usage;
}

/** Log-probabilities of a text. */
export interface ChatLogprobs {
  /** Of each token. */
  content: Array<TokenLogprob>;
  /** Always null. */
  refusal?: Array<TokenLogprob> | null;
}

/** One message of a conversation. */
export interface ChatMessage {
  /** The text. */
  content?: Content | null;
  /** The name of the speaker, for templates that know names. */
  name?: string | null;
  /** Comes back from clients that repeat an answer as they got it. */
  refusal?: string | null;
  /** Who speaks. */
  role: Role;
  /** Which call a function's answer belongs to. */
  tool_call_id?: string | null;
  /** Calls that the model made. */
  tool_calls?: Array<ToolCall> | null;
}

/** A conversation to continue. */
export interface ChatRequest {
  /** Variables of the chat template, such as `enable_thinking`. */
  chat_template_kwargs?: Record<string, unknown> | null;
  /** Subtracted for every time that the answer holds a token. */
  frequency_penalty?: number | null;
  /** What is added to the logits of tokens, by their ids: -100 to 100. */
  logit_bias?: Record<string, number> | null;
  /** Report the log-probability of each token. */
  logprobs?: boolean | null;
  /** The most tokens of each choice. */
  max_completion_tokens?: number | null;
  /** The most tokens of each choice; the older name. */
  max_tokens?: number | null;
  /** The conversation so far. */
  messages: Array<ChatMessage>;
  /** Tokens less probable than this times the most probable one are dropped. */
  min_p?: number | null;
  /** Name of a model of `/v1/models`. */
  model: string;
  /** Choices to make. */
  n?: number | null;
  /** Whether one answer may hold several calls; true where absent. */
  parallel_tool_calls?: boolean | null;
  /** Subtracted once from tokens that the answer holds. */
  presence_penalty?: number | null;
  /** Divides the logits of tokens of the text so far; 1 is off. */
  repetition_penalty?: number | null;
  /** The form of the answer. */
  response_format?: ResponseFormat | null;
  /** The same seed gives the same answer. */
  seed?: number | null;
  /** Texts that end the answer and are no part of it. */
  stop?: TextOrList | null;
  /** Answer piece by piece, as server-sent events. */
  stream?: boolean | null;
  /** What is wanted of the stream. */
  stream_options?: StreamOptions | null;
  /** Spread of the choice; 0 always takes the most probable token. */
  temperature?: number | null;
  /** `none`, `auto`, `required`, or the name of a function in OpenAI's form. */
  tool_choice?: Record<string, unknown> | null;
  /** Functions that the model may call. */
  tools?: Array<Record<string, unknown>> | null;
  /** How many of the most probable tokens are drawn from; 0 for all. */
  top_k?: number | null;
  /** Report so many alternatives of each token; needs `logprobs`. */
  top_logprobs?: number | null;
  /** Mass of the most probable tokens that are drawn from. */
  top_p?: number | null;
  /** The client's name for its user; not looked at. */
  user?: string | null;
}

/** The function of a call. */
export interface ClovaCalledFunction {
  /** Its arguments by name. */
  arguments: Record<string, unknown>;
  /** Its name. */
  name: string;
}

/** One message. */
export interface ClovaChatMessage {
  /** What is said. */
  content: Content;
  /** Who speaks. */
  role: ClovaRole;
  /** Which call this is the result of, in a message of a tool. */
  toolCallId?: string | null;
  /** Functions that the model called, in a message of the assistant. */
  toolCalls?: Array<ClovaToolCall> | null;
}

/** The only type of tool. */
export type ClovaFunctionKind = "function";

/** A message of a conversation that fits. */
export interface ClovaPlainMessage {
  /** What is said. */
  content: string;
  /** Who speaks. */
  role: ClovaRole;
}

/** Who speaks. */
export type ClovaRole = "system" | "user" | "assistant" | "tool";

/** A request. */
export interface ClovaSegmentationRequest {
  /** -1.5 to 1.5, larger for more paragraphs, or -100 for automatic; 0. */
  alpha?: number | null;
  /** Merge and part paragraphs by length afterwards; false. */
  postProcess?: boolean | null;
  /** The most characters of a paragraph then; 1,000. */
  postProcessMaxSize?: number | null;
  /** The fewest characters of a paragraph then, or -1 for no bound; 300. */
  postProcessMinSize?: number | null;
  /** The number of paragraphs, or -1 for as many as `alpha` makes; -1. */
  segCnt?: number | null;
  /** The text: 1 to 120,000 characters. */
  text: string;
}

/** A conversation that may be too long. */
export interface ClovaSlidingRequest {
  /** Tokens that the answer needs: 1 to 4,096; 100. */
  maxTokens?: number | null;
  /** The conversation. */
  messages: Array<ClovaChatMessage>;
}

/** The head of every answer. */
export interface ClovaStatus {
  /** `20000`, or a code of five digits whose first three are those of HTTP. */
  code: string;
  /** `OK`, or what is wrong and where. */
  message: string;
}

/** Texts to summarise. */
export interface ClovaSummarizationRequest {
  /** Part the texts by topic, and summarise part by part; true. */
  autoSentenceSplitter?: boolean | null;
  /** Taken and without effect: the server has no filter. */
  includeAiFilters?: boolean | null;
  /** The number of parts, or -1 for automatic; -1. */
  segCount?: number | null;
  /** The most characters of a part: 1 to 3,000; 1,000. */
  segMaxSize?: number | null;
  /** The fewest characters of a part: 0 to `segMaxSize`; 300. */
  segMinSize?: number | null;
  /** The texts: 1 to 35,000 characters in all. */
  texts: Array<string>;
}

/** A call of a function. CLOVA Studio's arguments are an object, where OpenAI's are a text that holds one. */
export interface ClovaToolCall {
  /** Which function, and with what. */
  function: ClovaCalledFunction;
  /** What the result refers to. */
  id: string;
  /** Always `function`. */
  type?: ClovaFunctionKind;
}

/** An answer that went well. */
export interface Clova_ClovaSegmentationResult {
  /** The paragraphs. */
  result: {
    /** Tokens of the text. */
    inputTokens: number;
    /** The numbers of these sentences, from 0. */
    span: Array<Array<number>>;
    /** The sentences of each paragraph. */
    topicSeg: Array<Array<string>>;
  };
  /** Always `20000`, `OK`. */
  status: ClovaStatus;
}

/** An answer that went well. */
export interface Clova_ClovaSlidingResult {
  /** A conversation that fits. */
  result: {
    /** The messages that remain. */
    messages: Array<ClovaPlainMessage>;
  };
  /** Always `20000`, `OK`. */
  status: ClovaStatus;
}

/** An answer that went well. */
export interface Clova_ClovaSummarizationResult {
  /** A summary. */
  result: {
    /** Tokens of the texts. */
    inputTokens: number;
    /** One line for each part, each beginning with `- `. */
    text: string;
  };
  /** Always `20000`, `OK`. */
  status: ClovaStatus;
}

/** Prompts to continue. */
export interface CompletionRequest {
  /** Begin each text with its prompt. */
  echo?: boolean | null;
  /** Subtracted for every time that the text holds a token. */
  frequency_penalty?: number | null;
  /** What is added to the logits of tokens, by their ids: -100 to 100. */
  logit_bias?: Record<string, number> | null;
  /** Report the log-probability of each token and of so many alternatives. */
  logprobs?: number | null;
  /** The most tokens of each text; 16 where absent. */
  max_tokens?: number | null;
  /** Tokens less probable than this times the most probable one are dropped. */
  min_p?: number | null;
  /** Name of a model of `/v1/models`. */
  model: string;
  /** Texts for each prompt. */
  n?: number | null;
  /** Subtracted once from tokens that the text holds. */
  presence_penalty?: number | null;
  /** What to continue. */
  prompt: Prompts;
  /** Divides the logits of tokens of the text so far; 1 is off. */
  repetition_penalty?: number | null;
  /** The same seed gives the same text. */
  seed?: number | null;
  /** Texts that end the text and are no part of it. */
  stop?: TextOrList | null;
  /** Answer piece by piece, as server-sent events. */
  stream?: boolean | null;
  /** What is wanted of the stream. */
  stream_options?: StreamOptions | null;
  /** Spread of the choice; 0 always takes the most probable token. */
  temperature?: number | null;
  /** How many of the most probable tokens are drawn from; 0 for all. */
  top_k?: number | null;
  /** Mass of the most probable tokens that are drawn from. */
  top_p?: number | null;
  /** The client's name for its user; not looked at. */
  user?: string | null;
}

/** The text of a message, whole or in parts. */
export type Content = string | Array<Part>;

/** The vector of a text, of length 1. */
export interface Embedding {
  embedding: Vector;
  /** Number of the text, from 0. */
  index: number;
  /** Always `embedding`. */
  object: string;
}

/** Tokens that were taken. */
export interface EmbeddingUsage {
  /** Of the texts. */
  prompt_tokens: number;
  /** The same: nothing is generated. */
  total_tokens: number;
}

/** Texts to turn into vectors. */
export interface EmbeddingsRequest {
  /** Numbers of a vector; only as many as the model makes. */
  dimensions?: number | null;
  /** How vectors are written; `float` where absent. */
  encoding_format?: Encoding | null;
  /** A text, or up to 2,048. */
  input: TextOrList;
  /** Name of a sentence encoder of `/v1/models`. */
  model: string;
  /** The client's name for its user; not looked at. */
  user?: string | null;
}

/** How vectors are written. */
export type Encoding = "float" | "base64";

/** Body of every error of the OpenAI API. */
export interface ErrorBody {
  /** What went wrong. */
  error: ErrorDetail;
}

/** What went wrong. */
export interface ErrorDetail {
  /** What exactly; stable. */
  code?: string | null;
  /** For people, in English. */
  message: string;
  /** The field that is wrong. */
  param?: string | null;
  /** Coarse class: `invalid_request_error`, `rate_limit_error`, `server_error` and so on. */
  type: string;
}

/** Kinds of forms. */
export type FormatKind = "text" | "json_object" | "json_schema";

/** A function and its arguments. */
export interface FunctionCall {
  /** A JSON object, as text. */
  arguments: string;
  /** The function. */
  name: string;
}

/** A schema and what it is called. */
export interface JsonSchema {
  /** What the value is for; not looked at. */
  description?: string | null;
  /** A name, for the client's own use. */
  name: string;
  /** The schema; any object where it is absent. */
  schema?: Record<string, unknown> | null;
  /** Answers always fulfil the schema, strict or not. */
  strict?: boolean | null;
}

/** A model that is served. */
export interface Model {
  /** When it was loaded, in seconds since 1970. */
  created: number;
  /** The name that requests use. */
  id: string;
  /** The most tokens of prompt and answer together; absent for a sentence encoder, which takes any text. */
  max_model_len?: number | null;
  /** Always `model`. */
  object: string;
  /** Always `saem`. */
  owned_by: string;
}

/** All models that are served. */
export interface Models {
  /** The models. */
  data: Array<Model>;
  /** Always `list`. */
  object: string;
}

/** A part of a message. */
export interface Part {
  /** The text. */
  text: string;
  /** Always `text`. */
  type: PartKind;
}

/** Kinds of parts. */
export type PartKind = "text";

/** Of the prompt's tokens. */
export interface PromptTokens {
  /** Tokens whose keys and values were in the cache. */
  cached_tokens: number;
}

/** What `/v1/completions` continues: one text or token list, or several. */
export type Prompts = string | Array<string> | Array<number> | Array<Array<number>>;

/** The form of an answer. */
export interface ResponseFormat {
  /** The schema, for `json_schema`. */
  json_schema?: JsonSchema | null;
  /** What kind of form. */
  type: FormatKind;
}

/** Who speaks. */
export type Role = "system" | "developer" | "user" | "assistant" | "tool";

/** What is wanted of a stream. */
export interface StreamOptions {
  /** End with a chunk that has no choices and tells the tokens taken. */
  include_usage?: boolean | null;
}

/** An app. */
export interface StudioApp {
  allowed_origins: Array<string>;
  changed_at: string;
  created_at: string;
  /** What it asks; in the answer for one app. */
  definition?: StudioDocument | null;
  id: string;
  keep_calls: boolean;
  /** Keys that work. */
  keys: Array<StudioAppKey>;
  limits: StudioAppLimits;
  /** `chat` or `text`. */
  mode: string;
  model: string;
  name: string;
  /** The project that its prompt was taken from. */
  project: string;
  project_version: number;
  stage: StudioAppStage;
  /** Where it is called. */
  url: string;
  /** What a call must bring. */
  variables: Array<string>;
  variant?: number | null;
  version: number;
}

/** What is to change of an app. Where `project`, `version` or `variant` is there, the prompt is taken anew. */
export interface StudioAppChange {
  allowed_origins?: Array<string> | null;
  keep_calls?: boolean | null;
  limits?: StudioAppLimits | null;
  project?: string | null;
  variant?: number | null;
  version?: number | null;
}

/** A day on which it was used. */
export interface StudioAppDay {
  cached_tokens: number;
  completion_tokens: number;
  /** In UTC. */
  day: string;
  prompt_tokens: number;
  requests: number;
}

/** A key without its secret. */
export interface StudioAppKey {
  created_at: string;
  expires_at?: string | null;
  id: string;
  last_used_at?: string | null;
}

/** How much an app may be asked in a minute; no limit where null. */
export interface StudioAppLimits {
  /** Requests per minute (QPM). */
  requests_per_minute?: number | null;
  /** Tokens per minute (TPM). */
  tokens_per_minute?: number | null;
}

/** Whether an app is being tried out or meant. */
export type StudioAppStage = "test" | "service";

/** What an app used. */
export interface StudioAppUsage {
  days: Array<StudioAppDay>;
}

/** Apps by name. */
export interface StudioApps {
  apps: Array<StudioApp>;
}

/** A batch. */
export interface StudioBatch {
  columns: Array<string>;
  created_at: string;
  /** `utf-8`, `utf-16` or `cp949`. */
  encoding: string;
  ended_at?: string | null;
  /** Rows that were left out, the first 100 of them. */
  faults: Array<StudioFault>;
  faults_total: number;
  format: StudioTableFormat;
  id: string;
  name: string;
  progress: StudioBatchProgress;
  /** Why it failed. */
  reason?: string | null;
  rows: number;
  /** The first rows; not in lists. */
  sample?: Array<Record<string, unknown>> | null;
  /** Where the task has a column with labels, and one variant. */
  score?: StudioScore | null;
  /** The same, for each of several variants. */
  scores?: Array<StudioScoreOf>;
  started_at?: string | null;
  /** `draft`, `running`, `done`, `cancelled` or `failed`. */
  state: string;
  task?: StudioBatchTask | null;
  usage: StudioBatchUsage;
}

/** What one of several variants made of a row. */
export interface StudioBatchAnswer {
  /** Whether the answer is the right label, where the task has a column with them. */
  correct?: boolean | null;
  /** What went wrong. */
  error?: string | null;
  /** `stop` or `length`. */
  finish_reason?: string | null;
  output?: string | null;
  /** `waiting`, `done` or `failed`. */
  state: string;
  /** Its letter. */
  variant: string;
}

/** How many answers are in each state: one for each row, and where there are several variants one for each of them. */
export interface StudioBatchProgress {
  done: number;
  failed: number;
  waiting: number;
}

/** A row. */
export interface StudioBatchRow {
  /** What each made of it, where there are several variants. */
  answers?: Array<StudioBatchAnswer>;
  /** Whether the answer is the right label, where the task has a column with them. */
  correct?: boolean | null;
  /** What went wrong. */
  error?: string | null;
  /** `stop` or `length`. */
  finish_reason?: string | null;
  /** Its cells by the names of their columns. */
  input: Record<string, unknown>;
  /** The line of the file where it begins. */
  line: number;
  output?: string | null;
  /** Its number, from 1. */
  row: number;
  /** `waiting`, `done` or `failed`; with several variants `failed` or `waiting` where one of them is. */
  state: string;
}

/** Rows in their order. */
export interface StudioBatchRows {
  rows: Array<StudioBatchRow>;
  /** Rows in this state. */
  total: number;
}

/** What is to be done with a batch. Without fields, a batch that has come to an end goes on with what is left. */
export interface StudioBatchStart {
  /** What may be answered; as the document says where absent. */
  choices?: Array<string> | null;
  /** The column of each variable; of the same name where absent. */
  columns?: Record<string, string>;
  /** The column with the right labels. */
  gold?: string | null;
  /** The project whose prompt is asked. */
  project?: string | null;
  /** Which of the document's variants. */
  variant?: number | null;
  /** Several of them, so that each row goes through each: `A` is the document itself, `B` its first variant, and so on. */
  variants?: Array<string> | null;
  /** Its version; the current one where absent. */
  version?: number | null;
}

/** What is done with each row. */
export interface StudioBatchTask {
  choices: Array<string>;
  columns: Record<string, string>;
  gold?: string | null;
  model: string;
  project: string;
  variant?: number | null;
  /** Where rows go through several. */
  variants?: Array<StudioBatchVariant>;
  version: number;
}

/** Tokens that were taken. */
export interface StudioBatchUsage {
  completion_tokens: number;
  prompt_tokens: number;
}

/** One of several variants. */
export interface StudioBatchVariant {
  model: string;
  /** Its letter. */
  variant: string;
}

/** Batches, the newest first. */
export interface StudioBatches {
  batches: Array<StudioBatch>;
}

/** A call, without personal data. */
export interface StudioCall {
  at: string;
  completion_tokens: number;
  id: string;
  key: string;
  messages: Array<Record<string, unknown>>;
  millis: number;
  /** `done`, `failed` or `cancelled`. */
  outcome: string;
  output: string;
  prompt_tokens: number;
  variables: Record<string, unknown>;
  version: number;
}

/** Calls that were kept, the newest first. */
export interface StudioCalls {
  calls: Array<StudioCall>;
  /** Whether older ones follow. */
  has_more: boolean;
}

/** What is to change beside the document. */
export interface StudioChange {
  name?: string | null;
  shared?: boolean | null;
}

/** What is known of a column. */
export interface StudioColumn {
  /** Different values. */
  distinct: number;
  /** Cells with nothing but blanks. */
  empty: number;
  kind: StudioColumnKind;
  /** Of a column of labels: each with its count, the most frequent first. Empty for the others. */
  labels: Array<StudioLabelCount>;
  lengths: StudioLengths;
  name: string;
}

/** What a column holds. */
export type StudioColumnKind = "text" | "label" | "number" | "messages";

/** Which rows that are held out. */
export interface StudioCompareRequest {
  /** How many: 1 to 16, 4 where absent. */
  limit?: number | null;
  /** How many to skip. */
  offset?: number;
}

/** A row, and what both models say. */
export interface StudioComparedRow {
  base: string;
  /** What the dataset says is right. */
  expected: string;
  /** What is asked; of a conversation its last question. */
  prompt: string;
  /** Its number among those that are held out, from 1. */
  row: number;
  tuned: string;
}

/** Rows in their order. */
export interface StudioComparison {
  /** What may be answered; anything where empty. */
  choices: Array<string>;
  rows: Array<StudioComparedRow>;
  /** Rows that are held out. */
  total: number;
}

/** A dataset. */
export interface StudioDataset {
  /** Bytes that it takes here. */
  bytes: number;
  columns: Array<StudioColumn>;
  created_at: string;
  /** `utf-8`, `utf-16` or `cp949`. */
  encoding: string;
  /** Rows that were left out, the first 100 of them. */
  faults: Array<StudioFault>;
  faults_total: number;
  /** How it came. */
  format: StudioTableFormat;
  id: string;
  name: string;
  /** What to look at in the rows that are there. */
  notices: Array<StudioNotice>;
  rows: number;
}

/** Rows in their order. */
export interface StudioDatasetRows {
  /** Cells by the names of their columns. */
  rows: Array<Record<string, unknown>>;
  /** Rows in all. */
  total: number;
}

/** Datasets, the newest first. */
export interface StudioDatasets {
  datasets: Array<StudioDataset>;
}

/** The state of a playground. Every field may be absent. */
export interface StudioDocument {
  /** The answer must be one of these; anything where empty. */
  choices?: Array<string>;
  /** Rows of input and output. */
  examples?: StudioExamples;
  /** What is done with an answer; `examples` puts rows of input and output before the input. */
  generation?: StudioGenerationType;
  /** The conversation. May hold `{{variables}}`. */
  messages?: Array<StudioTurn>;
  /** A conversation, or free text. */
  mode?: StudioMode;
  /** Name of a model of `/v1/models`; the first one served where empty. */
  model?: string;
  /** How tokens are chosen. */
  parameters?: StudioParameters;
  /** The position of the switch that the parameters came from. */
  preset?: StudioPreset | null;
  /** The free text. May hold `{{variables}}`. */
  prompt?: string;
  /** The system message of a conversation. */
  system?: string;
  /** The page's own state, which the server does not read. */
  ui?: Record<string, unknown>;
  /** Variables with values to try. */
  variables?: Array<StudioVariable>;
  /** What the document is compared with. */
  variants?: Array<StudioVariant>;
}

/** What is copied. */
export interface StudioDuplicate {
  /** The copy's name. */
  name?: string | null;
  /** The version; the current one where absent. */
  version?: number | null;
}

/** A model that writes. */
export interface StudioEngine {
  /** What it is good for. */
  about?: StudioWords | null;
  /** Bytes that serving it takes; of one that is away, a guess by the size of its files. */
  bytes?: number | null;
  /** Whether that fits in what is free. */
  fits?: boolean | null;
  /** The name of its licence. */
  licence?: string | null;
  name: string;
  /** `served`, `here` on this machine, or `away`: to be fetched with `saem pull`. */
  state: string;
}

/** Which model to load. */
export interface StudioEngineLoad {
  /** Its name in the list. */
  name: string;
}

/** Models, and the memory that they would have to fit in. */
export interface StudioEngines {
  engines: Array<StudioEngine>;
  /** Bytes that are free for one more; absent where the system does not tell. */
  memory?: number | null;
}

/** A row. */
export interface StudioExample {
  /** What comes in. */
  input?: string;
  /** What is to come out. */
  output?: string;
}

/** Rows of input and output, and how they are written in free text. */
export interface StudioExamples {
  /** The new input. May hold `{{variables}}`. */
  input?: string;
  /** Before each input. */
  input_prefix?: string;
  /** Before each output. */
  output_prefix?: string;
  /** The rows. */
  rows?: Array<StudioExample>;
  /** After each row. */
  separator?: string;
}

/** A row that is left out. */
export interface StudioFault {
  /** What kind of fault it is: `cells` (another number of them than the first line has), `object` (the line is none), `json` (it is not JSON), `nested` (a list or an object in a cell), `bytes` (a cell is no text), `long`. */
  code?: string;
  /** The line of the file where it begins, from 1. */
  line: number;
  /** What is wrong with it. */
  message: string;
}

/** What is done with an answer. */
export type StudioGenerationType = "rolling" | "one_time" | "multiple" | "examples";

/** A key as it is shown once. */
export interface StudioIssuedKey {
  expires_at?: string | null;
  id: string;
  /** The key itself, which cannot be had again. */
  text: string;
}

/** A value and how often it is there. */
export interface StudioLabelCount {
  count: number;
  value: string;
}

/** How well one label is found. Where nothing can be divided, 0. */
export interface StudioLabelScore {
  /** The harmonic mean of both. */
  f1: number;
  label: string;
  /** Of the rows answered so, the part that is. */
  precision: number;
  /** Of the rows that are so, the part answered so. */
  recall: number;
  /** Rows that are so. */
  support: number;
}

/** Characters of the cells of a column that are not empty. */
export interface StudioLengths {
  least: number;
  median: number;
  most: number;
  /** 95 of 100 are no longer. */
  p95: number;
}

/** Bytes of one kind. */
export interface StudioMemoryPart {
  bytes: number;
  kind: string;
}

/** A conversation, or free text. */
export type StudioMode = "chat" | "text";

/** An app to make. */
export interface StudioNewApp {
  /** Web origins whose pages may call it, such as `https://shop.example`. */
  allowed_origins?: Array<string>;
  /** Whether its calls are kept, without personal data. */
  keep_calls?: boolean;
  /** For a test app at most 60 requests per minute. */
  limits?: StudioAppLimits | null;
  /** What it is called, in the organisation once. */
  name: string;
  /** The project whose prompt it asks. */
  project: string;
  /** Which of the document's variants. */
  variant?: number | null;
  /** Its version; the current one where absent. */
  version?: number | null;
}

/** A new key for an app. */
export interface StudioNewAppKey {
  /** How many hours the old one goes on: 0 to 168. */
  overlap_hours?: number;
}

/** A new key. */
export interface StudioNewKey {
  key: StudioIssuedKey;
}

/** A new project. */
export interface StudioNewProject {
  document?: StudioDocument;
  name: string;
}

/** A tuning to begin. */
export interface StudioNewTuning {
  /** What it is called. */
  name: string;
  task: StudioTuningTask;
}

/** Something that somebody should look at. The rows are there all the same. */
export interface StudioNotice {
  /** `empty` (cells of a column), `duplicate` (rows that are there already), `rare` (a label with a tenth of the most frequent one's rows), `conversation` (cells that are no list of turns). */
  code: string;
  /** The column, where it is about one. */
  column?: string | null;
  /** Rows. */
  count: number;
  /** The label, where it is about one. */
  label?: string | null;
  /** Lines of the file, the first 20. */
  lines: Array<number>;
}

/** How tokens are chosen, on CLOVA Studio's scales. */
export interface StudioParameters {
  /** Answers to one prompt. */
  candidates?: number;
  /** The most tokens of an answer. */
  max_tokens?: number;
  /** Against repetition: 0 is off; `repetition_penalty` of the other APIs is 1 + this / 50. */
  repeat_penalty?: number;
  /** Put after an answer by the page. */
  restart?: string;
  /** The same seed gives the same answer. */
  seed?: number | null;
  /** Put after free text, before the model writes. */
  start?: string;
  /** Texts that end an answer. */
  stop?: Array<string>;
  /** Spread of the choice; 0 always takes the most probable token. */
  temperature?: number;
  /** How many of the most probable tokens are drawn from; 0 for all. */
  top_k?: number;
  /** Mass of the most probable tokens that are drawn from; above 0. */
  top_p?: number;
}

/** The administrator's password. */
export interface StudioPassword {
  /** 10 letters or more, 1024 bytes at most. */
  password: string;
}

/** A size, and what there is for it. */
export interface StudioPlanRequest {
  /** Days that it may take; 90 where null. */
  days?: number | null;
  /** Devices that there are; as many as end in time where null. */
  devices?: number | null;
  /** Names of devices; all that are known where empty. */
  hardware?: Array<string>;
  /** Images beside them. */
  images?: number;
  /** Parameters. */
  parameters: number;
  /** Tokens of a sequence; 2,048 where null. */
  sequence?: number | null;
  /** Tokens of text. */
  tokens: number;
}

/** A switch with two positions. */
export type StudioPreset = "consistency" | "creativity";

/** A project with its document. */
export type StudioProject = StudioProjectSummary & {
  document: StudioDocument;
  /** Who saved the current version. */
  saved_by: string;
  /** Whether it is the caller's organisation's. */
  writable: boolean;
};

/** A project in a list. */
export interface StudioProjectSummary {
  changed_at: string;
  created_at: string;
  id: string;
  /** `chat` or `text`. */
  mode: string;
  /** The model of the document; empty for the first one served. */
  model: string;
  name: string;
  /** Whether other organisations of the installation may read it by its id. */
  shared: boolean;
  /** The current version. */
  version: number;
}

/** Projects, the last changed first. */
export interface StudioProjects {
  /** Whether older ones follow. */
  has_more: boolean;
  projects: Array<StudioProjectSummary>;
}

/** What a service app may be asked. */
export interface StudioPublish {
  limits?: StudioAppLimits | null;
}

/** What a tuned model is called. */
export interface StudioPublishTuning {
  /** Letters, digits, `-`, `_` and `.`; the model is then called by its base's name, a colon and this. */
  name: string;
}

/** An app and its new key. */
export interface StudioPublished {
  app: StudioApp;
  key: StudioIssuedKey;
}

/** What was seen before a version is brought back. */
export interface StudioRestore {
  /** The version that was seen. */
  based_on: number;
}

/** A new version. */
export interface StudioSave {
  /** Whether the page saves by itself. Of such versions only the newest 20 are kept. */
  autosave?: boolean;
  /** The version that was seen. */
  based_on: number;
  document: StudioDocument;
  /** A new name. */
  name?: string | null;
  /** What is to be said of it. */
  note?: string;
}

/** How often labels are right. */
export interface StudioScore {
  /** The part of them whose answer is the label. */
  accuracy: number;
  /** How often a label (outer) was answered by each label (inner). */
  confusion: Array<Array<number>>;
  labels: Array<string>;
  /** The mean of F1 over the labels that occur, as label or as answer. */
  macro_f1: number;
  /** How often a label was answered by something that is no label. */
  other: Array<number>;
  per_label: Array<StudioLabelScore>;
  /** Rows that have an answer and a label. */
  scored: number;
}

/** How right one of several variants is. */
export interface StudioScoreOf {
  score?: StudioScore | null;
  /** Its letter. */
  variant: string;
}

/** Who asks, and what is asked of them. */
export interface StudioSession {
  /** Whether requests must show a session or a key. */
  guarded: boolean;
  /** Whether the one who asks may set the first one: there is none, and they sit at the server's machine. */
  may_set_password: boolean;
  /** Whether there is an administrator's password to sign in with. */
  password: boolean;
  /** Whether the one who asks has signed in. */
  signed_in: boolean;
}

/** Who speaks. */
export type StudioSpeaker = "system" | "user" | "assistant";

/** How a table is written. */
export type StudioTableFormat = "csv" | "jsonl" | "parquet";

/** A tuning. */
export interface StudioTuning {
  created_at: string;
  dataset_name: string;
  ended_at?: string | null;
  /** Rows that are measured and compared with. */
  held_out: number;
  id: string;
  /** The last step. */
  last?: StudioTuningMetric | null;
  /** The model that is served of it. */
  model?: string | null;
  name: string;
  /** Where the result lies, below `$SAEM_HOME`. */
  path?: string | null;
  /** The project that asks this model. */
  project?: string | null;
  /** Why it failed. */
  reason?: string | null;
  /** What came of it: `adapter`, which is served beside its base, or `model`, which is served by itself. */
  result?: string | null;
  /** Rows that are learnt from. */
  rows: number;
  /** Seconds until the end, going by the last steps. */
  seconds_left?: number | null;
  started_at?: string | null;
  /** `queued`, `running`, `stopping`, `stopped`, `done` or `failed`. */
  state: string;
  /** Steps in all. */
  steps: number;
  task: StudioTuningTask;
}

/** What became of rows. */
export interface StudioTuningData {
  /** Rows that are longer than the longest that was asked for, and lose their end. */
  cut?: number;
  /** Rows that can be learnt from. */
  examples?: number;
  /** Those of them that are learnt. */
  learnt_tokens?: number;
  /** Tokens of the shortest row, the median, the one that 95 of 100 do not exceed, and the longest. */
  lengths?: Array<number>;
  /** Rows that were left out. */
  refused?: number;
  /** Tokens of all. */
  tokens?: number;
}

/** What of a model learns. */
export type StudioTuningMethod = "lora" | "dora" | "p-tuning" | "prompt" | "prefix" | "dpo" | "classifier" | "full";

/** One step of a run, as it wrote it down. */
export interface StudioTuningMetric {
  /** Length of the gradient. */
  gradient_norm?: number | null;
  learning_rate?: number | null;
  /** Mean loss of what was learnt from, in nats. */
  loss?: number | null;
  /** The step, from 1. */
  step?: number;
  /** Tokens since the run began. */
  tokens?: number | null;
  tokens_per_second?: number | null;
  /** The share of these rows that get the right label. */
  validation_accuracy?: number | null;
  /** Mean F1 of the labels. */
  validation_f1?: number | null;
  /** Loss of the rows that are held out, where it was measured. */
  validation_loss?: number | null;
}

/** Steps in their order. */
export interface StudioTuningMetrics {
  metrics: Array<StudioTuningMetric>;
}

/** How weights follow from gradients. */
export type StudioTuningOptimizer = "adamw" | "adamw8bit" | "muon";

/** How a tuning learns. Every field may be absent. */
export interface StudioTuningParameters {
  /** Rows in a step. */
  batch?: number;
  /** How often each row is learnt from. */
  epochs?: number;
  /** The share of the rows that is not learnt from but measured with, 1,000 rows at most. */
  held_out?: number;
  /** The highest learning rate; what suits the method where null. */
  learning_rate?: number | null;
  /** Rows in memory at a time, at most `batch`; 8 where null. Fewer take less memory, and make the same step. */
  micro_batch?: number | null;
  optimizer?: StudioTuningOptimizer;
  /** Rank of the thin matrices. */
  rank?: number;
  recompute?: StudioTuningRecompute;
  /** The same seed chooses the same rows in the same order. */
  seed?: number;
  /** Tokens of the longest row; longer ones are left out, longer conversations are cut. */
  sequence?: number;
  /** Threads that compute; half of the processors where null. */
  threads?: number | null;
  /** Rows that p-tuning, prompt tuning and prefix tuning learn. */
  virtual_tokens?: number;
}

/** What a tuning would take. */
export interface StudioTuningPlan {
  /** What became of the rows that are learnt from. */
  data?: StudioTuningData | null;
  /** Rows that are measured with. */
  held_out: number;
  /** Bytes by kind, such as `weights`, `gradients`, `optimizer`, `activations`. */
  memory: Array<StudioMemoryPart>;
  /** Numbers that are trained. */
  parameters?: number | null;
  /** Rows that are learnt from. */
  rows: number;
  /** Steps in all. */
  steps: number;
  /** All bytes. */
  total: number;
}

/** What is computed twice instead of being kept: less memory, more work. */
export type StudioTuningRecompute = "none" | "selective" | "full";

/** What is tuned, on what and how. */
export interface StudioTuningTask {
  /** What it should answer, with `{{columns}}`. This is learnt. A classifier answers nothing: it learns `label`. */
  answer?: string;
  /** Name of a model that is served. */
  base: string;
  /** Instead of both: the column with conversations. The assistant's turns are learnt. */
  chat?: string | null;
  /** Id of the dataset. */
  dataset: string;
  /** The column with labels. The answer is then one of them, and how many are right is measured. */
  label?: string | null;
  /** The labels in words, by what is in the column; as they are where empty. */
  labels?: Record<string, string>;
  method?: StudioTuningMethod;
  parameters?: StudioTuningParameters;
  /** What the model is asked, with `{{columns}}`. It is not learnt. */
  prompt?: string;
  /** With `dpo`: the worse answer, with `{{columns}}`; `answer` is the better one. */
  rejected?: string;
}

/** Tunings, the newest first. */
export interface StudioTunings {
  tunings: Array<StudioTuning>;
}

/** A message of a conversation. */
export interface StudioTurn {
  /** What they say. */
  content: string;
  /** Who speaks. */
  role: StudioSpeaker;
}

/** A variable. */
export interface StudioVariable {
  /** What it is for. */
  description?: string;
  /** Letters, digits and `_`. */
  name?: string;
  /** A value to try. */
  value?: string;
}

/** A document that differs in some fields. What is absent is as in the document. */
export interface StudioVariant {
  /** Another model. */
  model?: string | null;
  /** What it is called. */
  name?: string;
  /** Other parameters, all of them. */
  parameters?: StudioParameters | null;
  /** Another text. */
  prompt?: string | null;
  /** Another system message. */
  system?: string | null;
}

/** A version of a project. */
export interface StudioVersion {
  autosave: boolean;
  /** In the answer for one version. */
  document?: StudioDocument | null;
  note: string;
  /** The version that was brought back by it. */
  restored_from?: number | null;
  saved_at: string;
  saved_by: string;
  version: number;
}

/** Versions, the newest first. */
export interface StudioVersions {
  /** Whether older ones follow. */
  has_more: boolean;
  versions: Array<StudioVersion>;
}

/** A sentence in both languages. */
export interface StudioWords {
  en: string;
  ko: string;
}

/** One text. */
export interface TextChoice {
  /** `stop` or `length`; null while the text goes on. */
  finish_reason?: string | null;
  /** Counts through the texts of the first prompt, then of the second, and so on. */
  index: number;
  logprobs?: TextLogprobs | null;
  text: string;
}

/** Texts, or a piece of one. */
export interface TextCompletion {
  choices: Array<TextChoice>;
  created: number;
  id: string;
  model: string;
  /** Always `text_completion`. */
  object: string;
  system_fingerprint: string;
  /** Absent from the pieces of a stream, unless they were asked for it. */
  usage?: Usage | null;
}

/** Log-probabilities of a text, in the API's older shape. */
export interface TextLogprobs {
  /** Where each token begins, in characters from the begin of the text. */
  text_offset: Array<number>;
  token_logprobs: Array<number>;
  tokens: Array<string>;
  top_logprobs: Array<Record<string, number>>;
}

/** One text or several. */
export type TextOrList = string | Array<string>;

/** A token and what could have stood in its place. */
export interface TokenLogprob {
  /** The bytes of the token, which can be a part of a character. */
  bytes: Array<number>;
  logprob: number;
  token: string;
  top_logprobs: Array<TopLogprob>;
}

/** A text or a conversation to cut into tokens. */
export interface TokenizeRequest {
  /** End a conversation with the beginning of an answer; true where absent. */
  add_generation_prompt?: boolean | null;
  /** Add the tokens that the model expects around a text; true where absent, as for `/v1/completions`. */
  add_special_tokens?: boolean | null;
  /** A conversation, which is counted as `/v1/chat/completions` counts it. */
  messages?: Array<ChatMessage> | null;
  /** Name of a model of `/v1/models`. */
  model: string;
  /** The text; this or `messages`. */
  prompt?: string | null;
  /** Tell also what each token says. */
  return_token_strs?: boolean | null;
}

/** The tokens of a text. */
export interface Tokenized {
  /** How many. */
  count: number;
  /** The most tokens of prompt and answer together. */
  max_model_len: number;
  /** What each says, where that was asked for. */
  token_strs?: Array<string> | null;
  /** Their ids. */
  tokens: Array<number>;
}

/** A call of a function. */
export interface ToolCall {
  /** What is called. */
  function: FunctionCall;
  /** Names the call; the function's answer refers to it. */
  id: string;
  /** Always `function`. */
  type: ToolCallKind;
}

/** Kinds of calls. */
export type ToolCallKind = "function";

/** A token that could have been chosen. */
export interface TopLogprob {
  bytes: Array<number>;
  logprob: number;
  token: string;
}

/** Tokens that a request took. */
export interface Usage {
  /** Generated tokens of all choices. */
  completion_tokens: number;
  /** Tokens of the prompt. */
  prompt_tokens: number;
  /** Of the prompt's tokens. */
  prompt_tokens_details: PromptTokens;
  /** Both. */
  total_tokens: number;
}

/** The numbers of a vector. */
export type Vector = Array<number> | string;

/** Vectors. */
export interface Vectors {
  /** One for each text, in the order of the texts. */
  data: Array<Embedding>;
  model: string;
  /** Always `list`. */
  object: string;
  usage: EmbeddingUsage;
}
