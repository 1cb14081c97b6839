//! The SDK: this floor is laid out and still empty.
