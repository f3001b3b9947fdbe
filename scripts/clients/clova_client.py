#!/usr/bin/env python3
"""Runs three real clients of CLOVA Studio against a running `saem serve`.

    scripts/clients/clova_client.py http://127.0.0.1:8080 [key]

`langchain-naver` speaks the route in OpenAI's shape, `langchain-community` version 1, `strands-clova` version 3. What has no
client (the completions of 2021, the explorer's tools) is asked in the way of NAVER's example code: plain HTTP.
Needs the packages of scripts/clients/clova.txt.
"""

import asyncio
import json
import sys
import urllib.error
import urllib.request

from langchain_community.chat_models import ChatClovaX as CommunityChat
from langchain_community.embeddings import ClovaXEmbeddings as CommunityEmbeddings
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage
from langchain_naver import ChatClovaX, ClovaXEmbeddings
from strands_clova import ClovaModel

base = sys.argv[1].rstrip("/")
key = sys.argv[2] if len(sys.argv) > 2 else "nv-none"
checks = 0


def check(condition: bool, what: str, seen: object = "") -> None:
    global checks
    checks += 1
    if not condition:
        sys.exit(f"clova: {what}: {seen!r}")


def post(path: str, body: dict) -> tuple[int, dict]:
    headers = {"Content-Type": "application/json", "Authorization": f"Bearer {key}", "X-NCP-CLOVASTUDIO-REQUEST-ID": "clova-check-1"}
    request = urllib.request.Request(base + path, json.dumps(body).encode(), headers)
    try:
        with urllib.request.urlopen(request) as response:
            check(response.headers["X-NCP-CLOVASTUDIO-REQUEST-ID"] == "clova-check-1", "the request id comes back")
            return response.status, json.load(response)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


def result(path: str, body: dict) -> dict:
    status, answer = post(path, body)
    check(status == 200 and answer["status"] == {"code": "20000", "message": "OK"}, path, answer)
    return answer["result"]


def langchain_naver() -> None:
    chat = ChatClovaX(base_url=f"{base}/v1/openai", api_key=key, model="HCX-005", max_tokens=12, temperature=0.0,
                      top_k=40, repetition_penalty=1.1, seed=7)
    conversation = [SystemMessage("Answer in one word."), HumanMessage("What is the capital of France?")]
    answer = chat.invoke(conversation)
    check(bool(answer.content), "langchain-naver answers", answer)
    check(0 < answer.usage_metadata["output_tokens"] <= 12, "langchain-naver counts", answer.usage_metadata)
    pieces = [piece.content for piece in chat.stream(conversation)]
    check("".join(pieces) == answer.content, "langchain-naver streams the same", pieces)
    check("\ufffd" not in answer.content, "no broken character", answer.content)
    old = ChatClovaX(base_url=f"{base}/v1/openai", api_key=key, model="HCX-003", max_tokens=4, repeat_penalty=5.0)
    check(isinstance(old.invoke("안녕").content, str), "langchain-naver's repeat_penalty is taken")


def langchain_community() -> None:
    chat = CommunityChat(base_url=base, api_key=key, model="HCX-003", max_tokens=12, temperature=0.5, seed=7)
    conversation = [SystemMessage("너는 친절해."), HumanMessage("안녕?"), AIMessage("안녕하세요."), HumanMessage("오늘 날씨 어때?")]
    answer = chat.generate([conversation])
    told, message = answer.llm_output, answer.generations[0][0].message
    check(bool(message.content), "langchain-community answers", message)
    check(message.usage_metadata["input_tokens"] > 10, "langchain-community counts", message.usage_metadata)
    pieces = list(chat.stream(conversation))
    check("".join(piece.content for piece in pieces) == message.content, "the same seed streams the same", pieces)
    last = {name: value for piece in pieces for name, value in piece.response_metadata.items()}
    check(last["seed"] == 7 and last["stop_reason"] in ("length", "stop_before"), "the result event is read", last)
    check(0 < last["output_length"] <= 12, "the result event counts", (told, last))

    async def streamed() -> str:
        return "".join([piece.content async for piece in chat.astream(conversation)])

    check(asyncio.run(streamed()) == message.content, "it streams asynchronously")
    old_key = CommunityChat(base_url=base, api_key="old-key" if key == "nv-none" else key, apigw_api_key="gateway",
                            model="HCX-DASH-001", max_tokens=3, service_app=True)
    check(isinstance(old_key.invoke("hi").content, str), "the headers of 2024 are taken")
    try:
        CommunityChat(base_url=base, api_key=key, model="no-such-model").invoke("hi")
        check(False, "an unknown model is refused")
    except Exception as error:
        check("40080" in str(error), "an unknown model is refused by NAVER's code", str(error))


