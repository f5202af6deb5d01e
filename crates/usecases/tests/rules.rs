//! Each payout rule from signup to the last coin, with every weight and prize worked out by hand;
//! the sheet as a text; creations under a key.
#![allow(clippy::expect_used, reason = "these are tests")]

mod world;

use domain::{
    contest::{Contest, Phase, PhaseKind},
    draw::Draw,
    ids::ContestId,
    payout::Rule,
    signup::StateKind,
    terms::{ClaimMode, NoWinner, Remainder, Task, Terms, TierError},
    transfer::Position,
};
use ports::contests::{ContestRepository, CreationKey};
use sha2::{Digest as _, Sha256};
use usecases::{Contests, Created, SignedUp, sheet::SheetText};
use world::{START, World, coins, terms, user};

/// Everyone is paid without asking, so that a test reads who got what.
fn ruled(rule: Rule) -> Terms {
    Terms {
        rule,
        claim_mode: ClaimMode::Automatic,
        ..terms()
    }
}

async fn opened(terms: Terms, names: &[&str]) -> (World, Contests, ContestId) {
    let world = World::new();
    let process = world.process();
    for name in names {
        world.grant(name, 1_000);
    }
    let contest = world.create(&process, terms).await;
    (world, process, contest)
}

/// Weight and prize of a viewer who has been paid.
fn share(world: &World, contest: ContestId, name: &str) -> (u64, u64) {
    let signup = world.signup(contest, name).expect("a signup");
    let weight = signup.state.weight().expect("a fixed weight").get();
    (weight, signup.state.prize().expect("a prize").get())
}

async fn end(world: &World, process: &Contests, contest: ContestId) {
    world.to_the_end(process).await;
    assert_eq!(world.phase(contest), PhaseKind::Closed);
    world.check();
}

#[tokio::test]
async fn by_fee_weighs_what_was_paid() {
    let tiers = vec![coins(10), coins(25), coins(100)];
    let terms = Terms {
        fee_tiers: tiers,
        ..ruled(Rule::ByFee)
    };
    let (world, process, contest) = opened(terms, &["ann", "bob", "cai", "dan"]).await;
    for (name, tier) in [("ann", 10), ("bob", 25), ("cai", 100), ("dan", 100)] {
        let signed_up = process
            .sign_up(contest, &user(name), Some(coins(tier)))
            .await;
        let Ok(SignedUp::Yes(seen)) = signed_up else {
            panic!("{signed_up:?}")
        };
        assert_eq!(seen.signup.fee, coins(tier));
        assert_eq!(
            world.held(name),
            1_000 - i64::try_from(tier).expect("small")
        );
    }
    world.clock.advance(1_000);
    for name in ["ann", "bob", "cai"] {
        world.finish(name).await;
    }
    end(&world, &process, contest).await;
    // A pool of 235 over 10 + 25 + 100; ids rise in the order of signing up.
    // floor(235*10/135) = 17, floor(235*35/135) = 60, 235.
    assert_eq!(share(&world, contest, "ann"), (10, 17));
    assert_eq!(share(&world, contest, "bob"), (25, 43));
    assert_eq!(share(&world, contest, "cai"), (100, 175));
    assert_eq!(world.held("cai"), 1_000 - 100 + 175);
}

#[tokio::test]
async fn the_tier_is_fixed_by_the_first_call() {
    let terms = Terms {
        fee_tiers: vec![coins(10), coins(25)],
        ..terms()
    };
    let (world, process, contest) = opened(terms, &["ann"]).await;
    let ann = user("ann");
    let sign_up = async |tier: Option<u64>| {
        let tier = tier.map(coins);
        process
            .sign_up(contest, &ann, tier)
            .await
            .expect("an answer")
    };
    assert!(matches!(
        sign_up(None).await,
        SignedUp::NoTier(TierError::Missing)
    ));
    assert!(matches!(
        sign_up(Some(11)).await,
        SignedUp::NoTier(TierError::Unknown)
    ));
    assert_eq!(world.held("ann"), 1_000, "nothing was charged");
    assert!(matches!(sign_up(Some(25)).await, SignedUp::Yes(_)));
    assert!(matches!(sign_up(Some(10)).await, SignedUp::TierFixed(fee) if fee == coins(25)));
    assert!(matches!(sign_up(Some(25)).await, SignedUp::Yes(_)));
    assert_eq!(world.held("ann"), 975);
    world.to_the_end(&process).await;
    assert_eq!(
        world.held("ann"),
        1_000,
        "no winners: the fee that was paid goes back"
    );
    world.check();
}

