// A request as programs of others: what is copied runs as it is pasted.
import type { Ask } from "./prompt";

export type Language = "curl" | "python" | "javascript";

/** A key, or the name of the environment variable that holds one; neither where none is needed. */
interface Authority {
  key?: string;
  keyVariable?: string;
}

export interface Call extends Authority {
  ask: Ask;
  /** Address of the server, without a slash at the end. */
  origin: string;
}

export function snippet(language: Language, call: Call): string {
  const [, route = ""] = call.ask.route.split(" ");
  const address = call.origin + route;
  const body = JSON.stringify(call.ask.body, null, 2);
  const isChat = call.ask.route === "POST /v1/chat/completions";
  const inPython = `for choice in answer["choices"]:\n    print(choice${isChat ? '["message"]["content"]' : '["text"]'})`;
  const inJavaScript = `answer.choices.forEach((choice) => console.log(choice.${isChat ? "message.content" : "text"}))`;
  switch (language) {
    case "curl": return curl(address, body, call);
    case "python": return python(address, body, inPython, call);
    case "javascript": return javascript(address, body, inJavaScript, call);
  }
}

/** A text between single quotes, in which a shell changes nothing. */
function quoted(text: string): string {
  return `'${text.replaceAll("'", "'\\''")}'`;
}

function curl(address: string, body: string, { key, keyVariable }: Authority): string {
  const bearer = key ? quoted(`Authorization: Bearer ${key}`) : keyVariable ? `"Authorization: Bearer $${keyVariable}"` : "";
  const header = bearer ? `  -H ${bearer} \\\n` : "";
  return `curl ${address} \\\n  -H 'Content-Type: application/json' \\\n${header}  -d ${quoted(body)}\n`;
}

function python(address: string, body: string, then: string, { key, keyVariable }: Authority): string {
  const bearer = key ? JSON.stringify(`Bearer ${key}`) : keyVariable ? `"Bearer " + os.environ["${keyVariable}"]` : "";
  const imports = ["json", ...(keyVariable && !key ? ["os"] : []), "urllib.request"].map((name) => `import ${name}`);
  const header = bearer ? `\n    "Authorization": ${bearer},` : "";
  return `${imports.join("\n")}

body = json.loads(r"""${pythonRaw(body)}""")
headers = {
    "Content-Type": "application/json",${header}
}
request = urllib.request.Request("${address}", json.dumps(body).encode(), headers)
with urllib.request.urlopen(request) as response:
    answer = json.load(response)
${then}
`;
}

/** JSON within a raw string of Python: three quotes in a row would end it. JSON can spell them otherwise. */
function pythonRaw(body: string): string {
  return body.replace(/\\(.)/g, (escape, character: string) => (character === '"' ? "\\u0022" : escape));
}

function javascript(address: string, body: string, then: string, { key, keyVariable }: Authority): string {
  const bearer = key ? JSON.stringify(`Bearer ${key}`) : keyVariable ? `\`Bearer \${process.env.${keyVariable}}\`` : "";
  const header = bearer ? `\n    "Authorization": ${bearer},` : "";
  const indented = body.replaceAll("\n", "\n  ");
  return `fetch("${address}", {
  method: "POST",
  headers: {
    "Content-Type": "application/json",${header}
  },
  body: JSON.stringify(${indented}),
})
  .then((response) => response.json())
  .then((answer) => ${then});
`;
}

export interface AppCall {
  url: string;
  /** Values to try. */
  variables: Record<string, string>;
  /** Empty where it is not known any more: then the code reads it from the environment. */
  key: string;
}

const APP_KEY = "SAEM_API_KEY";

/** A call of an app. */
export function appSnippet(language: Language, { url, variables, key }: AppCall): string {
  const body = JSON.stringify({ variables }, null, 2);
  const authority = key ? { key } : { keyVariable: APP_KEY };
  switch (language) {
    case "curl": return curl(url, body, authority);
    case "python": return python(url, body, 'print(answer["output"])', authority);
    case "javascript": return javascript(url, body, "console.log(answer.output)", authority);
  }
}
