//! Settings: defaults, file, environment and flags become one checked value. Opens no connection, starts nothing.
