"""What agents may ask over MCP: one module per tool, each a message into the tree."""