#[tokio::test]
async fn a_viewer_without_coins_cannot_change_the_tier_either() {
    let terms = Terms {
        fee_tiers: vec![coins(10), coins(25)],
        ..terms()
    };
    let (world, process, contest) = opened(terms, &[]).await;
    world.grant("ann", 12);
    let first = process
        .sign_up(contest, &user("ann"), Some(coins(25)))
        .await;
    assert!(
        matches!(first, Ok(SignedUp::InsufficientFunds(_))),
        "{first:?}"
    );
    let other = process
        .sign_up(contest, &user("ann"), Some(coins(10)))
        .await;
    assert!(matches!(other, Ok(SignedUp::TierFixed(_))), "{other:?}");
    assert_eq!(world.held("ann"), 12);
}

// hazard: A10
#[tokio::test]
async fn a_lost_row_keeps_the_tier_that_was_paid() {
    let terms = Terms {
        fee_tiers: vec![coins(10), coins(25)],
        ..terms()
    };
    let (world, process, contest) = opened(terms, &["ann", "bob"]).await;
    for name in ["ann", "bob"] {
        let signed_up = process.sign_up(contest, &user(name), Some(coins(10))).await;
        assert!(matches!(signed_up, Ok(SignedUp::Yes(_))), "{signed_up:?}");
        assert!(world.store.delete_signup(contest, &user(name)).is_some());
    }
    let other = process
        .sign_up(contest, &user("ann"), Some(coins(25)))
        .await;
    assert!(
        matches!(other, Ok(SignedUp::TierFixed(fee)) if fee == coins(10)),
        "{other:?}"
    );
    let same = process
        .sign_up(contest, &user("bob"), Some(coins(10)))
        .await;
    assert!(matches!(same, Ok(SignedUp::Yes(_))), "{same:?}");
    for name in ["ann", "bob"] {
        assert_eq!(world.state(contest, name), StateKind::InProgress);
        assert_eq!(world.held(name), 990, "charged once");
    }
    world.clock.advance(1_000);
    world.finish("ann").await;
    end(&world, &process, contest).await;
}

#[tokio::test]
async fn by_score_counts_all_that_was_done_up_to_ten_targets() {
    let terms = Terms {
        task: Task {
            target: 3,
            ..terms().task
        },
        remainder: Remainder::Platform,
        ..ruled(Rule::ByScore)
    };
    let names = ["ann", "bob", "cai", "dan"];
    let (world, process, contest) = opened(terms, &names).await;
    for name in names {
        world.sign_up(&process, contest, name).await;
    }
    world.clock.advance(1_000);
    let now = START.plus(1_000);
    for (name, quantity) in [("ann", 3), ("bob", 2), ("cai", 29), ("dan", 2), ("bob", 5)] {
        world.chests(name, "room", quantity, now).await;
    }
    // Completed now, and more is done afterwards: it counts as of the end of the tasks.
    for name in names {
        process.read(contest, &user(name)).await.expect("read");
    }
    world.at(START.plus(100_000));
    world.chests("cai", "room", 5, START.plus(99_000)).await;
    world.chests("ann", "room", 1, START.plus(119_999)).await;
    world.chests("ann", "room", 50, START.plus(120_000)).await;
    end(&world, &process, contest).await;
    // 40 coins over 4 + 7 + 30; dan did 2 of 3.
    assert_eq!(share(&world, contest, "ann"), (4, 3));
    assert_eq!(share(&world, contest, "bob"), (7, 6));
    assert_eq!(share(&world, contest, "cai"), (30, 29));
    let platform = domain::order::Account::Platform(domain::order::Platform::Revenue);
    assert_eq!(world.balance(&platform), 2, "what division leaves over");
}

