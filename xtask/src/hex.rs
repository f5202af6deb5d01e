//! Bytes as lower-case hexadecimal text, and SHA-256 as such.

use sha2::{Digest, Sha256};

/// As text.
pub(crate) fn encode(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// From text; none if it is anything but pairs of hexadecimal digits.
pub(crate) fn decode(text: &str) -> Option<Vec<u8>> {
    let digits = text.bytes().all(|digit| digit.is_ascii_hexdigit());
    let byte = |at: usize| {
        text.get(at..at + 2)
            .and_then(|pair| u8::from_str_radix(pair, 16).ok())
    };
    digits.then(|| (0..text.len()).step_by(2).map(byte).collect())?
}

/// SHA-256 as text.
pub(crate) fn sha256(bytes: &[u8]) -> String {
    encode(&Sha256::digest(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_and_bytes_are_the_same() {
        assert_eq!(encode(&[0, 0xab, 0xff]), "00abff");
        assert_eq!(decode("00abff"), Some(vec![0, 0xab, 0xff]));
        assert_eq!(decode("00abf"), None);
        assert_eq!(decode("+0ab"), None);
        assert_eq!(decode("zz"), None);
    }

    #[test]
    fn the_hash_of_abc() {
        assert_eq!(
            sha256(b"abc"),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
    }
}
