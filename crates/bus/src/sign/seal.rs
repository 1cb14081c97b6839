//! Sealing the head of an audit log with the key of the login, and holding a seal against its key.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use nkeys::KeyPair;
use sinew_model::audit::{Seal, sealed};

use crate::{connect::Bus, publish::PublishError};

impl Bus {
    /// Seals a head with the key of the own login; `None` where the login has none.
    ///
    /// # Errors
    /// When the key can't sign.
    pub fn seal(&self, head: &str) -> Result<Option<Seal>, PublishError> {
        let Some(own) = self.signs().own() else { return Ok(None) };
        let signature = own.sign(&sealed(head))?;
        Ok(Some(Seal { key: own.certificate.key.clone(), signature }))
    }
}

/// Whether a seal is that of its key over the head. Whose key it is, the reader must know.
#[must_use]
pub fn is_sealed(head: &str, seal: &Seal) -> bool {
    let (Ok(key), Ok(signature)) =
        (KeyPair::from_public_key(&seal.key), URL_SAFE_NO_PAD.decode(&seal.signature))
    else {
        return false;
    };
    key.verify(&sealed(head), &signature).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seal_is_of_one_key_and_one_head() {
        let pair = KeyPair::new_user();
        let signature = URL_SAFE_NO_PAD.encode(pair.sign(&sealed("ab")).unwrap());
        let seal = Seal { key: pair.public_key(), signature };
        assert!(is_sealed("ab", &seal));
        assert!(!is_sealed("ac", &seal));
        assert!(!is_sealed("ab", &Seal { key: KeyPair::new_user().public_key(), ..seal.clone() }));
        assert!(!is_sealed("ab", &Seal { key: "no key".to_owned(), ..seal.clone() }));
        assert!(!is_sealed("ab", &Seal { signature: "no base64!".to_owned(), ..seal }));
    }
}
