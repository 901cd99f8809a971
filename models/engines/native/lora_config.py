"""adapter_config.json of peft: which layers an adapter changes, by which rank and scale."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from colm.models.errors import ModelUnusable

#: Fields that change nothing at inference, for layers that are `nn.Linear`.
_IGNORED = {
    "auto_mapping", "base_model_name_or_path", "corda_config", "eva_config", "fan_in_fan_out",
    "inference_mode", "lora_dropout", "lora_ga_config", "megatron_core", "peft_version",
    "qalora_group_size", "revision", "runtime_config", "task_type",
}  # fmt: skip
#: Fields that `LoraConfig` reads.
_READ = {
    "alpha_pattern", "bias", "exclude_modules", "init_lora_weights", "layers_pattern",
    "layers_to_transform", "lora_alpha", "peft_type", "r", "rank_pattern", "target_modules",
    "use_rslora",
}  # fmt: skip
#: Initialisations that leave the base model's weights as they are.
_PLAIN_INITS = (True, False, "gaussian", "orthogonal", "eva")
_LAYER = r"(?:^|.*?\.){}\.(\d+)\."
_ALL_LINEAR = "all-linear"


@dataclass(frozen=True, kw_only=True)
class LoraConfig:
    """The part of peft's LoraConfig that decides what is computed. Build it with `parse`."""

    r: int
    alpha: float
    target_modules: str | list[str]
    exclude_modules: str | list[str]
    rank_pattern: Mapping[str, int]
    alpha_pattern: Mapping[str, float]
    layers: frozenset[int] | None
    layers_patterns: tuple[str, ...]
    rank_stabilized: bool

    @classmethod
    def parse(cls, fields: Mapping[str, Any]) -> LoraConfig:
        """Raises ModelUnusable for a variant of LoRA that the engine does not compute."""
        _refuse_variants(fields)
        layers = fields.get("layers_to_transform")
        patterns = fields.get("layers_pattern") or ()
        try:
            config = cls(
                r=int(fields["r"]),
                alpha=float(fields["lora_alpha"]),
                target_modules=_names(fields["target_modules"]),
                exclude_modules=_names(fields.get("exclude_modules") or []),
                rank_pattern={k: int(v) for k, v in (fields.get("rank_pattern") or {}).items()},
                alpha_pattern={k: float(v) for k, v in (fields.get("alpha_pattern") or {}).items()},
                layers=frozenset([layers] if isinstance(layers, int) else layers or ()) or None,
                layers_patterns=(patterns,) if isinstance(patterns, str) else tuple(patterns),
                rank_stabilized=bool(fields.get("use_rslora")),
            )
            for pattern in (*config.rank_pattern, *config.alpha_pattern, *config.layers_patterns):
                re.compile(pattern)
        except (KeyError, TypeError, ValueError, AttributeError, re.error) as error:
            raise ModelUnusable(f"its config cannot be read: {error!r}") from error
        if min([config.r, *config.rank_pattern.values()]) < 1:
            raise ModelUnusable("its config has a rank below 1")
        return config

    def rank(self, module: str) -> int:
        return next((r for key, r in self.rank_pattern.items() if _is(key, module)), self.r)

    def scale(self, module: str) -> float:
        """The factor of the low-rank product: alpha / r, or alpha / sqrt(r) (rsLoRA)."""
        alphas = (alpha for key, alpha in self.alpha_pattern.items() if _is(key, module))
        rank = self.rank(module)
        return float(next(alphas, self.alpha) / (rank**0.5 if self.rank_stabilized else rank))

    def targets(self, modules: Iterable[str], *, linear: Iterable[str], head: str) -> list[str]:
        """The modules that the adapter changes, as peft chooses them.

        `linear`: the names of linear layers; `head`: that of the output layer, which "all-linear"
        leaves out. Raises ModelUnusable where a target matches no module.
        """
        names = [name for name in modules if name]
        if self.target_modules == _ALL_LINEAR:
            matched = [name for name in linear if name != head]
        elif isinstance(self.target_modules, str):
            matched = [name for name in names if re.fullmatch(self.target_modules, name)]
        else:
            matched = [n for n in names if any(_ends_with(n, t) for t in self.target_modules)]
            lacking = [
                target
                for target in self.target_modules
                if not any(_ends_with(name, target) for name in matched)
            ]
            if lacking:
                raise ModelUnusable(
                    f"its target module {lacking[0]!r} is no module of the base model: it was"
                    " trained for another architecture"
                )
        chosen = [n for n in matched if not self._excluded(n) and self._in_layers(n)]
        if not chosen:
            raise ModelUnusable(
                f"its target_modules {self.target_modules!r} match no module of the base model"
            )
        return chosen

    def _excluded(self, module: str) -> bool:
        if isinstance(self.exclude_modules, str):
            return re.fullmatch(self.exclude_modules, module) is not None
        return any(_ends_with(module, name) for name in self.exclude_modules)

    def _in_layers(self, module: str) -> bool:
        if self.layers is None or isinstance(self.target_modules, str):
            return True
        patterns = self.layers_patterns or (r"[^.]*",)
        for pattern in patterns:
            if match := re.match(_LAYER.format(pattern), module):
                return int(match[1]) in self.layers
        return False


def _refuse_variants(fields: Mapping[str, Any]) -> None:
    if (kind := fields.get("peft_type")) != "LORA":
        raise ModelUnusable(f"its peft_type is {kind!r}: the engine computes LORA only")
    if (bias := fields.get("bias", "none")) != "none":
        raise ModelUnusable(f"it changes biases (bias = {bias!r}): train it with bias = 'none'")
    if (init := fields.get("init_lora_weights", True)) not in _PLAIN_INITS:
        raise ModelUnusable(
            f"init_lora_weights = {init!r} changes the base model's weights too: save it with"
            " path_initial_model_for_weight_conversion"
        )
    for name in sorted(fields.keys() - _IGNORED - _READ):
        if fields[name]:
            raise ModelUnusable(
                f"it uses {name}, which the engine does not compute: merge it into the base model"
                " with peft's merge_and_unload, or serve it over an OpenAI-compatible endpoint"
            )


def _names(value: Any) -> str | list[str]:
    if isinstance(value, str):
        re.compile(value)
        return value
    if isinstance(value, list) and all(isinstance(name, str) for name in value):
        return value
    raise TypeError(f"{value!r} is no list of module names")


def _ends_with(module: str, name: str) -> bool:
    return module == name or module.endswith(f".{name}")


def _is(pattern: str, module: str) -> bool:
    return re.match(rf"(.*\.)?({pattern})$", module) is not None