def strands() -> None:
    model = ClovaModel(model="HCX-005", api_key=key, temperature=0.0, max_tokens=16)
    model.base_url = f"{base}/v3/chat-completions/HCX-005"

    async def said(**arguments: object) -> tuple[str, list]:
        events = [event async for event in model.stream("What is the capital of France?", system_prompt="Answer in one word.", **arguments)]
        text = "".join(event["contentBlockDelta"]["delta"]["text"] for event in events if "contentBlockDelta" in event)
        return text, [event for event in events if "messageStop" in event]

    text, _ = asyncio.run(said())
    check(bool(text), "strands-clova answers", text)
    whole = result("/v3/chat-completions/HCX-005", {
        "messages": [{"role": "system", "content": [{"type": "text", "text": "Answer in one word."}]},
                     {"role": "user", "content": [{"type": "text", "text": "What is the capital of France?"}]}],
        "temperature": 0, "maxTokens": 16})
    check(text == whole["message"]["content"], "strands-clova says every token once", (text, whole))
    check(whole["usage"]["totalTokens"] == whole["usage"]["promptTokens"] + whole["usage"]["completionTokens"], "usage", whole)
    first = text.strip().split()[0]
    _, stops = asyncio.run(said(stop=[first[-1]]))
    check(len(stops) == 1, "strands-clova sees one end", stops)


def cosine(a: list[float], b: list[float]) -> float:
    return sum(x * y for x, y in zip(a, b, strict=True))


def embeddings() -> None:
    texts = ["오늘은 날씨가 좋다.", "The weather is nice today.", "I like fish."]
    native = CommunityEmbeddings(base_url=base, api_key=key, model="bge-m3")
    shaped = ClovaXEmbeddings(base_url=f"{base}/v1/openai", api_key=key, model="bge-m3")
    for client in (native, shaped):
        korean, english, fish = client.embed_documents(texts)
        check(len(korean) == 1024, "vectors of the documented size", len(korean))
        check(cosine(korean, english) > cosine(korean, fish) + 0.2, "meaning crosses languages", (cosine(korean, english), cosine(korean, fish)))
    check(native.embed_query(texts[0]) == native.embed_documents(texts)[0], "a query is a document")
    old = CommunityEmbeddings(base_url=base, api_key="old-key", apigw_api_key="gateway", app_id="my-app", model="clir-emb-dolphin")
    check(key != "nv-none" or len(old.embed_query("안녕")) == 1024, "the headers of 2024 are taken")
    tokens = result("/v1/api-tools/embedding/v2/tokenize", {"text": texts[0]})["numTokens"]
    check(result("/v1/api-tools/embedding/v2", {"text": texts[0]})["inputTokens"] == tokens > 3, "tokens are counted", tokens)


