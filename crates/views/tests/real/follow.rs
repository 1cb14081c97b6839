//! Following a real stream.
