//! What the figures depend on besides the code: the machine, without its name.

use std::{
    fs::File,
    io::{Seek as _, Write as _},
    path::Path,
    time::Duration,
};

use anyhow::{Context as _, Result};
use serde::Serialize;
use sinew_bus::clock;

use super::sample::{Sample, Spans};

/// Writes by which the disk is measured.
const WRITES: usize = 300;

/// The machine.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Machine {
    /// The operating system and the processor's family.
    pub(super) system: String,
    /// Cores that this process may use.
    pub(super) cores: usize,
    /// What 512 bytes and an fsync take, in the folder that the servers' folders are in.
    pub(super) fsync: Sample,
}

/// Looks at the machine.
pub(super) fn look(folder: &Path) -> Result<Machine> {
    Ok(Machine {
        system: format!("{} {}", std::env::consts::OS, std::env::consts::ARCH),
        cores: std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
        fsync: fsync(folder).with_context(|| format!("{} can't be used", folder.display()))?,
    })
}

fn fsync(folder: &Path) -> Result<Sample> {
    let mut file: File = tempfile::tempfile_in(folder)?;
    let mut spans = Spans::new()?;
    let mut total = Duration::ZERO;
    for _ in 0..WRITES {
        let since = clock::instant();
        file.write_all(&[b'x'; 512])?;
        file.sync_data()?;
        spans.add(since.elapsed());
        total += since.elapsed();
    }
    file.rewind()?;
    Ok(spans.sample(total))
}
