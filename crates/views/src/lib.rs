//! Projections: this floor is laid out and still empty.
