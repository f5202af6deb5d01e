//! The scripts. Each touches the keys of one hash slot alone.

use fred::util::sha1_hash;
use std::sync::OnceLock;

/// A script and its name at the server.
pub(crate) struct Source {
    text: &'static str,
    sha: OnceLock<String>,
}

impl Source {
    const fn new(text: &'static str) -> Self {
        Self {
            text,
            sha: OnceLock::new(),
        }
    }

    pub(crate) const fn text(&self) -> &'static str {
        self.text
    }

    pub(crate) fn sha(&self) -> String {
        self.sha.get_or_init(|| sha1_hash(self.text)).clone()
    }
}

pub(crate) static FILL: Source = Source::new(include_str!("../scripts/fill.lua"));
pub(crate) static DROP: Source = Source::new(include_str!("../scripts/drop.lua"));
pub(crate) static COUNT: Source = Source::new(include_str!("../scripts/count.lua"));
pub(crate) static BEGIN: Source = Source::new(include_str!("../scripts/begin.lua"));
pub(crate) static BUILD: Source = Source::new(include_str!("../scripts/build.lua"));
pub(crate) static FINISH: Source = Source::new(include_str!("../scripts/finish.lua"));
pub(crate) static BEGIN_RANKING: Source = Source::new(include_str!("../scripts/begin_ranking.lua"));
pub(crate) static RANK: Source = Source::new(include_str!("../scripts/rank.lua"));
pub(crate) static FINISH_RANKING: Source =
    Source::new(include_str!("../scripts/finish_ranking.lua"));
pub(crate) static TOP: Source = Source::new(include_str!("../scripts/top.lua"));
pub(crate) static PLACE: Source = Source::new(include_str!("../scripts/place.lua"));
