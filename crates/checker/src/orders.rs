//! Order ids and account names, derived from the description of the encoding.

use sha2::{Digest, Sha256};

/// The legs of a contest's own.
pub(crate) const OWN_LEGS: [&str; 6] = [
    "guarantee",
    "carry",
    "guarantee_return",
    "rake",
    "sweep",
    "rollover",
];

/// The order id of a viewer's leg: fee, prize or refund.
pub(crate) fn viewer_order(leg: &str, contest: &str, user: &str) -> String {
    digest(&format!("guafen/1/{leg}/{contest}/{user}/0"))
}

/// The order id of one of the contest's own legs.
pub(crate) fn own_order(leg: &str, contest: &str) -> String {
    digest(&format!("guafen/1/{leg}/{contest}"))
}

/// The first 16 bytes of the SHA-256 of a clear text, in hexadecimal.
pub(crate) fn digest(text: &str) -> String {
    Sha256::digest(text)
        .iter()
        .take(16)
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

/// A viewer's account.
pub(crate) fn user_account(user: &str) -> String {
    format!("user/{user}")
}

/// A contest's pool account.
pub(crate) fn pool_account(contest: &str) -> String {
    format!("pool/{contest}")
}

/// The account on the other side of an own leg.
pub(crate) fn counterparty(leg: &str, series: Option<&str>) -> Option<String> {
    match leg {
        "guarantee" | "guarantee_return" => Some("platform/issuing".to_owned()),
        "rake" | "sweep" => Some("platform/revenue".to_owned()),
        "carry" | "rollover" => series.map(|series| format!("series/{series}")),
        _ => None,
    }
}

/// True for the own legs that bring coins into the pool.
pub(crate) fn is_incoming(leg: &str) -> bool {
    matches!(leg, "guarantee" | "carry")
}

#[cfg(test)]
mod tests {
    use super::*;

    // Computed with sha256sum, not with any code of ours.
    #[test]
    fn the_published_vectors() {
        let contest = "0198c9f2-0000-7000-8000-00000000000a";
        assert_eq!(
            viewer_order("fee", contest, "ann"),
            "a5904bafc6b53ac6252c87623b93758d"
        );
        assert_eq!(
            own_order("sweep", contest),
            "9fdf028f15188f81e9f782ce36e74ab7"
        );
    }
}
