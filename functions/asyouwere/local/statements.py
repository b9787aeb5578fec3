"""Cutting an SQL file into its statements, as `psql` sees them.

Only needed for the record: the migration history keeps the statements of each file, as does the
Supabase CLI.
"""

from __future__ import annotations

import re

# One alternative for each thing that may hide a semicolon, then the semicolon, brackets and words.
TOKEN = re.compile(
    r"""
      (?P<comment>  --[^\n]* )
    | (?P<block>    /\* )                                 # these nest, so only the beginning is matched
    | (?P<escaped>  \b[eE]'(?:[^'\\]|\\.|'')*' )
    | (?P<quoted>   '(?:[^']|'')*' | "(?:[^"]|"")*" )
    | (?P<dollar>   (?<![\w$])\$(?P<tag>[^\W\d]\w*)?\$ )  # up to the same tag again
    | (?P<bracket>  [()] )
    | (?P<end>      ; )
    | (?P<word>     [^\W\d][\w$]* )
    """,
    re.VERBOSE | re.DOTALL,
)
BLOCK_EDGE = re.compile(r"/\*|\*/")
ROUTINE = re.compile(r"create\s+(?:or\s+replace\s+)?(?:function|procedure)\b", re.IGNORECASE)


def split_statements(sql: str) -> list[str]:
    """The statements of an SQL text, without the semicolons between them; comments stay with what follows."""
    statements: list[str] = []
    start = position = brackets = blocks = 0
    first_word: int | None = None
    while match := TOKEN.search(sql, position):
        kind, position = match.lastgroup, match.end()
        if kind == "tag":  # the named group inside `dollar` closes last only when there is a tag
            kind = "dollar"
        if kind == "comment":
            continue
        if kind == "block":
            position = _end_of_block(sql, position)
            continue
        if first_word is None and kind != "end":
            first_word = match.start()
        if kind == "dollar":
            close = sql.find(match.group("dollar"), position)
            position = len(sql) if close < 0 else close + len(match.group("dollar"))
        elif kind == "bracket":
            brackets = max(0, brackets + (1 if match.group() == "(" else -1))
        elif kind == "word" and first_word is not None and ROUTINE.match(sql, first_word):
            blocks = _blocks_after(match.group().lower(), blocks)
        elif kind == "end" and not brackets and not blocks:
            if first_word is not None:
                statements.append(sql[start : match.start()].strip())
            start, first_word = position, None
    if first_word is not None or _has_text(sql[start:]):
        statements.append(sql[start:].strip())
    return statements


def _blocks_after(word: str, blocks: int) -> int:
    """How many `begin atomic` or `case` are open after this word of a routine's definition."""
    if word == "begin" or (word == "case" and blocks):
        return blocks + 1
    if word == "end" and blocks:
        return blocks - 1
    return blocks


def _end_of_block(sql: str, position: int) -> int:
    depth = 1
    while depth and (edge := BLOCK_EDGE.search(sql, position)):
        depth += 1 if edge.group() == "/*" else -1
        position = edge.end()
    return len(sql) if depth else position


def _has_text(sql: str) -> bool:
    """Whether anything but white space and comments is there (digits and signs are no words above)."""
    position = 0
    while position < len(sql):
        if sql[position].isspace():
            position += 1
        elif sql.startswith("--", position):
            line_end = sql.find("\n", position)
            position = len(sql) if line_end < 0 else line_end
        elif sql.startswith("/*", position):
            position = _end_of_block(sql, position + 2)
        else:
            return True
    return False
