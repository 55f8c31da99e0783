"""OpenAI's client against the server that OPENAI_BASE_URL names."""

import unittest

import openai

MODEL = "served"
QUESTION = [{"role": "user", "content": "Who is it?"}]


class Client(unittest.TestCase):
    def setUp(self):
        self.client = openai.OpenAI(max_retries=0)
        self.addCleanup(self.client.close)

    def test_models(self):
        self.assertEqual([m.id for m in self.client.models.list()], [MODEL])
        self.assertEqual(self.client.models.retrieve(MODEL).id, MODEL)

    def test_completion(self):
        answer = self.client.completions.create(
            model=MODEL, prompt="ROMEO:", max_tokens=8, n=2, seed=1, temperature=0.9, logprobs=2
        )
        self.assertEqual([c.index for c in answer.choices], [0, 1])
        self.assertEqual(answer.usage.completion_tokens, 16)
        for choice in answer.choices:
            self.assertEqual(choice.finish_reason, "length")
            self.assertEqual("".join(choice.logprobs.tokens), choice.text)
            self.assertEqual(len(choice.logprobs.top_logprobs), 8)

    def test_completion_by_ids(self):
        answer = self.client.completions.create(model=MODEL, prompt=[[1, 2], [3]], max_tokens=2)
        self.assertEqual(len(answer.choices), 2)
        self.assertEqual(answer.usage.prompt_tokens, 3)

    def test_completion_stream(self):
        asked = {"model": MODEL, "prompt": "Call me", "max_tokens": 8}
        whole = self.client.completions.create(**asked).choices[0].text
        parts = self.client.completions.create(**asked, stream=True)
        self.assertEqual("".join(p.choices[0].text for p in parts), whole)

    def test_chat(self):
        answer = self.client.chat.completions.create(
            model=MODEL, messages=QUESTION, max_tokens=8, logprobs=True, top_logprobs=3
        )
        choice = answer.choices[0]
        self.assertEqual(choice.message.role, "assistant")
        content = choice.logprobs.content
        self.assertEqual("".join(t.token for t in content), choice.message.content)
        self.assertTrue(all(len(t.top_logprobs) == 3 for t in content))
        self.assertGreater(answer.usage.ztt["mean_cycles"], 0)

    def test_chat_stream(self):
        asked = {"model": MODEL, "messages": QUESTION, "max_completion_tokens": 8}
        whole = self.client.chat.completions.create(**asked)
        parts = list(
            self.client.chat.completions.create(
                **asked, stream=True, stream_options={"include_usage": True}
            )
        )
        texts = [p.choices[0].delta.content or "" for p in parts if p.choices]
        self.assertEqual("".join(texts), whole.choices[0].message.content)
        self.assertEqual(parts[-1].usage.completion_tokens, whole.usage.completion_tokens)

    def test_conversation(self):
        """Answers are sent back as they are, and as `model_dump` writes them."""
        create = self.client.chat.completions.create
        messages = [{"role": "developer", "content": "SCENE II."}, *QUESTION]
        answers = []
        for again in ["Why so?", "And whence?", None]:
            answer = create(model=MODEL, messages=messages, max_tokens=6).choices[0].message
            answers.append(answer.content)
            messages.append(answer)
            messages.append({"role": "user", "content": again, "name": "bob"})
        plain = [{"role": "system", "content": "SCENE II."}, *QUESTION]
        for answer, again in zip(answers[:2], ["Why so?", "And whence?"]):
            plain.append({"role": "assistant", "content": answer})
            parts = [{"type": "text", "text": again[:3]}, {"type": "text", "text": again[3:]}]
            plain.append({"role": "user", "content": parts})
        last = create(model=MODEL, messages=plain, max_tokens=6).choices[0].message
        self.assertEqual(last.content, answers[2])
        dumped = [m if isinstance(m, dict) else m.model_dump() for m in messages[:-2]]
        last = create(model=MODEL, messages=dumped, max_tokens=6).choices[0].message
        self.assertEqual(last.content, answers[2])
        stream = create(
            model=MODEL,
            messages=messages[:-2],
            max_tokens=6,
            stream=True,
            stream_options={"include_usage": True, "include_obfuscation": False},
        )
        texts = [p.choices[0].delta.content or "" for p in stream if p.choices]
        self.assertEqual("".join(texts), answers[2])

    def test_stop(self):
        asked = {"model": MODEL, "messages": QUESTION, "max_tokens": 12}
        whole = self.client.chat.completions.create(**asked).choices[0].message.content
        stop = whole[5:8]
        cut = self.client.chat.completions.create(**asked, stop=[stop, "nowhere"]).choices[0]
        self.assertEqual(cut.message.content, whole[: whole.index(stop)])
        self.assertEqual(cut.finish_reason, "stop")

    def test_errors(self):
        create = self.client.chat.completions.create
        with self.assertRaises(openai.BadRequestError) as raised:
            create(model=MODEL, messages=QUESTION, frequency_penalty=0.5)
        self.assertEqual(raised.exception.param, "frequency_penalty")
        with self.assertRaises(openai.BadRequestError) as raised:
            create(model=MODEL, messages=[{"role": "user", "content": "word " * 400}])
        self.assertEqual(raised.exception.code, "context_length_exceeded")
        with self.assertRaises(openai.NotFoundError):
            create(model="other", messages=QUESTION)
        with self.assertRaises(openai.AuthenticationError):
            self.client.with_options(api_key="wrong").models.list()


class SmolLM2(unittest.TestCase):
    def test_chat(self):
        with openai.OpenAI(max_retries=0) as client:
            question = {"role": "user", "content": "What is the capital of France?"}
            answer = client.chat.completions.create(
                model=MODEL, messages=[question], max_tokens=16
            )
        self.assertEqual(answer.choices[0].message.content, "The capital of France is Paris.")
        self.assertEqual(answer.choices[0].finish_reason, "stop")
