//! The HTTP server: requests become messages, answers become bytes. Holds no rule of the inside.
