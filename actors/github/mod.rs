//! GitHub: what comes in through the webhook and what goes out through the API. Knows domain, messages and clock; never another connector.
