//! Bearer tokens (HS256), signed by the driver itself: thousands of viewers need one each.

use anyhow::{Context, Result, bail};
use hmac::{Hmac, Mac};
use sha2::Sha256;
use std::path::Path;

/// Signs tokens with the instance's secret.
#[derive(Clone)]
pub(crate) struct Signer(Vec<u8>);

impl Signer {
    /// The secret that an embedded instance signs with: `GUAFEN_AUTH__HS256_SECRET` where that is
    /// set, as the instance itself reads it, else the one that its data directory keeps.
    pub(crate) fn from_data_dir(dir: &Path) -> Result<Self> {
        if let Ok(secret) = std::env::var("GUAFEN_AUTH__HS256_SECRET") {
            return Self::from_text(&secret);
        }
        let path = dir.join("secret");
        let text = std::fs::read_to_string(&path).with_context(|| {
            format!(
                "cannot read {}: name the data directory of a running instance",
                path.display()
            )
        })?;
        Self::from_hex(text.trim())
    }

    /// A configured secret: its characters are the key.
    pub(crate) fn from_text(secret: &str) -> Result<Self> {
        if secret.len() < 32 {
            bail!("the secret must have at least 32 characters");
        }
        Ok(Self(secret.as_bytes().to_vec()))
    }

    /// A secret as hexadecimal text, as a data directory keeps it.
    fn from_hex(text: &str) -> Result<Self> {
        let byte = |at: usize| {
            text.get(at..at + 2)
                .and_then(|pair| u8::from_str_radix(pair, 16).ok())
        };
        let bytes: Option<Vec<u8>> = (0..text.len()).step_by(2).map(byte).collect();
        match bytes {
            Some(bytes) if bytes.len() >= 32 => Ok(Self(bytes)),
            _ => bail!("the secret must be hexadecimal text of at least 32 bytes"),
        }
    }

    /// A token for a user in a role, good for a day.
    pub(crate) fn token(&self, user: &str, role: &str) -> Result<String> {
        let exp = crate::clock::now_ms() / 1_000 + 86_400;
        let head = base64url(br#"{"alg":"HS256","typ":"JWT"}"#);
        let claims = serde_json::json!({ "sub": user, "role": role, "exp": exp }).to_string();
        let signed = format!("{head}.{}", base64url(claims.as_bytes()));
        let mut mac =
            Hmac::<Sha256>::new_from_slice(&self.0).context("a secret of an impossible length")?;
        mac.update(signed.as_bytes());
        Ok(format!(
            "{signed}.{}",
            base64url(&mac.finalize().into_bytes())
        ))
    }
}

fn base64url(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let byte = |at: usize| u32::from(chunk.get(at).copied().unwrap_or(0));
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        for place in 0..=chunk.len() {
            text.push(char::from(
                ALPHABET[(bits >> (18 - 6 * place) & 63) as usize],
            ));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64url_has_no_padding() {
        let cases: [(&[u8], &str); 5] = [
            (b"", ""),
            (b"f", "Zg"),
            (b"fo", "Zm8"),
            (b"foo", "Zm9v"),
            (&[0xfb, 0xff], "-_8"),
        ];
        for (bytes, text) in cases {
            assert_eq!(base64url(bytes), text);
        }
    }

    #[test]
    fn a_token_has_three_parts_and_a_secret_32_bytes() {
        let signer = Signer::from_hex(&"ab".repeat(32)).expect("a secret");
        assert_eq!(
            signer
                .token("ann", "player")
                .expect("a token")
                .split('.')
                .count(),
            3
        );
        assert!(Signer::from_hex("abc").is_err());
        assert!(Signer::from_hex(&"ab".repeat(31)).is_err());
        assert!(Signer::from_hex(&"zz".repeat(32)).is_err());
    }
}
