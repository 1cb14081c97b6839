//! Controllers and faces: this floor is laid out and still empty.
