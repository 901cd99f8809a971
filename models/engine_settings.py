"""Settings of an engine in colm.toml. Imports no torch."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, JsonValue, field_validator, model_validator

from colm.models.messages import Message
from colm.models.urls import HttpUrl, is_secret

#: Request fields that may be omitted.
OmittedField = Literal["seed", "temperature", "top_p", "stop", "max_tokens"]
TokensField = Literal["max_tokens", "max_completion_tokens"]
HeaderName = Annotated[str, Field(pattern=r"^[A-Za-z0-9!#$%&'*+.^_`|~-]+$", max_length=100)]
HeaderValue = Annotated[str, Field(pattern=r"^[\x20-\x7e]*$", max_length=4_000)]
Variable = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")]

#: Request fields that CoLM sets itself.
_OWN_FIELDS = {
    "model", "messages", "stream", "seed", "temperature", "top_p", "stop", "max_tokens",
    "max_completion_tokens",
}  # fmt: skip


class EngineSettings(Message):
    """Engine kind, model, and limits."""

    #: transformers: in this process, with CoLM's continuous batching. paged: in this process, with
    #: transformers' continuous batching, for GPUs. openvino: in this process, for CPUs. openai: an
    #: OpenAI-compatible endpoint (vLLM, SGLang, llama.cpp, Ollama). scripted: fixed replies without
    #: a model, for tests and benchmarks. sandbox: runs code with its tests.
    kind: Literal["transformers", "paged", "openvino", "openai", "scripted", "sandbox"] = (
        "transformers"
    )
    #: transformers, paged: a local folder, a hub id, or a .gguf file. openvino: a local folder.
    #: openai: the endpoint's model name.
    model: str = Field(default="quickstart", min_length=1, max_length=400)
    device: str = Field(default="auto", pattern=r"^(auto|cpu|cuda(:\d+)?)$")
    #: auto: bfloat16, or float32 on a CPU without bfloat16. int8 (transformers, x86 CPUs): linear
    #: layers quantized to eight-bit integers, faster and slightly less exact.
    dtype: Literal["auto", "float32", "bfloat16", "float16", "int8"] = "auto"
    #: CPU threads of this process; None is torch's default.
    threads: int | None = Field(default=None, ge=1, le=512)
    #: Concurrent requests.
    max_num_seqs: int = Field(default=8, ge=1, le=1024)
    #: KV cache of all running requests together.
    kv_cache_tokens: int = Field(default=32_768, ge=256)
    #: Context length; lower than the model's own saves memory.
    max_model_len: int | None = Field(default=None, ge=64)
    #: KV cache of finished requests, for prompts with the same prefix; 0 disables the prefix cache.
    prefix_cache_tokens: int = Field(default=16_384, ge=0)
    #: transformers: draft tokens of prompt lookup decoding; 0 disables it.
    num_speculative_tokens: int = Field(default=4, ge=0, le=16)
    #: transformers: number of devices for tensor parallelism.
    tensor_parallel: int = Field(default=1, ge=1, le=64)
    #: transformers, paged, openvino: run Python code from the model's folder in this process.
    trust_remote_code: bool = False
    #: openai: the endpoint's URL up to and including /v1.
    base_url: HttpUrl | None = Field(default=None, repr=False)
    #: openai: name of the environment variable with the key; never the key itself.
    api_key_env: Variable | None = None
    #: openai: request fields that the endpoint rejects; CoLM then applies `stop` itself.
    omit: tuple[OmittedField, ...] = ()
    #: openai: the field that limits a completion.
    max_tokens_field: TokensField = "max_tokens"
    #: openai: whether the endpoint accepts system turns; if not, their text begins the user's turn.
    system_role: bool = True
    #: openai: additional request fields and headers; secret headers by the names of the
    #: environment variables with their values.
    extra_body: dict[str, JsonValue] = Field(default_factory=dict)
    extra_headers: dict[HeaderName, HeaderValue] = Field(default_factory=dict)
    extra_headers_env: dict[HeaderName, Variable] = Field(default_factory=dict)
    #: openai: HTTP proxy, not used for loopback addresses; proxy environment variables are ignored.
    proxy: str | None = Field(default=None, repr=False, pattern=r"^https?://")
    #: openai: PEM file of the trusted CAs; None trusts the public ones.
    ca_file: str | None = Field(default=None, min_length=1)
    #: openai: seconds of one attempt, and number of retries.
    timeout: float = Field(default=120.0, gt=0, le=3_600)
    retries: int = Field(default=4, ge=0, le=20)
    #: scripted: `{last}` is replaced by the first 80 characters of the last turn.
    reply: str = Field(default="I have read: {last}", max_length=10_000)
    #: scripted: seconds before the reply.
    delay: float = Field(default=0.0, ge=0, le=3_600)
    #: scripted, for tests: a request with this text kills the process (SIGKILL) after `delay`.
    crash_on: str | None = Field(default=None, min_length=1, max_length=200)
    #: scripted, for tests: a request with this text blocks the engine for ever.
    stall_on: str | None = Field(default=None, min_length=1, max_length=200)
    #: sandbox: processor seconds (wall-clock limit: three times as long) and memory of a program.
    run_seconds: float = Field(default=10.0, gt=0, le=3_600)
    run_megabytes: int = Field(default=512, ge=64, le=65_536)

    @property
    def local(self) -> bool:
        """Whether the weights are loaded into this process."""
        return self.kind in ("transformers", "paged", "openvino")

    def __hash__(self) -> int:
        """Defined because the dict fields are not hashable."""
        return hash((self.kind, self.model, self.base_url))

    @field_validator("extra_body")
    @classmethod
    def _no_own_field(cls, extra: dict[str, JsonValue]) -> dict[str, JsonValue]:
        if own := sorted(extra.keys() & _OWN_FIELDS):
            raise ValueError(
                f"{own[0]} is set elsewhere: use the sampling table, omit, max_tokens_field or"
                " system_role"
            )
        return extra

    @field_validator("extra_headers")
    @classmethod
    def _no_secret(cls, headers: dict[str, str]) -> dict[str, str]:
        if secret := [name for name in headers if is_secret(name)]:
            raise ValueError(
                f"{secret[0]} looks like a secret: put it into an environment variable, and the"
                " variable's name into extra_headers_env"
            )
        return headers

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.kind == "openai" and not self.base_url:
            raise ValueError("base_url is needed when kind is 'openai'")
        if self.tensor_parallel > 1 and self.kind != "transformers":
            raise ValueError(
                "tensor_parallel is for kind 'transformers'; other servers have their own setting"
            )
        if self.dtype == "int8" and self.kind in ("paged", "openvino"):
            raise ValueError(
                "dtype 'int8' is for kind 'transformers'; for openvino, compress the folder instead"
            )
        if self.dtype == "int8" and self.tensor_parallel > 1:
            raise ValueError("dtype 'int8' runs in one process: set tensor_parallel = 1")
        return self
