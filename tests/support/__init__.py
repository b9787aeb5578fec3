"""What tests share: a cluster, databases copied from a migrated template, and acting as somebody."""
