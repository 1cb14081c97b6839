//! JetStream as Sinew needs it: this floor is laid out and still empty.
