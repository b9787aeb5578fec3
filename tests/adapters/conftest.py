"""The Supabase that the adapter for the AI SDK is tried with."""

from tests.clients.conftest import lite, postgrest

__all__ = ["lite", "postgrest"]
