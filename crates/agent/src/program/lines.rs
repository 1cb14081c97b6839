//! What a program says on stderr, cut into lines for the log: a pipe gives it in pieces.

use sinew_model::limits::CAUSE_BYTES;

/// The line that has begun.
#[derive(Debug, Default)]
pub(super) struct Lines {
    begun: Vec<u8>,
}

impl Lines {
    /// Takes the next bytes, and gives the lines that they end. Lines without a word are left out.
    pub(super) fn take(&mut self, bytes: &[u8]) -> Vec<String> {
        let mut lines = Vec::new();
        for part in bytes.split_inclusive(|byte| *byte == b'\n') {
            self.begun.extend_from_slice(part);
            // A line that never ends must not fill the memory.
            if part.ends_with(b"\n") || self.begun.len() > CAUSE_BYTES {
                lines.extend(self.finish());
            }
        }
        lines
    }

    /// The program has ended, perhaps in the middle of a line.
    pub(super) fn finish(&mut self) -> Option<String> {
        let line = std::mem::take(&mut self.begun);
        let line = String::from_utf8_lossy(&line).trim_end().to_owned();
        Some(line).filter(|line| !line.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_whole_however_they_come() {
        let mut lines = Lines::default();
        assert!(lines.take(b"  0.01s ").is_empty());
        assert_eq!(lines.take(b" started\n\nsecond\r\nthi"), ["  0.01s  started", "second"]);
        assert_eq!(lines.finish().as_deref(), Some("thi"));
        assert_eq!(lines.finish(), None);
    }

    #[test]
    fn a_line_without_an_end_is_cut() {
        let mut lines = Lines::default();
        let long = vec![b'x'; CAUSE_BYTES + 1];
        assert_eq!(lines.take(&long).len(), 1);
        assert_eq!(lines.finish(), None);
    }
}
