//! Whole contests in memory, each with its own twist.

mod world;

use domain::{
    contest::PhaseKind,
    due::{HousePayout, house_payout},
    finding::FindingClass,
    ids::ContestId,
    money::Coins,
    order::{Account, Leg, Platform},
    signup::{Fact, StateKind},
    terms::{BasisPoints, ClaimMode, NoWinner, Remainder, Terms, Unclaimed},
    transfer::Refusal,
};
use ports::{
    findings::FindingFilter,
    funds::{Funds, TransferOutcome, TransferRequest},
    system::Clock,
    tasks::EventOutcome,
};
use std::sync::Arc;
use usecases::{Cancelled, Claimed, Contests, ParkedOutcome, SignedUp};
use world::{
    START, World, coins,
    meddled::{Answers, Meddled},
    terms, user,
};

/// A world with `names` signed up, each holding 100 coins before.
async fn enrolled(terms: Terms, names: &[&str]) -> (World, Contests, ContestId) {
    let world = World::new();
    let process = world.process();
    for name in names {
        world.grant(name, 100);
    }
    let contest = world.create(&process, terms).await;
    for name in names {
        world.sign_up(&process, contest, name).await;
    }
    (world, process, contest)
}

/// Moves past the judging of a contest with the default windows.
async fn judged(world: &World, process: &Contests) {
    world.at(START.plus(121_000));
    world.settle_down(process).await;
}

#[tokio::test]
async fn a_contest_is_played_from_creation_to_the_last_coin() {
    let (world, process, contest) = enrolled(terms(), &["ann", "bob", "cai"]).await;
    world.clock.advance(1_000);
    assert_eq!(world.finish("ann").await, EventOutcome::Accepted);
    assert_eq!(world.finish("bob").await, EventOutcome::Accepted);
    assert!(matches!(
        world.claim(&process, contest, "ann").await,
        Claimed::NotYet
    ));
    assert!(matches!(
        world.claim(&process, contest, "cai").await,
        Claimed::NotCompleted
    ));
    judged(&world, &process).await;
    assert!(matches!(
        world.claim(&process, contest, "ann").await,
        Claimed::Yes(_)
    ));
    assert!(matches!(
        world.claim(&process, contest, "ann").await,
        Claimed::Yes(_)
    ));
    assert!(matches!(
        world.claim(&process, contest, "cai").await,
        Claimed::NotCompleted
    ));
    assert!(matches!(
        world.claim(&process, contest, "dan").await,
        Claimed::NotSignedUp
    ));
    world.to_the_end(&process).await;
    assert_eq!(world.phase(contest), PhaseKind::Closed);
    assert_eq!(
        [world.held("ann"), world.held("bob"), world.held("cai")],
        [105, 105, 90]
    );
    world.check();
}

#[tokio::test]
async fn unclaimed_prizes_go_where_the_terms_say() {
    for (unclaimed, held, revenue) in [(Unclaimed::Pay, 105, 0), (Unclaimed::Platform, 90, 15)] {
        let (world, process, contest) = enrolled(
            Terms {
                unclaimed,
                ..terms()
            },
            &["ann", "bob", "cai"],
        )
        .await;
        world.finish("ann").await;
        world.finish("bob").await;
        judged(&world, &process).await;
        world.claim(&process, contest, "ann").await;
        world.at(START.plus(185_000));
        world.settle_down(&process).await;
        let late = world.claim(&process, contest, "bob").await;
        assert_eq!(
            matches!(late, Claimed::Closed),
            unclaimed == Unclaimed::Platform,
            "{late:?}"
        );
        world.to_the_end(&process).await;
        assert_eq!(world.phase(contest), PhaseKind::Closed, "{unclaimed:?}");
        assert_eq!(world.held("bob"), held);
        assert_eq!(
            world.balance(&Account::Platform(Platform::Revenue)),
            revenue
        );
        world.check();
    }
}

