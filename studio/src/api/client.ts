// Requests to the server that this page came from, typed by its OpenAPI document.
import type { ErrorBody, Operations } from "./schema";
import { key, signOut } from "../state/session";

/** An answer that is an error, with the server's stable code. */
export class ApiError extends Error {
  constructor(
    readonly status: number,
    readonly code: string,
    message: string,
    readonly param: string | null = null,
  ) {
    super(message);
  }
}

type Route = keyof Operations;
type Body<R extends Route> = Operations[R]["body"];

interface Options {
  /** Values of `{name}` in the route. */
  path?: Record<string, string>;
  query?: Record<string, string>;
  signal?: AbortSignal;
}

/** Sends a request and hands out the response where it is a good one. */
export async function send<R extends Route>(route: R, body: Body<R>, options: Options = {}): Promise<Response> {
  const json = body === undefined ? null : JSON.stringify(body);
  return request(route, json, json === null ? "" : "application/json", options);
}

/** Sends a file as it is and reads the answer. */
export async function sendFile<R extends Route>(
  route: R,
  file: Blob,
  kind: string,
  query: Record<string, string>,
): Promise<Operations[R]["result"]> {
  // A blob with a type of its own would say it instead of us.
  const response = await request(route, await file.arrayBuffer(), kind, { query });
  return (await response.json()) as Operations[R]["result"];
}

async function request(route: Route, body: BodyInit | null, kind: string, options: Options): Promise<Response> {
  const [method = "GET", pattern = "/"] = route.split(" ");
  const address = pattern.replace(/\{\*?(\w+)\}/g, (_, name: string) => encodeURIComponent(options.path?.[name] ?? ""));
  const query = options.query ? `?${new URLSearchParams(options.query)}` : "";
  const headers: Record<string, string> = {};
  if (kind) headers["content-type"] = kind;
  if (key.value) headers["authorization"] = `Bearer ${key.value}`;
  let response: Response;
  try {
    response = await fetch(address + query, {
      method,
      headers,
      body,
      signal: options.signal ?? null,
    });
  } catch (error) {
    if (isAbort(error)) throw error;
    throw new ApiError(0, "unreachable", String(error));
  }
  if (!response.ok) throw await refusal(response);
  return response;
}

/** Sends a request and reads the answer. */
export async function call<R extends Route>(
  route: R,
  body: Body<R>,
  options: Options = {},
): Promise<Operations[R]["result"]> {
  const response = await send(route, body, options);
  if (response.status === 204) return undefined as unknown as Operations[R]["result"];
  return (await response.json()) as Operations[R]["result"];
}

/** Whether an error says that we stopped ourselves. */
export function isAbort(error: unknown): boolean {
  return error instanceof DOMException && error.name === "AbortError";
}

async function refusal(response: Response): Promise<ApiError> {
  const text = await response.text();
  const error = read(text, response.status);
  // Whoever showed nothing knows what is missing; a wrong password is said where it was written.
  if (error.status === 401 && error.code !== "wrong_password") signOut(key.value ? error.message : "");
  return error;
}

/** The routes of CLOVA Studio tell errors in a shape of their own. */
function read(text: string, status: number): ApiError {
  try {
    const body = JSON.parse(text) as Partial<ErrorBody> & { status?: { code: string; message: string } };
    if (body.error) {
      return new ApiError(status, String(body.error.code ?? ""), body.error.message, body.error.param ?? null);
    }
    if (body.status) return new ApiError(status, body.status.code, body.status.message);
  } catch {
    // No JSON: something between us and the server answered.
  }
  return new ApiError(status, "unreadable", text.slice(0, 200) || `HTTP ${status}`);
}
