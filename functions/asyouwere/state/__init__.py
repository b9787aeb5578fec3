"""Parts: how a state is taken apart, put together, changed, compared and merged. Pure, without I/O.

A state is a JSON object. Its objects are opened down to depth 3, the lists met on the way are opened too,
and what is then left is a **part**: ``/step``, ``/messages/12``, ``/memory/board/topic``. An opened
container is a part as well, with the body ``{}`` or ``[]``. The root is none.

- A **pointer** is the address people write: a JSON Pointer (RFC 6901), ``/memory/a~1b``.
- A **path** is the address that is stored: a pointer whose keys are spelled as inside a JSON string, so
  that NUL and lone surrogates are plain letters, with a closing ``/``, so that everything under it
  begins with it. The root is ``/``. Items share the path of their list and have an item number; members
  have the item -1.
- A **body** is canonical JSON text (see ``exact_json``), and two values are equal when their texts are.

``rows`` makes change rows out of what a caller sends, ``tree`` is the way from parts to a state and back,
``changes`` says what changes do, ``merging`` what happens when two callers make them at once. The database
does all of this in SQL; ``changes`` and ``merging`` say it once more, in the clearest way, for the Python
client and as what the SQL is compared with.

Import the module that has what you need. This one brings none: a deployed function starts with ``rows`` alone.
"""
