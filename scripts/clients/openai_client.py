#!/usr/bin/env python3
"""Runs OpenAI's Python package and langchain-openai against a running `saem serve`.

    scripts/clients/openai_client.py http://127.0.0.1:8080 smollm2-135m use-multilingual

Needs the packages of scripts/clients/openai.txt.
"""

import asyncio
import json
import sys
from array import array
from enum import Enum

import openai
from langchain_openai import ChatOpenAI, OpenAIEmbeddings
from pydantic import BaseModel, Field

base, model, encoder = sys.argv[1].rstrip("/") + "/v1", sys.argv[2], sys.argv[3]
client = openai.OpenAI(base_url=base, api_key="none", max_retries=0)
conversation = [{"role": "system", "content": "Answer in one word."}, {"role": "user", "content": "What is the capital of France?"}]
checks = 0


def check(condition: bool, what: str, seen: object = "") -> None:
    global checks
    checks += 1
    if not condition:
        sys.exit(f"openai: {what}: {seen!r}")


def models() -> None:
    names = [one.id for one in client.models.list()]
    check(model in names, "the model is listed", names)
    check(client.models.retrieve(model).id == model, "the model is described")


def chat() -> None:
    answer = client.chat.completions.create(model=model, messages=conversation, temperature=0, max_completion_tokens=12)
    text = answer.choices[0].message.content
    check("Paris" in text, "the answer is right", text)
    check(answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens, "usage adds up", answer.usage)
    stream = client.chat.completions.create(model=model, messages=conversation, temperature=0, max_completion_tokens=12, stream=True,
                                            stream_options={"include_usage": True})
    chunks = list(stream)
    pieces = [choice.delta.content or "" for chunk in chunks for choice in chunk.choices]
    check("".join(pieces) == text, "the stream says the same", pieces)
    check(chunks[-1].usage.completion_tokens == answer.usage.completion_tokens, "the stream counts the same", chunks[-1])
    several = client.chat.completions.create(model=model, messages=conversation, n=3, seed=7, max_tokens=5, logprobs=True, top_logprobs=3, stop=["zzz"],
                                             presence_penalty=0.5, frequency_penalty=0.5, top_p=0.9)
    check(len(several.choices) == 3, "three choices", several)
    first = several.choices[0].logprobs.content[0]
    check(len(first.top_logprobs) == 3 and first.logprob <= 0, "log-probabilities", first)
    again = client.chat.completions.create(model=model, messages=conversation, n=3, seed=7, max_tokens=5, stop=["zzz"], presence_penalty=0.5,
                                           frequency_penalty=0.5, top_p=0.9)
    check([c.message.content for c in again.choices] == [c.message.content for c in several.choices], "a seed repeats", again)
    parts = [{"role": "user", "content": [{"type": "text", "text": "Say hello."}]}]
    check(client.chat.completions.create(model=model, messages=parts, max_tokens=4).choices[0].message.content is not None, "parts are read")
    # The answer goes back as it came, as programs do.
    history = conversation + [answer.choices[0].message, {"role": "user", "content": "Thank you."}]
    check(client.chat.completions.create(model=model, messages=history, max_tokens=4).usage.prompt_tokens > answer.usage.prompt_tokens, "a turn follows")


def korean() -> None:
    stream = client.chat.completions.create(model=model, messages=[{"role": "user", "content": "봄에 대해 한국어로 말해 줘. 안녕하세요"}], max_tokens=40, temperature=0,
                                            stream=True)
    # A generation may end inside a character, so the last piece is not looked at.
    pieces = [choice.delta.content or "" for chunk in stream for choice in chunk.choices if choice.finish_reason is None]
    check(all("\ufffd" not in piece for piece in pieces[:-1]), "no half characters", pieces)


def completions() -> None:
    answer = client.completions.create(model=model, prompt=["The capital of France is", "One, two, three,"], max_tokens=6, temperature=0, logprobs=2)
    check("Paris" in answer.choices[0].text and "four" in answer.choices[1].text, "prompts are continued", answer)
    check(len(answer.choices[0].logprobs.tokens) == 6, "log-probabilities of a text", answer.choices[0].logprobs)
    pieces = [chunk.choices[0].text for chunk in client.completions.create(model=model, prompt="The capital of France is", max_tokens=6, temperature=0, stream=True)]
    check("".join(pieces) == answer.choices[0].text, "the stream says the same", pieces)


