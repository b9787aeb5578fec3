"""The routes of each function, in a module of its own: a deployed function imports no other's."""
