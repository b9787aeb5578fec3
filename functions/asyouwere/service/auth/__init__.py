"""Who is calling: tokens, the keys they are signed with, the scheduler's identity."""
