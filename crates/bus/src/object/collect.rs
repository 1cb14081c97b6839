//! Goes through the object store and deletes from it. What to delete is decided elsewhere.

use std::collections::BTreeSet;

use base64::{Engine as _, engine::general_purpose::URL_SAFE};
use serde_json::json;
use sinew_model::{
    Subjects, Time,
    stream::{BODIES, OBJ_BODIES},
};

use super::Object;
use crate::{connect::Bus, publish::PublishError, read::DepthError, request::RequestError};

/// Why the object store could not be gone through, or an object not deleted.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CollectError {
    /// The store could not be read or purged.
    #[error("the store of large bodies could not be read")]
    Request(#[from] RequestError),
    /// The chunks could not be counted.
    #[error("the chunks of large bodies could not be counted")]
    Count(#[from] DepthError),
    /// The object was not marked as deleted.
    #[error("the object was not marked as deleted")]
    Mark(#[source] PublishError),
}

impl Bus {
    /// Every object of the store; also those whose deletion was begun.
    ///
    /// # Errors
    /// See [`RequestError`].
    pub async fn objects(&self) -> Result<Vec<Object>, RequestError> {
        let filter = Subjects::object(BODIES, "*");
        let (mut objects, mut from) = (Vec::new(), 1);
        while let Some(message) = self.first_from(OBJ_BODIES, filter.as_str(), from).await? {
            from = message.seq.saturating_add(1);
            objects.extend(Object::of(&message));
        }
        Ok(objects)
    }

    /// Deletes exactly this version of an object; false where somebody stored it again meanwhile,
    /// or deleted it. A deletion that breaks off is begun again with what [`Bus::objects`] shows.
    ///
    /// # Errors
    /// See [`CollectError`].
    pub async fn delete_object(&self, object: &Object) -> Result<bool, CollectError> {
        let mut seq = object.seq;
        if !object.about.deleted {
            let mut about = object.about.clone();
            (about.deleted, about.size, about.chunks) = (true, 0, 0);
            match self.tell_of(&about, seq).await {
                Ok(()) => {}
                Err(PublishError::Conflict { .. }) => return Ok(false),
                Err(error) => return Err(CollectError::Mark(error)),
            }
            let Some(marked) = self.object(&object.name).await? else { return Ok(false) };
            if !marked.about.deleted || marked.about.nuid != object.about.nuid {
                return Ok(false);
            }
            seq = marked.seq;
        }
        self.drop_chunks(&object.about.nuid).await?;
        let subject = Subjects::object(BODIES, &URL_SAFE.encode(&object.name));
        // Up to the mark, and not what somebody stored since.
        self.purge_bodies(&json!({ "filter": subject.as_str(), "seq": seq.saturating_add(1) }))
            .await?;
        Ok(true)
    }

    /// Deletes chunks that no object names and that were written before `before`: what a writer
    /// left that died between the two. Gives how many such bodies there were.
    ///
    /// # Errors
    /// See [`CollectError`].
    pub async fn drop_strays(&self, before: Time) -> Result<usize, CollectError> {
        let all = Subjects::chunks(BODIES, "*");
        let counts = self.depth(OBJ_BODIES, all.as_str()).await?;
        // Read after the chunks, so that an object that was told of in between is seen.
        let named: BTreeSet<String> =
            self.objects().await?.into_iter().map(|object| object.about.nuid).collect();
        let mut dropped = 0;
        for subject in counts.keys() {
            let Some((_, nuid)) = subject.rsplit_once('.') else { continue };
            if named.contains(nuid) {
                continue;
            }
            let newest = self.last(OBJ_BODIES, subject).await?;
            if newest.is_some_and(|newest| newest.time < before) {
                self.drop_chunks(nuid).await?;
                dropped += 1;
            }
        }
        Ok(dropped)
    }
}
