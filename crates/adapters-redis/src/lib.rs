//! Everything that is only shown, on Redis: record cache, tally, ranking, past pools; a weak dependency.
