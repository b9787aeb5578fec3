"""The functions over real HTTP, in front of a real Postgres."""