#[tokio::test]
async fn early_bird_weighs_the_time_left_when_the_target_was_met() {
    let terms = Terms {
        task: Task {
            target: 2,
            ..terms().task
        },
        ..ruled(Rule::EarlyBird)
    };
    let names = ["ann", "bob", "cai"];
    let (world, process, contest) = opened(terms, &names).await;
    for name in names {
        world.sign_up(&process, contest, name).await;
    }
    world.at(START.plus(119_000));
    // Met by the later of two events, in event time, whatever arrives first.
    world.event("ann", "room", START.plus(30_000)).await;
    world.event("ann", "room", START.plus(12_000)).await;
    world.chests("bob", "room", 2, START).await;
    world.chests("cai", "room", 9, START.plus(118_999)).await;
    end(&world, &process, contest).await;
    // 1 + floor(999 * left / 120,000).
    assert_eq!(share(&world, contest, "ann").0, 1 + 999 * 90_000 / 120_000);
    assert_eq!(share(&world, contest, "bob").0, 1_000);
    assert_eq!(share(&world, contest, "cai").0, 1 + 999 * 1_001 / 120_000);
    let prizes: u64 = names
        .iter()
        .map(|name| share(&world, contest, name).1)
        .sum();
    assert_eq!(prizes, 30);
}

// hazard: C8
#[tokio::test]
async fn a_lucky_split_is_fixed_by_what_was_committed_and_what_nobody_knew() {
    let names = ["ann", "bob", "cai", "dan", "eve"];
    let (world, process, contest) = opened(ruled(Rule::Lucky), &names).await;
    let secret = world.contest(contest).secret.expect("a secret");
    for name in names {
        world.sign_up(&process, contest, name).await;
    }
    world.clock.advance(1_000);
    for name in names {
        world.finish(name).await;
    }
    world.at(START.plus(61_000));
    world.settle_down(&process).await;
    let closed = world
        .contest(contest)
        .phase
        .credits_closed()
        .expect("closed");
    assert!(closed.position > Position(0));
    // Not before the whole field is known.
    let undecided = world.signup(contest, "ann").expect("a signup");
    assert_eq!(undecided.state.weight(), None);
    end(&world, &process, contest).await;
    let ended = world.contest(contest);
    assert_eq!(ended.secret, Some(secret), "it never changes");
    let (totals, _) = ended.phase.frozen().expect("frozen");
    let draw = Draw {
        secret,
        position: closed.position,
    };
    let mut before = 0;
    for name in names {
        let weight = draw.weight(contest, &user(name)).expect("a weight").get();
        let upto = 50 * (before + weight) / u64::try_from(totals.get().weight_sum).expect("small");
        let from = 50 * before / u64::try_from(totals.get().weight_sum).expect("small");
        assert_eq!(
            share(&world, contest, name),
            (weight, upto - from),
            "{name}"
        );
        before += weight;
    }
    assert_eq!(u128::from(before), totals.get().weight_sum);
}

async fn whole_sheet(process: &Contests, contest: &Contest) -> String {
    let sealed = match &contest.phase {
        Phase::Claimable(settlement) | Phase::Closed(settlement) => settlement.sheet,
        _ => None,
    };
    let mut text = SheetText::new(sealed);
    let mut whole = String::new();
    while let Some(part) = process
        .sheet_part(contest, &mut text)
        .await
        .expect("a part")
    {
        whole.push_str(&part);
    }
    whole
}