class Feeling(str, Enum):
    positive = "positive"
    negative = "negative"


class Review(BaseModel):
    product: str = Field(max_length=20)
    feeling: Feeling
    stars: int = Field(ge=1, le=5)


WEATHER = {"type": "function", "function": {
    "name": "weather", "description": "The weather of a city.",
    "parameters": {"type": "object", "additionalProperties": False, "required": ["city", "unit"],
                   "properties": {"city": {"type": "string", "maxLength": 20}, "unit": {"enum": ["celsius", "fahrenheit"]}}}}}
TIME = {"type": "function", "function": {"name": "time", "description": "The time.", "parameters": {"type": "object", "properties": {}, "additionalProperties": False}}}


def forms() -> None:
    ask = [{"role": "user", "content": "Describe as JSON: I love this phone, five stars."}]
    parsed = client.chat.completions.parse(model=model, messages=ask, response_format=Review, temperature=0, max_tokens=60)
    check(isinstance(parsed.choices[0].message.parsed, Review), "a pydantic model comes back", parsed)
    answer = client.chat.completions.create(model=model, messages=ask, response_format={"type": "json_object"}, temperature=0, max_tokens=200)
    if answer.choices[0].finish_reason == "stop":
        check(isinstance(json.loads(answer.choices[0].message.content), dict), "an object", answer)
    form = {"type": "json_schema", "json_schema": {"name": "pick", "strict": True, "schema": {"enum": ["yes", "no"]}}}
    stream = client.chat.completions.create(model=model, messages=ask, response_format=form, stream=True, max_tokens=20)
    text = "".join(choice.delta.content or "" for chunk in stream for choice in chunk.choices)
    check(json.loads(text) in ("yes", "no"), "a stream keeps to the form", text)
    token = client.post("/../tokenize", body={"model": model, "prompt": " Paris", "add_special_tokens": False}, cast_to=object)["tokens"][0]
    biased = client.completions.create(model=model, prompt="The capital of France is", max_tokens=1, temperature=0, logit_bias={str(token): -100})
    check("Paris" not in biased.choices[0].text, "a bias of -100 forbids a token", biased)


def tools() -> None:
    ask = [{"role": "user", "content": "What is the weather in Seoul?"}]
    answer = client.chat.completions.create(model=model, messages=ask, tools=[WEATHER, TIME], tool_choice="required", temperature=0, max_tokens=80)
    choice = answer.choices[0]
    check(choice.finish_reason == "tool_calls" and choice.message.tool_calls, "a function is called", answer)
    named = client.chat.completions.create(model=model, messages=ask, tools=[WEATHER, TIME], temperature=0, max_tokens=80,
                                           tool_choice={"type": "function", "function": {"name": "weather"}}, parallel_tool_calls=False)
    call = named.choices[0].message.tool_calls[0]
    arguments = json.loads(call.function.arguments)
    check(call.function.name == "weather" and set(arguments) == {"city", "unit"}, "the named one, with its arguments", named)
    stream = client.chat.completions.create(model=model, messages=ask, tools=[WEATHER, TIME], temperature=0, max_tokens=80, stream=True,
                                            tool_choice={"type": "function", "function": {"name": "weather"}}, parallel_tool_calls=False)
    pieces = [piece for chunk in stream for choice in chunk.choices for piece in choice.delta.tool_calls or []]
    check(pieces[0].id and pieces[0].function.name == "weather", "a stream begins a call", pieces)
    check(json.loads("".join(piece.function.arguments or "" for piece in pieces)) == arguments, "and streams its arguments", pieces)
    # The conversation goes on with the function's answer.
    history = [*ask, named.choices[0].message, {"role": "tool", "tool_call_id": call.id, "content": "sunny, 21 degrees"}]
    check(client.chat.completions.create(model=model, messages=history, tools=[WEATHER], tool_choice="none", max_tokens=8).choices[0].message.content, "a result follows")
    silent = client.chat.completions.create(model=model, messages=ask, tools=[WEATHER], tool_choice="none", max_tokens=8)
    check(not silent.choices[0].message.tool_calls, "none is none", silent)


