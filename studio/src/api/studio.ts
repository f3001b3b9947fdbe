// Projects, apps and batches, by the names that pages use for what the routes give.
import type { Operations, StudioDocument, StudioParameters, StudioVariant } from "./schema";

/** A request may leave fields out, an answer has them all. */
type Whole<T> = T extends (infer U)[] ? Whole<U>[] : T extends object ? { [K in keyof T]-?: Whole<T[K]> } : T;

export type ServerDocument = Whole<StudioDocument>;
export type ServerParameters = Whole<StudioParameters>;
export type ServerVariant = Whole<StudioVariant>;
export type Project = Whole<Operations["GET /api/studio/projects/{id}"]["result"]>;
export type Summary = Operations["GET /api/studio/projects"]["result"]["projects"][number];
export type Version = Operations["GET /api/studio/projects/{id}/versions"]["result"]["versions"][number];
export type StudioApp = Whole<Operations["GET /api/studio/apps/{id}"]["result"]>;
export type NewKey = Whole<Operations["POST /api/studio/apps"]["result"]["key"]>;
export type UsageDay = Operations["GET /api/studio/apps/{id}/usage"]["result"]["days"][number];
export type AppCall = Whole<Operations["GET /api/studio/apps/{id}/calls"]["result"]["calls"][number]>;
export type Batch = Whole<Operations["GET /api/studio/batches/{id}"]["result"]>;
export type BatchRow = Whole<Operations["GET /api/studio/batches/{id}/rows"]["result"]["rows"][number]>;
export type Score = NonNullable<Batch["score"]>;
export type Dataset = Whole<Operations["GET /api/studio/datasets/{id}"]["result"]>;
export type Column = Dataset["columns"][number];
export type Tuning = Whole<Operations["GET /api/studio/tunings/{id}"]["result"]>;
export type TuningTask = Tuning["task"];
export type TuningPlan = Whole<Operations["POST /api/studio/tunings/plan"]["result"]>;
export type Metric = Whole<Operations["GET /api/studio/tunings/{id}/metrics"]["result"]["metrics"][number]>;
export type ComparedRow = Whole<Operations["POST /api/studio/tunings/{id}/compare"]["result"]["rows"][number]>;
