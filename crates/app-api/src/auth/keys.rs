//! A key set (RFC 7517): which of its keys may check a token.

use crate::config::TokenAlgorithm;
use jsonwebtoken::{
    DecodingKey,
    jwk::{AlgorithmParameters, EllipticCurve, Jwk, KeyAlgorithm, KeyOperations, PublicKeyUse},
};
use serde::Deserialize;

/// The most keys of a set that are looked at.
const KEYS_MAX: usize = 100;

/// The keys that fit the configured algorithm.
pub(crate) struct KeySet {
    keys: Vec<(Option<String>, DecodingKey)>,
}

/// What a document must be to count as a key set at all.
#[derive(Deserialize)]
struct Document {
    keys: Vec<serde_json::Value>,
}

impl KeySet {
    /// The usable keys of a document. Keys that are for something else, or of a kind that is not
    /// known, are passed over: they are nobody's fault.
    ///
    /// # Errors
    /// When the document is no key set.
    pub(crate) fn parse(text: &[u8], algorithm: TokenAlgorithm) -> Result<Self, serde_json::Error> {
        let document: Document = serde_json::from_slice(text)?;
        let keys = document
            .keys
            .into_iter()
            .take(KEYS_MAX)
            .filter_map(|key| serde_json::from_value::<Jwk>(key).ok())
            .filter(|key| fits(key, algorithm))
            .filter_map(|key| {
                let decoding = DecodingKey::from_jwk(&key).ok()?;
                Some((key.common.key_id, decoding))
            });
        Ok(Self {
            keys: keys.collect(),
        })
    }

    /// How many keys can be used.
    pub(crate) fn len(&self) -> usize {
        self.keys.len()
    }

    /// The keys that may have signed a token which names `kid`, or names none: those of that
    /// name; the only key, where the token names none or the key has none.
    pub(crate) fn select<'a>(&'a self, kid: Option<&str>) -> Vec<&'a DecodingKey> {
        if let [(only, key)] = self.keys.as_slice()
            && (only.is_none() || kid.is_none())
        {
            return vec![key];
        }
        let Some(kid) = kid else {
            return Vec::new();
        };
        let named = self.keys.iter();
        named
            .filter(|(name, _)| name.as_deref() == Some(kid))
            .map(|(_, key)| key)
            .collect()
    }
}

/// Whether a key says nothing against being used to check tokens of this algorithm.
fn fits(key: &Jwk, algorithm: TokenAlgorithm) -> bool {
    let kind = match (&key.algorithm, algorithm) {
        (AlgorithmParameters::RSA(_), TokenAlgorithm::Rs256) => true,
        (AlgorithmParameters::EllipticCurve(curve), TokenAlgorithm::Es256) => {
            curve.curve == EllipticCurve::P256
        }
        // A shared secret in a document that is handed out is no secret.
        _ => false,
    };
    let named = match (key.common.key_algorithm, algorithm) {
        (None, _)
        | (Some(KeyAlgorithm::RS256), TokenAlgorithm::Rs256)
        | (Some(KeyAlgorithm::ES256), TokenAlgorithm::Es256) => true,
        (Some(_), _) => false,
    };
    let usage = matches!(
        key.common.public_key_use,
        None | Some(PublicKeyUse::Signature)
    );
    let operations = key
        .common
        .key_operations
        .as_ref()
        .is_none_or(|operations| operations.contains(&KeyOperations::Verify));
    kind && named && usage && operations
}

#[cfg(test)]
mod tests {
    use super::*;

    const X: &str = "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU";
    const Y: &str = "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0";

    fn ec(more: &str) -> String {
        format!(r#"{{"kty":"EC","crv":"P-256","x":"{X}","y":"{Y}"{more}}}"#)
    }

    fn set(keys: &[String], algorithm: TokenAlgorithm) -> KeySet {
        let text = format!(r#"{{"keys":[{}]}}"#, keys.join(","));
        KeySet::parse(text.as_bytes(), algorithm).expect("a key set")
    }

    #[test]
    fn keys_that_do_not_fit_are_passed_over() {
        let good = [
            String::new(),
            r#","use":"sig""#.to_owned(),
            r#","alg":"ES256""#.to_owned(),
            r#","key_ops":["verify"]"#.to_owned(),
            r#","something":"else""#.to_owned(),
        ];
        for more in good {
            assert_eq!(set(&[ec(&more)], TokenAlgorithm::Es256).len(), 1, "{more}");
            assert_eq!(set(&[ec(&more)], TokenAlgorithm::Rs256).len(), 0, "{more}");
        }
        let bad = [
            ec(r#","use":"enc""#),
            ec(r#","alg":"RS256""#),
            ec(r#","alg":"ES384""#),
            ec(r#","alg":"brand-new""#),
            ec(r#","key_ops":["encrypt"]"#),
            format!(r#"{{"kty":"EC","crv":"P-384","x":"{X}","y":"{Y}"}}"#),
            r#"{"kty":"oct","k":"c2VjcmV0LXNlY3JldC1zZWNyZXQtc2VjcmV0LXNlY3JldA"}"#.to_owned(),
            r#"{"kty":"brand-new","kid":"a"}"#.to_owned(),
            r#"{"kid":"a"}"#.to_owned(),
            r#""a key""#.to_owned(),
            "7".to_owned(),
        ];
        for key in &bad {
            let text = std::slice::from_ref(key);
            assert_eq!(set(text, TokenAlgorithm::Es256).len(), 0, "{key}");
        }
        let mut all = bad.to_vec();
        all.push(ec(r#","kid":"good""#));
        assert_eq!(set(&all, TokenAlgorithm::Es256).len(), 1);
    }

    #[test]
    fn what_is_no_key_set_is_an_error() {
        for text in ["", "{}", "[]", r#"{"keys":{}}"#, "<html>"] {
            assert!(KeySet::parse(text.as_bytes(), TokenAlgorithm::Es256).is_err());
        }
    }

    #[test]
    fn a_key_is_selected_by_name_and_without_one_only_where_it_is_alone() {
        let named = |name: &str| ec(&format!(r#","kid":"{name}""#));
        let two = set(&[named("a"), named("b")], TokenAlgorithm::Es256);
        assert_eq!(two.select(Some("a")).len(), 1);
        assert_eq!(two.select(Some("c")).len(), 0);
        assert_eq!(two.select(None).len(), 0);
        let mixed = set(&[named("a"), ec("")], TokenAlgorithm::Es256);
        assert_eq!(mixed.select(Some("b")).len(), 0);
        assert_eq!(mixed.select(None).len(), 0);
        let one = set(&[named("a")], TokenAlgorithm::Es256);
        assert_eq!(one.select(Some("b")).len(), 0);
        assert_eq!(one.select(None).len(), 1);
        let nameless = set(&[ec("")], TokenAlgorithm::Es256);
        assert_eq!(nameless.select(Some("b")).len(), 1);
        assert_eq!(nameless.select(None).len(), 1);
    }
}
