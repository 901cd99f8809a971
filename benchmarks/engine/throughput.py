"""Throughput of engines on one device: ours beside its peers, on the same work.

Mixed requests, all at once: prompts of 51 to 583 tokens, completions of 19 to 244. Whole queries of
CoLM: three drafts, a synthesis, three refinements. Refinements with the draft's KV kept, and not.
Greedy, 16-bit weights, lengths fixed. With --gpu: random weights of real shape on the GPU.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from functools import partial
from pathlib import Path

import torch

from benchmarks.engine.gpu import run_gpu
from benchmarks.engine.llama_server import llama
from benchmarks.engine.peers import (
    Absent,
    EnginePeer,
    Peer,
    StaticPeer,
    openvino,
    ours,
    paged,
    timed,
)
from benchmarks.engine.work import Call, Refinement, mixed, of_length, run_flow, run_stages
from benchmarks.harness.endless_weights import endless_weights
from benchmarks.harness.report import Report, parser, progress
from colm.models.engine_settings import EngineSettings
from colm.models.engines.native.precision import cpu_dtype
from colm.models.engines.native.tokenizer import ChatTokenizer
from colm.models.engines.native.weights import load
from colm.models.messages import Turn

#: Requests that run together, in every engine that can.
BATCH = 8
#: Tokens of the questions whose refinement is timed, and of their drafts and answers.
QUESTION_TOKENS, REFINED_TOKENS = (150, 500, 1500), 64
RATIOS = {
    "ours_vs_sequential": ("one at a time", "how much faster than `generate` for each request"),
    "ours_vs_static": ("static batches", "how much faster than padded batches of 8"),
    "ours_vs_sorted_static": ("sorted static", "the same, with requests sorted by length"),
    "ours_vs_manager": ("paged", "how much faster than transformers' batching"),
    "ours_vs_llamacpp": ("llama.cpp", "how much faster than llama.cpp's server, 16 bits both"),
    "ours_vs_not_guessing": ("ours, guessing", "what guessing ahead from the prompt gives"),
    "ours_vs_openvino": ("OpenVINO", "how much faster than OpenVINO GenAI, 16 bits both"),
}


def main() -> None:
    arguments = parser(__doc__)
    arguments.add_argument("--requests", type=int, default=16, help="mixed requests at once")
    arguments.add_argument(
        "--queries", type=int, default=8, help="queries of CoLM at once; 0: none"
    )
    arguments.add_argument("--repeats", type=int, default=3, help="samples of each engine")
    arguments.add_argument("--threads", type=int, default=torch.get_num_threads())
    arguments.add_argument("--llama-server", metavar="PATH", help="default: the one on the PATH")
    arguments.add_argument("--vllm", metavar="PROGRAM", help="with --gpu: vLLM's program, a peer")
    arguments.add_argument(
        "--gpu", choices=("8b", "32b", "tiny"), help="random weights of that shape"
    )
    options = arguments.parse_args()
    report = run_gpu(options) if options.gpu else run_cpu(options)
    report.publish(options.json)


def run_cpu(options: argparse.Namespace) -> Report:
    if options.quick:
        options.requests, options.queries, options.repeats = 5, 0, 1
    settings = EngineSettings(max_num_seqs=BATCH, threads=options.threads, device="cpu")
    report = Report(
        "engine",
        settings={
            "requests": options.requests, "queries": options.queries, "repeats": options.repeats,
            "batch": BATCH, "threads": options.threads,
            "dtype": cpu_dtype(settings.dtype),
        },
    )  # fmt: skip
    with endless_weights() as folder, tempfile.TemporaryDirectory() as scratch:
        with _peers(folder, Path(scratch), settings, options, report) as peers:
            _measure(peers, folder, settings, options, report)
        _measure_refining(folder, settings, options, report)
    return report


@contextmanager
def _peers(
    folder: Path,
    scratch: Path,
    settings: EngineSettings,
    options: argparse.Namespace,
    report: Report,
) -> Iterator[list[Peer]]:
    """All that can be had; who is missing is reported with the reason."""
    plain = load(settings, model_path=str(folder))
    tokenizer = ChatTokenizer(plain.tokenizer)
    blind = settings.model_copy(update={"num_speculative_tokens": 0})
    makers: dict[str, Callable[[], Peer]] = {
        "one at a time": lambda: StaticPeer("one at a time", plain, batch=1, by_length=False),
        "static": lambda: StaticPeer("static batches of 8", plain, batch=BATCH, by_length=False),
        "sorted": lambda: StaticPeer("sorted static batches", plain, batch=BATCH, by_length=True),
        "paged": lambda: paged(load(settings, model_path=str(folder)), settings),
        "llama.cpp server": lambda: llama(
            folder, scratch, tokenizer, program=options.llama_server, threads=options.threads
        ),
        "OpenVINO GenAI": lambda: openvino(_linked(folder, scratch), settings),
        "ours": lambda: ours(load(settings, model_path=str(folder)), settings),
        "ours, guessing nothing": lambda: ours(
            load(settings, model_path=str(folder)), blind, "ours, guessing nothing"
        ),
    }
    if options.quick:
        for left_out in ("llama.cpp server", "OpenVINO GenAI", "static", "sorted"):
            del makers[left_out]
            report.missing(left_out, "left out by --quick")
    with ExitStack() as stack:
        peers: list[Peer] = []
        for name, make in makers.items():
            try:
                peers.append(stack.enter_context(closing(make())))
            except Absent as error:
                report.missing(name, str(error))
        yield peers


def _linked(folder: Path, scratch: Path) -> Path:
    """The folder under another name: what is converted lands beside it."""
    link = scratch / "model"
    link.symlink_to(folder)
    return link


def _measure(
    peers: list[Peer],
    folder: Path,
    settings: EngineSettings,
    options: argparse.Namespace,
    report: Report,
) -> None:
    counter = ChatTokenizer(load(settings, model_path=str(folder)).tokenizer)
    scale = 0.25 if options.quick else 1.0
    samples = [
        mixed(options.requests, lambda chat: len(counter.encode(chat)), sample=n, scale=scale)
        for n in range(options.repeats)
    ]
    warm = Call(messages=(Turn(role="user", content="Is everything awake?"),), tokens=8)
    for peer in peers:
        peer.generate([warm] * 2)
    rates = _sampled(peers, options.repeats, lambda peer, n: _mixed_work(peer, samples[n]))
    _report(report, rates, "mixed requests", "")
    if options.queries:
        rates = _sampled(
            peers, options.repeats, lambda peer, n: _query_work(peer, options.queries, n)
        )
        _report(report, rates, "CoLM queries", "_colm")
    for peer in peers:
        if isinstance(peer, EnginePeer):
            print(f"{peer.name}: {peer.engine.stats.summary()}")


def _sampled(
    peers: list[Peer], repeats: int, work: Callable[[Peer, int], int]
) -> dict[str, list[float]]:
    """Tokens per second of each peer; in turns, so that a busy minute meets them all."""
    rates: dict[str, list[float]] = {peer.name: [] for peer in peers}
    with progress() as bar:
        for sample in bar.track(range(repeats), description="generating"):
            for peer in peers:
                rates[peer.name].append(timed(partial(work, peer, sample)))
                # A whole run takes a quarter of an hour: should it be cut short, this is left.
                print(f"{peer.name}: {rates[peer.name][-1]:.1f} tokens/s", file=sys.stderr)
    return rates


def _mixed_work(peer: Peer, calls: list[Call]) -> int:
    peer.generate(calls)
    return sum(call.tokens for call in calls)


def _query_work(peer: Peer, queries: int, sample: int) -> int:
    if not peer.flows:
        return run_stages(queries, peer.generate, sample)
    with ThreadPoolExecutor(queries) as threads:
        return sum(threads.map(lambda n: run_flow(n, peer.generate, sample), range(queries)))


def _report(report: Report, rates: dict[str, list[float]], work: str, suffix: str) -> None:
    for name, samples in rates.items():
        report.measured(f"{work}: {name}", samples, unit="tokens/s")
    mine = rates["ours"]
    for ratio, (prefix, meaning) in RATIOS.items():
        for name, samples in rates.items():
            if name.startswith(prefix):
                report.compared(
                    f"{ratio}{suffix}", over=mine, under=samples, meaning=f"{work}: {meaning}"
                )


def _measure_refining(
    folder: Path, settings: EngineSettings, options: argparse.Namespace, report: Report
) -> None:
    """Refinements end to end, their drafts' KV kept and not kept."""
    sizes = QUESTION_TOKENS[:1] if options.quick else QUESTION_TOKENS
    tokens = REFINED_TOKENS // (4 if options.quick else 1)
    without = settings.model_copy(update={"prefix_cache_tokens": 0})
    with ExitStack() as stack:
        pair = {}
        for name, kind in (("kept", settings), ("not kept", without)):
            peer = ours(load(kind, model_path=str(folder)), kind, name)
            pair[name] = stack.enter_context(closing(peer))
        counter = ChatTokenizer(load(settings, model_path=str(folder)).tokenizer)
        for size in sizes:
            seconds: dict[str, list[float]] = {name: [] for name in pair}
            for sample in range(options.repeats):
                text = of_length(size, lambda chat: len(counter.encode(chat)), size + sample)
                for name, peer in pair.items():
                    seconds[name].append(_refined(peer, Refinement(question=text, tokens=tokens)))
            for name, samples in seconds.items():
                report.measured(f"3 refinements, question of {size}: {name}", samples, unit="s")
            suffix = "" if size == QUESTION_TOKENS[-1] else f"_{size}"
            report.compared(
                f"kept_kv_vs_without{suffix}",
                over=seconds["not kept"],
                under=seconds["kept"],
                meaning=f"end to end, question of {size} tokens, answers of {tokens}",
            )


def _refined(peer: EnginePeer, work: Refinement) -> float:
    drafts = peer.generate(work.drafts())
    calls = work.refinements(drafts)
    total = sum(call.tokens for call in calls)
    return total / timed(lambda: len(peer.generate(calls)) and total)


if __name__ == "__main__":
    main()