def forms_and_functions() -> None:
    ask = [{"role": "user", "content": "What is the weather in Seoul?"}]
    schema = {"type": "object", "additionalProperties": False, "required": ["city", "unit"],
              "properties": {"city": {"type": "string", "maxLength": 20}, "unit": {"enum": ["celsius", "fahrenheit"]}}}
    formed = result("/v3/chat-completions/HCX-007", {"messages": ask, "maxTokens": 80, "temperature": 0, "responseFormat": {"type": "json", "schema": schema}})
    check(set(json.loads(formed["message"]["content"])) == {"city", "unit"} and formed["finishReason"] == "stop", "a form is kept", formed)
    tools = [{"type": "function", "function": {"name": "weather", "description": "The weather of a city.", "parameters": schema}}]
    called = result("/v3/chat-completions/HCX-005", {"messages": ask, "maxTokens": 80, "temperature": 0, "tools": tools,
                                                     "toolChoice": {"type": "function", "function": {"name": "weather"}}})
    call = called["message"]["toolCalls"][0]
    check(called["finishReason"] == "tool_calls" and set(call["function"]["arguments"]) == {"city", "unit"}, "a function is called", called)
    history = [*ask, {"role": "assistant", "content": "", "toolCalls": called["message"]["toolCalls"]},
               {"role": "tool", "toolCallId": call["id"], "content": "sunny"}]
    said = result("/v3/chat-completions/HCX-005", {"messages": history, "maxTokens": 8, "tools": tools, "toolChoice": "none"})
    check("toolCalls" not in said["message"], "its result is taken", said)
    tool = ChatClovaX(base_url=f"{base}/v1/openai", api_key=key, model="HCX-005", temperature=0.0, max_tokens=80).bind_tools(tools, tool_choice="weather")
    check(tool.invoke("What is the weather in Seoul?").tool_calls[0]["name"] == "weather", "langchain-naver's tools")


def plain() -> None:
    done = result("/testapp/v1/completions/LK-D2", {
        "text": "Q: What is 2 + 2?", "start": "\nA:", "restart": "\nQ:", "stopBefore": ["\n"], "maxTokens": 8, "temperature": 0.0,
        "topP": 0.8, "topK": 0, "repeatPenalty": 5.0, "includeTokens": True, "includeAiFilters": True, "includeProbs": True})
    check(done["outputText"].startswith("\nA:") and done["outputText"].endswith("\nQ:"), "start and restart", done)
    check(done["text"] == "Q: What is 2 + 2?" + done["outputText"], "the whole text", done)
    check(len(done["probs"]) == len(done["outputTokens"]) and len(done["inputTokens"]) == done["inputLength"], "tokens", done)

    status, refused = post("/v1/completions/LK-D2", {"text": "a", "topQ": 1})
    check((status, refused["status"]["code"]) == (400, "40001") and "topQ" in refused["status"]["message"], "a misspelt field", refused)

    conversation = [{"role": "system", "content": "Be kind."}, {"role": "user", "content": "Hello!"},
                    {"role": "assistant", "content": "Hello."}, {"role": "user", "content": "And now?"}]
    counted = result("/v1/api-tools/chat-tokenize/HCX-003", {"messages": conversation})["messages"]
    total = sum(message["count"] for message in counted)
    used = result("/v1/chat-completions/HCX-003", {"messages": conversation, "maxTokens": 1})["inputLength"]
    check(0 < total <= used <= total + 8, "counts add up to the prompt", (total, used))
    slid = result("/v1/api-tools/sliding/chat-messages/HCX-003", {"messages": conversation, "maxTokens": 100})
    check(slid["messages"] == conversation, "what fits stays", slid)
    long = [conversation[0], {"role": "user", "content": "word " * 3000}, *conversation[2:]]
    slid = result("/v1/api-tools/sliding/chat-messages/HCX-003", {"messages": long, "maxTokens": 4096 - 3000})
    check(slid["messages"] in ([conversation[0], conversation[3]], long), "the oldest turn goes", slid)

    topics = ("The garden has red roses. Roses need water in the garden. Water the roses every morning. "
              "A computer has a processor. The processor of a computer runs programs. Programs are stored on the computer.")
    parted = result("/v1/api-tools/segmentation", {"text": topics, "alpha": -100, "segCnt": -1, "postProcess": False})
    check(parted["span"] == [[0, 1, 2], [3, 4, 5]], "two topics are told apart", parted)
    summary = result("/v1/api-tools/summarization/v2", {"texts": [topics], "segCount": 2, "segMinSize": 0, "segMaxSize": 1000})
    check(summary["text"].startswith("- ") and len(summary["text"].splitlines()) == 2, "one line for each part", summary)


for step in (langchain_naver, langchain_community, strands, embeddings, forms_and_functions, plain):
    step()
    print(f"clova: {step.__name__} works")
print(f"clova: {checks} checks passed")
