//! Prize-pool contests as pure functions: who may be charged, who has won, and how much.
//!
//! Nothing in here does I/O, awaits, reads a clock or draws a random number; time and every
//! answer of the outside world come in as arguments. Two functions are the heart:
//! [`due::due`] says what is to be done next with a signup, and [`signup::Signup::apply`] says
//! what an answer of the outside world makes of it. [`lifecycle::due`] and
//! [`contest::Contest::apply`] are the same pair for the contest itself.
//!
//! Reading order: [`money`], [`ids`], [`order`], [`terms`], [`contest`], [`signup`], [`due`],
//! [`payout`], [`draw`], [`settlement`], [`stops`], [`switch`], [`lifecycle`], [`invariant`],
//! [`reconcile`], [`notice`], [`assignment`], [`experiment`].

pub mod assignment;
pub mod contest;
pub mod digest;
pub mod draw;
pub mod due;
pub mod effects;
pub mod experiment;
pub mod finding;
pub mod ids;
pub mod invariant;
pub mod judge;
pub mod lifecycle;
pub mod money;
pub mod notice;
pub mod order;
pub mod payout;
pub mod reconcile;
pub mod settlement;
pub mod signup;
pub mod stops;
pub mod switch;
pub mod terms;
pub mod time;
pub mod transfer;