#[tokio::test]
async fn rake_guarantee_and_remainders_leave_the_pool_at_zero() {
    let rake_bps = BasisPoints::new(1_000).expect("basis points");
    // fees 30, rake 3: the guarantee of 100 is the pool; 27 of it come back.
    let (world, process, contest) = enrolled(
        Terms {
            rake_bps,
            guaranteed_pool: coins(100),
            ..terms()
        },
        &["ann", "bob", "cai"],
    )
    .await;
    for name in ["ann", "bob", "cai"] {
        world.finish(name).await;
    }
    world.to_the_end(&process).await;
    assert_eq!(world.phase(contest), PhaseKind::Closed);
    assert_eq!(
        [world.held("ann"), world.held("bob"), world.held("cai")],
        [123, 123, 124]
    );
    assert_eq!(world.balance(&Account::Platform(Platform::Revenue)), 3);
    world.check();

    // fees 70 over three: 23 each, 1 left over for the platform.
    let names = ["a", "b", "c", "d", "e", "f", "g"];
    let (world, process, contest) = enrolled(
        Terms {
            remainder: Remainder::Platform,
            ..terms()
        },
        &names,
    )
    .await;
    for name in &names[..3] {
        world.finish(name).await;
    }
    world.to_the_end(&process).await;
    assert_eq!(world.phase(contest), PhaseKind::Closed);
    assert_eq!(world.balance(&Account::Platform(Platform::Revenue)), 1);
    assert_eq!(
        [
            world.held("a"),
            world.held("b"),
            world.held("c"),
            world.held("d")
        ],
        [113, 113, 113, 90]
    );
    world.check();
}

// hazard: B13
#[tokio::test]
async fn without_winners_the_terms_say_where_the_pool_goes() {
    for (no_winner, phase, held, revenue) in [
        (NoWinner::Refund, PhaseKind::Cancelled, 100, 0),
        (NoWinner::Platform, PhaseKind::Closed, 90, 20),
    ] {
        let rake_bps = BasisPoints::new(1_000).expect("basis points");
        let (world, process, contest) = enrolled(
            Terms {
                no_winner,
                rake_bps,
                ..terms()
            },
            &["ann", "bob"],
        )
        .await;
        world.to_the_end(&process).await;
        assert_eq!(world.phase(contest), phase, "{no_winner:?}");
        assert_eq!([world.held("ann"), world.held("bob")], [held, held]);
        assert_eq!(
            world.balance(&Account::Platform(Platform::Revenue)),
            revenue
        );
        world.check();
    }
}

#[tokio::test]
async fn a_contest_that_nobody_joins_ends_and_returns_its_guarantee() {
    let (world, process, contest) = enrolled(
        Terms {
            guaranteed_pool: coins(50),
            ..terms()
        },
        &[],
    )
    .await;
    world.to_the_end(&process).await;
    assert_eq!(world.phase(contest), PhaseKind::Cancelled);
    assert_eq!(world.balance(&Account::Platform(Platform::Issuing)), 0);
    world.check();
}

#[tokio::test]
async fn one_winner_takes_all_and_a_pool_below_its_winners_pays_some_of_them_nothing() {
    let (world, process, contest) = enrolled(terms(), &["ann", "bob"]).await;
    world.finish("bob").await;
    world.to_the_end(&process).await;
    assert_eq!([world.held("ann"), world.held("bob")], [90, 110]);
    assert_eq!(world.state(contest, "bob"), StateKind::Shared);
    world.check();

    // hazard: C8 — a fee of 1 and a rake of half: a pool of 2 for four winners.
    let rake_bps = BasisPoints::new(5_000).expect("basis points");
    let names = ["a", "b", "c", "d"];
    let (world, process, contest) = enrolled(
        Terms {
            fee: coins(1),
            rake_bps,
            ..terms()
        },
        &names,
    )
    .await;
    for name in names {
        world.finish(name).await;
    }
    judged(&world, &process).await;
    for name in names {
        assert!(matches!(
            world.claim(&process, contest, name).await,
            Claimed::Yes(_)
        ));
    }
    world.to_the_end(&process).await;
    assert_eq!(names.map(|name| world.held(name)), [99, 100, 99, 100]);
    assert_eq!(world.phase(contest), PhaseKind::Closed);
    world.check();
}

#[tokio::test]
async fn automatic_payout_pays_everyone_without_being_asked() {
    let (world, process, contest) = enrolled(
        Terms {
            claim_mode: ClaimMode::Automatic,
            unclaimed: Unclaimed::Platform,
            ..terms()
        },
        &["ann", "bob"],
    )
    .await;
    world.finish("ann").await;
    world.finish("bob").await;
    assert_eq!(
        house_payout(&world.contest(contest), START),
        HousePayout::Pay
    );
    judged(&world, &process).await;
    assert_eq!(
        world.phase(contest),
        PhaseKind::Closed,
        "long before the claim window ends"
    );
    assert_eq!([world.held("ann"), world.held("bob")], [100, 100]);
    world.check();
}

