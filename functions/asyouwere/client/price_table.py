"""What models cost. Made from spec/prices.json by `make generate`: change that file, never this one."""

from typing import Final

__all__ = ["DATED", "PER_TOKENS", "PRICES"]

DATED: Final = "2026-06-21"
PER_TOKENS: Final = 1_000_000
#: USD: of input tokens, of those from the provider's cache, of output tokens.
PRICES: Final[dict[str, tuple[str, str, str]]] = {
    "gpt-5.5": ("5", "0.5", "30"),
    "gpt-5.4": ("2.5", "0.25", "15"),
    "gpt-5.4-mini": ("0.75", "0.075", "4.5"),
    "gpt-5.4-nano": ("0.2", "0.02", "1.25"),
    "gpt-4.1": ("2", "2", "8"),
    "gpt-4.1-mini": ("0.4", "0.4", "1.6"),
    "claude-opus-4-8": ("5", "0.5", "25"),
    "claude-sonnet-4-6": ("3", "0.3", "15"),
    "claude-haiku-4-5": ("1", "0.1", "5"),
    "local-demo": ("1000", "1000", "5000"),
}
