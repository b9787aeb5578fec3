"""asyouwere on Google Cloud: one module per kind of resource; ``program`` puts them together."""