// hazard: B9
#[tokio::test]
async fn a_cancel_in_each_phase_returns_every_fee_or_is_refused() {
    for (at, is_late) in [(0, false), (60_500, false), (121_500, true)] {
        let (world, process, contest) = enrolled(
            Terms {
                guaranteed_pool: coins(40),
                ..terms()
            },
            &["ann", "bob"],
        )
        .await;
        world.finish("ann").await;
        if at > 0 {
            world.at(START.plus(at));
            world.settle_down(&process).await;
        }
        let cancelled = process.cancel(contest).await.expect("an answer");
        assert_eq!(
            matches!(cancelled, Cancelled::TooLate(_)),
            is_late,
            "at {at}: {cancelled:?}"
        );
        let again = process.cancel(contest).await.expect("an answer");
        assert_eq!(
            matches!(again, Cancelled::Yes(_)),
            !is_late,
            "a repeat is answered alike"
        );
        world.to_the_end(&process).await;
        let (phase, held) = if is_late {
            (PhaseKind::Closed, [130, 90])
        } else {
            (PhaseKind::Cancelled, [100, 100])
        };
        assert_eq!(world.phase(contest), phase);
        assert_eq!([world.held("ann"), world.held("bob")], held);
        let signed_up = process
            .sign_up(contest, &user("cai"), None)
            .await
            .expect("an answer");
        assert!(matches!(signed_up, SignedUp::Closed));
        world.check();
    }
}

// hazard: A1, A2, B3
#[tokio::test]
async fn a_fee_unknown_until_after_signups_closed_ends_either_way() {
    for arrives in [true, false] {
        let world = World::new();
        world.grant("ann", 100);
        world.grant("bob", 100);
        let process = world.process();
        let contest = world.create(&process, terms()).await;
        world.sign_up(&process, contest, "bob").await;
        let answers = if arrives {
            Answers::Lost
        } else {
            Answers::NothingArrives
        };
        let lost = Arc::new(Meddled::new(&world, answers));
        let cut_off = world.process_with(lost);
        let pending = cut_off
            .sign_up(contest, &user("ann"), None)
            .await
            .expect("an answer");
        assert!(matches!(pending, SignedUp::Pending(_)), "{pending:?}");
        world.finish("ann").await;
        world.at(START.plus(59_000));
        for _ in 0..5 {
            cut_off.compensate().await.expect("a round");
            world.clock.advance(100);
        }
        assert_eq!(world.state(contest, "ann"), StateKind::Initialized);
        world.at(START.plus(60_500));
        cut_off.run_contests().await.expect("a round");
        assert_eq!(
            world.state(contest, "ann"),
            StateKind::Initialized,
            "unknown is not decided by waiting"
        );
        world.settle_down(&process).await;
        let expected = if arrives {
            StateKind::Completed
        } else {
            StateKind::Expired
        };
        assert_eq!(world.state(contest, "ann"), expected);
        world.to_the_end(&process).await;
        assert_eq!(world.held("ann"), if arrives { 110 } else { 100 });
        assert_eq!(
            world.phase(contest),
            if arrives {
                PhaseKind::Closed
            } else {
                PhaseKind::Cancelled
            }
        );
        world.check();
    }
}

#[tokio::test]
async fn a_viewer_whose_row_was_lost_is_not_charged_again() {
    let (world, process, contest) = enrolled(terms(), &["ann", "bob"]).await;
    world
        .store
        .delete_signup(contest, &user("ann"))
        .expect("a row");
    world.sign_up(&process, contest, "ann").await;
    assert_eq!(world.held("ann"), 90);
    world.finish("ann").await;
    world.to_the_end(&process).await;
    assert_eq!([world.held("ann"), world.held("bob")], [110, 90]);
    world.check();
}

