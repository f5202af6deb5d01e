//! The real program over HTTP: every answer is held to `/openapi.json`.

mod bad_bodies;
mod bad_input;
mod contest;
mod document;
mod experiments;
mod roles;
mod rules;
mod server;
mod switches;
