"""The page that `asyouwere run` serves: a chat whose answers survive, with an agent on this machine."""