// hazard: H8
#[tokio::test]
async fn a_fee_whose_row_was_lost_for_good_is_returned_at_settling() {
    let (world, process, contest) = enrolled(terms(), &["ann", "bob"]).await;
    world.finish("bob").await;
    world
        .store
        .delete_signup(contest, &user("ann"))
        .expect("a row");
    world.to_the_end(&process).await;
    assert_eq!([world.held("ann"), world.held("bob")], [100, 100]);
    assert_eq!(world.phase(contest), PhaseKind::Closed);
    world.check();
}

// hazard: A17
#[tokio::test]
async fn a_prize_that_cannot_be_paid_is_parked_until_an_operator_decides() {
    for redirect in [false, true] {
        let (world, process, contest) = enrolled(terms(), &["ann", "bob"]).await;
        world.finish("ann").await;
        judged(&world, &process).await;
        // So rich that a prize of 20 does not fit.
        world.grant("ann", Coins::MAX.get() - 90 - 19);
        let claimed = world.claim(&process, contest, "ann").await;
        assert!(matches!(claimed, Claimed::Pending(_)), "{claimed:?}");
        world.settle_down(&process).await;
        let signup = world.signup(contest, "ann").expect("a signup");
        let findings = process
            .ports()
            .findings
            .list(FindingFilter::open_of(contest), None, 10)
            .await
            .expect("findings")
            .items;
        assert_eq!(
            findings
                .iter()
                .map(|finding| finding.class)
                .collect::<Vec<_>>(),
            [FindingClass::Stuck]
        );
        let still = process.retry_parked(signup.id).await.expect("an answer");
        assert!(
            matches!(still, ParkedOutcome::Tried(ref seen) if seen.signup.state.kind() == StateKind::Claiming)
        );
        if redirect {
            process.redirect_parked(signup.id).await.expect("an answer");
            assert_eq!(world.balance(&Account::Platform(Platform::Holding)), 20);
        } else {
            spend(&world, "ann", 1_000).await;
            process.retry_parked(signup.id).await.expect("an answer");
            assert_eq!(world.balance(&Account::Platform(Platform::Holding)), 0);
        }
        assert!(matches!(
            process.retry_parked(signup.id).await,
            Ok(ParkedOutcome::NotParked)
        ));
        assert_eq!(world.state(contest, "ann"), StateKind::Shared);
        world.to_the_end(&process).await;
        assert_eq!(world.phase(contest), PhaseKind::Closed);
        assert!(
            process
                .ports()
                .findings
                .list(FindingFilter::open_of(contest), None, 10)
                .await
                .expect("findings")
                .items
                .is_empty()
        );
        world.check();
    }
}

/// A viewer spends coins elsewhere.
async fn spend(world: &World, name: &str, amount: u64) {
    let request = TransferRequest {
        order_id: Leg::Grant("elsewhere".parse().expect("a grant id")).order_id(),
        content: domain::transfer::Content {
            from: Account::User(user(name)),
            to: Account::Platform(Platform::Revenue),
            amount: coins(amount),
        },
        not_after: None,
        memo: "elsewhere".to_owned(),
    };
    assert!(matches!(
        world.funds.transfer(&request).await,
        TransferOutcome::Applied(_)
    ));
}

#[tokio::test]
async fn two_contests_in_one_room_count_the_same_event_each_for_itself() {
    let (world, process, first) = enrolled(terms(), &["ann", "bob"]).await;
    let second = world.create(&process, terms()).await;
    world.sign_up(&process, second, "ann").await;
    world.finish("ann").await;
    for contest in [first, second] {
        let seen = process
            .read(contest, &user("ann"))
            .await
            .expect("an answer")
            .expect("a signup");
        assert_eq!(
            (seen.signup.state.kind(), seen.done),
            (StateKind::Completed, 1)
        );
    }
    world.to_the_end(&process).await;
    // Two fees of 10; 20 from the first pool and 10 from the second.
    assert_eq!([world.held("ann"), world.held("bob")], [110, 90]);
    world.check();
}

