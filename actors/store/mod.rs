//! The durable memory. Alone names the database crate; knows no actor but its own door.
