"""A local Supabase: @supabase/lite (Node) in front of the embedded Postgres, at one URL.

`server.py` runs it, `installing.py` gets it; Node runs the .mjs files, from `server.mjs` on; `auth.sql`
is what signing in keeps.
"""

from asyouwere.local.supabase.server import SupabaseServer

__all__ = ["SupabaseServer"]