#[tokio::test]
async fn only_what_was_done_between_payment_and_the_end_counts() {
    let world = World::new();
    let process = world.process();
    let contest = world.create(&process, terms()).await;
    let end = terms().tasks_end_at;
    world.clock.advance(1_000);
    for name in ["early", "in_time", "last", "late", "after"] {
        world.grant(name, 100);
        world.sign_up(&process, contest, name).await;
    }
    let paid_at = world.clock.now();
    assert_eq!(
        world.event("early", "room", paid_at.plus(-1)).await,
        EventOutcome::Accepted
    );
    assert_eq!(
        world.event("in_time", "room", paid_at).await,
        EventOutcome::Accepted
    );
    world.at(end.plus(999));
    // Within the grace: the first happened in time, the second did not.
    assert_eq!(
        world.event("last", "room", end.plus(-1)).await,
        EventOutcome::Accepted
    );
    assert_eq!(
        world.event("late", "room", end).await,
        EventOutcome::Accepted
    );
    world.at(end.plus(1_000));
    world.settle_down(&process).await;
    assert_eq!(
        world.event("after", "room", end.plus(-1)).await,
        EventOutcome::TooLate
    );
    world.to_the_end(&process).await;
    for (name, state) in [
        ("early", StateKind::Missed),
        ("in_time", StateKind::Shared),
        ("last", StateKind::Shared),
        ("late", StateKind::Missed),
        ("after", StateKind::Missed),
    ] {
        assert_eq!(world.state(contest, name), state, "{name}");
    }
    world.check();
}

#[tokio::test]
async fn too_few_coins_are_refused_and_the_viewer_may_come_back() {
    let world = World::new();
    let process = world.process();
    let contest = world.create(&process, terms()).await;
    let refused = process
        .sign_up(contest, &user("ann"), None)
        .await
        .expect("an answer");
    assert!(
        matches!(refused, SignedUp::InsufficientFunds(_)),
        "no account: {refused:?}"
    );
    world.grant("ann", 9);
    let refused = process
        .sign_up(contest, &user("ann"), None)
        .await
        .expect("an answer");
    assert!(
        matches!(refused, SignedUp::InsufficientFunds(_)),
        "{refused:?}"
    );
    world.grant("ann", 1);
    // Nobody is charged long after they gave up.
    world.settle_down(&process).await;
    assert_eq!(world.held("ann"), 10);
    world.sign_up(&process, contest, "ann").await;
    assert_eq!(world.held("ann"), 0);
    assert_eq!(world.signups(contest).len(), 1);
    world.to_the_end(&process).await;
    world.check();
}

#[tokio::test]
async fn a_claim_counts_up_to_the_last_millisecond_of_its_window() {
    for (late_by, paid) in [(-1, true), (0, false)] {
        let (world, process, contest) = enrolled(
            Terms {
                unclaimed: Unclaimed::Platform,
                ..terms()
            },
            &["ann", "bob"],
        )
        .await;
        world.finish("ann").await;
        judged(&world, &process).await;
        let end = world
            .contest(contest)
            .claims_end_at()
            .expect("a claim window");
        assert!(
            end > terms().claim_closes_at,
            "a late settling does not eat the window"
        );
        world.at(end.plus(late_by));
        let claimed = world.claim(&process, contest, "ann").await;
        assert_eq!(matches!(claimed, Claimed::Yes(_)), paid, "{claimed:?}");
        world.to_the_end(&process).await;
        assert_eq!(world.held("ann"), if paid { 110 } else { 90 });
        world.check();
    }
}

#[tokio::test]
async fn books_that_differ_stop_the_freeze_until_they_agree() {
    let (world, process, contest) = enrolled(terms(), &["ann"]).await;
    world.finish("ann").await;
    // Somebody else pays into the pool: no row explains it, and it is no viewer's fee.
    let gift = TransferRequest {
        order_id: Leg::Grant("gift".parse().expect("a grant id")).order_id(),
        content: domain::transfer::Content {
            from: Account::Platform(Platform::Issuing),
            to: Account::Pool(contest),
            amount: coins(5),
        },
        not_after: None,
        memo: "gift".to_owned(),
    };
    assert!(matches!(
        world.funds.transfer(&gift).await,
        TransferOutcome::Applied(_)
    ));
    judged(&world, &process).await;
    assert_eq!(world.phase(contest), PhaseKind::Judging);
    let findings = process
        .ports()
        .findings
        .list(FindingFilter::open_of(contest), None, 10)
        .await
        .expect("findings")
        .items;
    assert_eq!(
        findings
            .iter()
            .map(|finding| finding.class)
            .collect::<Vec<_>>(),
        [FindingClass::PoolDiffers]
    );
    let back = TransferRequest {
        order_id: Leg::Grant("back".parse().expect("a grant id")).order_id(),
        content: domain::transfer::Content {
            from: gift.content.to,
            to: gift.content.from,
            amount: coins(5),
        },
        not_after: None,
        memo: "back".to_owned(),
    };
    assert!(matches!(
        world.funds.transfer(&back).await,
        TransferOutcome::Applied(_)
    ));
    world.to_the_end(&process).await;
    assert_eq!(world.phase(contest), PhaseKind::Closed);
    assert!(
        process
            .ports()
            .findings
            .list(FindingFilter::open_of(contest), None, 10)
            .await
            .expect("findings")
            .items
            .is_empty()
    );
}

