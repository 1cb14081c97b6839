//! Building the view again from the stream, beside the live one. See [`crate::store`] for how the
//! two live in one file.

use super::fold::{FoldError, Target};
use crate::{
    message::Batch,
    store::{self, Checkpoint, Store},
};

/// A view that is being built and that no query sees yet. Dropping it leaves tables that the next
/// rebuild drops.
#[derive(Debug)]
#[must_use]
pub struct Build {
    store: Store,
    generation: i64,
    /// The live generation that this one replaces even if it is ahead, since it holds what the
    /// stream does not. `None`: none, so that readers never go back.
    replaces: Option<i64>,
}

/// Why a view is built again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// Somebody asked for it.
    Asked,
    /// The live view is of another stream, or of entries that the stream has lost.
    OtherStream,
}

/// Why a built view was not made live.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BuildError {
    /// The live view is ahead: fold up to there, then try again, so that readers never go back.
    #[error("the live view has reached sequence {live}, the built one {built}")]
    Behind {
        /// How far the live view is.
        live: u64,
        /// How far the built one is.
        built: u64,
    },
    /// It could not be written.
    #[error("the built view could not be made live")]
    Fold(#[from] FoldError),
}

impl From<rusqlite::Error> for BuildError {
    fn from(source: rusqlite::Error) -> Self {
        Self::Fold(FoldError::Unusable(source))
    }
}

impl Store {
    /// Begins to build the view again. A build that was begun before and is not live
    /// yet is dropped: the newest wins.
    ///
    /// # Errors
    /// See [`FoldError`].
    pub async fn build_tasks(&self, why: Why) -> Result<Build, FoldError> {
        let layout = self.layout();
        let (generation, live) = self
            .write(move |act, _| {
                let found = store::tables_version(act)?;
                if found != layout.version {
                    return Err(FoldError::OtherVersion { found, known: layout.version });
                }
                store::drop_other_generations(act, layout)?;
                let (live, _) = store::live(act)?;
                Ok((store::add_generation(act, layout)?, live))
            })
            .await
            .map_err(FoldError::Stopped)??;
        let replaces = match why {
            Why::Asked => None,
            Why::OtherStream => Some(live),
        };
        Ok(Build { store: self.clone(), generation, replaces })
    }
}

impl Build {
    /// What kind of view is built.
    pub(super) fn layout(&self) -> &'static store::Layout {
        self.store.layout()
    }

    /// Folds a part of the stream into the view that is being built.
    ///
    /// # Errors
    /// See [`FoldError`].
    pub async fn fold(&self, batch: Batch) -> Result<Checkpoint, FoldError> {
        self.store.fold_tasks_into(Target::Build(self.generation), batch).await
    }

    /// Makes the built view the live one, in one transaction, and drops the old one.
    ///
    /// # Errors
    /// [`BuildError::Behind`] where the live view has folded more of the same stream.
    pub async fn make_live(&self) -> Result<Checkpoint, BuildError> {
        let (generation, replaces) = (self.generation, self.replaces);
        let layout = self.store.layout();
        let done = self.store.write(move |act, _| {
            let found = store::tables_version(act)?;
            if found != layout.version {
                let known = layout.version;
                return Err(BuildError::Fold(FoldError::OtherVersion { found, known }));
            }
            let built = store::checkpoint(act, generation)?.ok_or(FoldError::Superseded)?;
            let (current, live) = store::live(act)?;
            let same = live.stream == built.stream && replaces != Some(current);
            if same && live.seq > built.seq {
                return Err(BuildError::Behind { live: live.seq, built: built.seq });
            }
            store::make_live(act, generation, layout)?;
            Ok(built)
        });
        let built = done.await.map_err(FoldError::Stopped)??;
        self.store.tell_reached(built.seq);
        Ok(built)
    }
}
