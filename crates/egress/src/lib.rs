//! How the gateway calls out, to whatever is no MCP server: key sets, introspection, and later webhooks and call-outs.