#[tokio::test]
async fn the_sheet_is_a_text_whose_digest_was_kept() {
    let names = ["ann", "bob", "cai"];
    let terms = Terms {
        guaranteed_pool: coins(100),
        rake_bps: domain::terms::BasisPoints::new(500).expect("basis points"),
        ..ruled(Rule::Equal)
    };
    let (world, process, contest) = opened(terms, &names).await;
    assert_eq!(whole_sheet(&process, &world.contest(contest)).await, "");
    for name in names {
        world.sign_up(&process, contest, name).await;
    }
    world.clock.advance(1_000);
    for name in ["ann", "cai"] {
        world.finish(name).await;
    }
    end(&world, &process, contest).await;
    let ended = world.contest(contest);
    let text = whole_sheet(&process, &ended).await;
    let id = |name: &str| world.signup(contest, name).expect("a signup").id;
    let position = ended.phase.credits_closed().expect("closed").position.0;
    let (_, frozen_at) = ended.phase.frozen().expect("frozen");
    let body = format!(
        "# guafen settlement sheet 1\n# contest_id: {contest}\n# rule: equal\n# remainder: spread\n\
         # fees: 30\n# guarantee: 100\n# carry: 0\n# rake_bps: 500\n# rake: 1\n# pool: 100\n\
         # guarantee_return: 29\n# finishers: 2\n# weight_sum: 2\n# frozen_at: {}\n\
         # position: {position}\nsignup_id,user_id,weight,before,prize\n\
         {},ann,1,0,50\n{},cai,1,1,50\n",
        usecases::sheet::rfc3339(frozen_at),
        id("ann"),
        id("cai"),
    );
    let digest = domain::digest::Digest::new(Sha256::digest(body.as_bytes()).into());
    assert_eq!(text, format!("{body}# sha256: {digest}\n"));
    let Phase::Closed(settlement) = ended.phase else {
        panic!("{:?}", ended.phase)
    };
    assert_eq!(settlement.sheet, Some(digest));
}

#[tokio::test]
async fn a_sheet_without_finishers_has_a_digest_too() {
    let terms = Terms {
        no_winner: NoWinner::Platform,
        ..terms()
    };
    let (world, process, contest) = opened(terms, &["ann"]).await;
    world.sign_up(&process, contest, "ann").await;
    end(&world, &process, contest).await;
    let text = whole_sheet(&process, &world.contest(contest)).await;
    assert!(text.contains("# finishers: 0\n"), "{text}");
    let (body, trailer) = text.rsplit_once("# sha256: ").expect("a last line");
    let digest = domain::digest::Digest::new(Sha256::digest(body.as_bytes()).into());
    assert_eq!(trailer, format!("{digest}\n"));
}

// hazard: J4
#[tokio::test]
async fn a_creation_under_a_key_is_made_once() {
    let world = World::new();
    let process = world.process();
    let key = |operator: &str| {
        Some(CreationKey {
            operator: user(operator),
            key: "monday".parse().expect("a key"),
        })
    };
    let create = async |title: &str, fee: u64, key: Option<CreationKey>| {
        let terms = Terms {
            fee: coins(fee),
            ..ruled(Rule::Lucky)
        };
        let terms = terms.check().expect("legal terms");
        process
            .create(title.to_owned(), terms, key)
            .await
            .expect("an answer")
    };
    let Created::Yes(first) = create("Monday", 10, key("boss")).await else {
        panic!("the key is new")
    };
    assert_eq!(first.phase.kind(), PhaseKind::Draft);
    let Created::Yes(again) = create("Monday", 10, key("boss")).await else {
        panic!("a repeat of the same")
    };
    assert_eq!(again, first);
    for (title, fee) in [("Monday", 11), ("Tuesday", 10)] {
        let other = create(title, fee, key("boss")).await;
        assert!(
            matches!(other, Created::KeyTaken(id) if id == first.id),
            "{other:?}"
        );
    }
    let Created::Yes(theirs) = create("Monday", 10, key("ann")).await else {
        panic!("another operator's key")
    };
    assert_ne!(theirs.id, first.id);
    assert_ne!(theirs.secret, first.secret, "a secret is for one contest");
    let page = world
        .store
        .list(&Default::default(), None, 10)
        .await
        .expect("a page");
    assert_eq!(page.items.len(), 2);
    world.at(START.plus(60_000));
    let late = create("Monday", 10, key("boss")).await;
    assert!(matches!(late, Created::Yes(contest) if contest.id == first.id));
    for key in [key("cai"), None] {
        let too_late = create("Monday", 10, key).await;
        assert!(matches!(too_late, Created::TooLate), "{too_late:?}");
    }
}
