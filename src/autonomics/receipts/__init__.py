"""Receipts: what was decided and done, in logs that a stranger can verify offline. Pure."""
