#!/usr/bin/env python3
"""Runs OpenAI's Python package and langchain-openai against a running `saem serve`.

    scripts/clients/openai.py http://127.0.0.1:8080 smollm2-135m

Needs the packages of scripts/clients/openai.txt.
"""

import sys

# This file has the name of a package that it needs: its own folder is not where to look for it.
sys.path = [path for path in sys.path if not path.rstrip("/").endswith("scripts/clients")]

import asyncio  # noqa: E402

import openai  # noqa: E402
from langchain_openai import ChatOpenAI  # noqa: E402

base, model = sys.argv[1].rstrip("/") + "/v1", sys.argv[2]
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


models()
chat()
korean()
completions()
errors()
asyncio.run(together())
langchain()
print(f"openai {openai.__version__}, langchain-openai: {checks} checks passed")
