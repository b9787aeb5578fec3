"""What a call of a model costs, by a table of prices: the dated one that comes along, or the app's own."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import TypeAlias

from asyouwere.client.price_table import DATED, PER_TOKENS, PRICES

__all__ = ["DATED", "PRICES", "Price", "cost_of"]

#: For a million tokens: of the input, of those of it that the provider read from its cache, of the output.
Price: TypeAlias = tuple[str | Decimal, str | Decimal, str | Decimal]


def cost_of(
    model: str,
    input_tokens: int,
    output_tokens: int,
    cached_tokens: int = 0,
    *,
    prices: Mapping[str, Price] = PRICES,
) -> Decimal:
    """The exact cost, in the table's currency (USD). cached_tokens are some of the input_tokens.

    prices: the table, by default list prices as of ``DATED``. Raises KeyError for a model that is not in it.
    """
    of_input, of_cached, of_output = (Decimal(price) for price in prices[model])
    total = (input_tokens - cached_tokens) * of_input + cached_tokens * of_cached + output_tokens * of_output
    return total / PER_TOKENS