// hazard: H12, H14
#[tokio::test]
async fn many_contests_that_wait_do_not_stand_in_the_way_of_others() {
    let world = World::new();
    let process = world.process();
    let mut waiting = Vec::new();
    for _ in 0..150 {
        let contest = world.create(&process, terms()).await;
        waiting.push(contest);
    }
    world.grant("ann", 10_000);
    for contest in &waiting {
        world.sign_up(&process, *contest, "ann").await;
    }
    world.finish("ann").await;
    judged(&world, &process).await;
    for contest in &waiting {
        assert_eq!(world.phase(*contest), PhaseKind::Claimable);
    }
    // All of them wait for their viewer; the last one ends as soon as she claims.
    let last = *waiting.last().expect("a contest");
    assert!(matches!(
        world.claim(&process, last, "ann").await,
        Claimed::Yes(_)
    ));
    world.settle_down(&process).await;
    assert_eq!(world.phase(last), PhaseKind::Closed);
    world.check();
}

#[tokio::test]
async fn a_charge_is_not_forgotten_because_an_older_refusal_was_recorded_first() {
    let world = World::new();
    world.grant("ann", 100);
    let contest = world.create(&world.process(), terms()).await;
    let process = world.process_with(Arc::new(Meddled::new(
        &world,
        Answers::AfterAnother(|signup| {
            signup
                .apply(Fact::FeeRefused(Refusal::InsufficientBalance))
                .ok()
        }),
    )));
    world.sign_up(&process, contest, "ann").await;
    assert_eq!(world.state(contest, "ann"), StateKind::InProgress);
    assert_eq!(world.held("ann"), 90);
    world.check();
}

#[tokio::test]
async fn a_prize_is_not_forgotten_because_an_older_refusal_was_recorded_first() {
    let (world, process, contest) = enrolled(terms(), &["ann"]).await;
    world.finish("ann").await;
    judged(&world, &process).await;
    let overtaken = world.process_with(Arc::new(Meddled::new(
        &world,
        Answers::AfterAnother(|signup| {
            signup
                .apply(Fact::PaymentRefused(Refusal::BalanceLimit))
                .ok()
        }),
    )));
    let claimed = world.claim(&overtaken, contest, "ann").await;
    assert!(matches!(claimed, Claimed::Yes(_)), "{claimed:?}");
    assert_eq!(world.held("ann"), 100);
    world.to_the_end(&process).await;
    assert_eq!(world.phase(contest), PhaseKind::Closed);
    world.check();
}

/// A finisher's row that is lost after the freeze is no unclaimed prize: nothing is swept.
#[tokio::test]
async fn a_row_that_is_lost_after_the_freeze_stops_the_close_with_an_alarm() {
    for claimed in [false, true] {
        let (world, process, contest) = enrolled(terms(), &["ann", "bob"]).await;
        world.finish("ann").await;
        world.finish("bob").await;
        judged(&world, &process).await;
        if claimed {
            world.claim(&process, contest, "ann").await;
        }
        world
            .store
            .delete_signup(contest, &user("ann"))
            .expect("a row");
        world.to_the_end(&process).await;
        assert_eq!(world.phase(contest), PhaseKind::Claimable);
        assert_eq!(world.balance(&Account::Platform(Platform::Revenue)), 0);
        let findings = Arc::clone(&process.ports().findings);
        let open = findings
            .list(FindingFilter::open_of(contest), None, 10)
            .await
            .expect("findings")
            .items;
        let classes: Vec<_> = open.iter().map(|finding| finding.class).collect();
        assert_eq!(classes, [FindingClass::PoolDiffers]);
    }
}
