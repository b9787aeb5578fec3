"""The HTTPS functions: app, routes, handlers, auth, database and export. Builds on ``state``, never on a client."""