def cosine(a: list[float], b: list[float]) -> float:
    return sum(x * y for x, y in zip(a, b, strict=True))


def embeddings() -> None:
    texts = ["오늘은 날씨가 좋다.", "The weather is nice today.", "I like fish."]
    packed = client.embeddings.create(model=encoder, input=texts)  # this client asks for Base64
    plain = client.embeddings.create(model=encoder, input=texts, encoding_format="float")
    check([array("f", e.embedding) for e in packed.data] == [array("f", e.embedding) for e in plain.data] and len(plain.data[0].embedding) == 512, "both spellings agree")
    korean, english, fish = (e.embedding for e in plain.data)
    check(cosine(korean, english) > cosine(korean, fish) + 0.2, "meaning crosses languages", (cosine(korean, english), cosine(korean, fish)))
    check(plain.usage.prompt_tokens == plain.usage.total_tokens > 10, "tokens are counted", plain.usage)
    store = OpenAIEmbeddings(base_url=base, api_key="none", model=encoder, check_embedding_ctx_length=False)
    # The client's own rounding is that of JSON.
    check(cosine(store.embed_query(texts[0]), korean) > 0.999, "langchain-openai embeds")
    check(len(store.embed_documents(texts)) == 3, "langchain-openai embeds several")


def errors() -> None:
    for kind, status, param, code, call in (
            (openai.NotFoundError, 404, "model", "model_not_found", lambda: client.chat.completions.create(model="gpt", messages=conversation)),
            (openai.BadRequestError, 400, "temperature", "invalid_value",
             lambda: client.chat.completions.create(model=model, messages=conversation, temperature=3)),
            (openai.BadRequestError, 400, "speed", "unknown_parameter",
             lambda: client.chat.completions.create(model=model, messages=conversation, extra_body={"speed": 9})),
            (openai.BadRequestError, 400, "prompt", "context_length_exceeded", lambda: client.completions.create(model=model, prompt="a b " * 40_000)),
    ):
        try:
            call()
            check(False, f"{code} is an error")
        except kind as error:
            check((error.status_code, error.param, error.code) == (status, param, code), code, error)
            check(bool(error.request_id), "errors have an id", error.response.headers)


async def together() -> None:
    many = openai.AsyncOpenAI(base_url=base, api_key="none")
    ask = lambda: many.chat.completions.create(model=model, messages=conversation, temperature=0, max_tokens=8)
    texts = {answer.choices[0].message.content for answer in await asyncio.gather(*(ask() for _ in range(8)))}
    check(all("Paris" in text for text in texts), "eight at once", texts)


def langchain() -> None:
    chain = ChatOpenAI(base_url=base, api_key="none", model=model, temperature=0, max_tokens=12)
    answer = chain.invoke([("system", "Answer in one word."), ("human", "What is the capital of France?")])
    check("Paris" in answer.content and answer.usage_metadata["output_tokens"] > 0, "langchain-openai answers", answer)
    pieces = [piece.content for piece in chain.stream([("system", "Answer in one word."), ("human", "What is the capital of France?")])]
    check("".join(pieces) == answer.content, "langchain-openai streams the same", pieces)
    review = ChatOpenAI(base_url=base, api_key="none", model=model, temperature=0, max_tokens=60)
    check(isinstance(review.with_structured_output(Review).invoke("I love this phone, five stars."), Review), "langchain-openai's structured output")
    called = review.bind_tools([WEATHER], tool_choice="weather").invoke("What is the weather in Seoul?")
    check(called.tool_calls[0]["name"] == "weather", "langchain-openai's tools", called)


models()
chat()
korean()
completions()
forms()
tools()
embeddings()
errors()
asyncio.run(together())
langchain()
print(f"openai {openai.__version__}, langchain-openai: {checks} checks passed")
